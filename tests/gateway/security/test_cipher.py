"""Envelope encryption: what is sealed opens only where and for whom it was sealed."""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ConfigurationError
from gateway.security.cipher import (
    DerivedKeys,
    EnvelopeCipher,
    IdentityCipher,
    SealBroken,
    TenantKeys,
    key_id_of,
)

OLD = DerivedKeys({"k1": b"1" * 32}, "k1")
NEW = DerivedKeys({"k1": b"1" * 32, "k2": b"2" * 32}, "k2")


@given(st.binary(max_size=4096), st.text(min_size=1, max_size=20), st.binary(max_size=40))
def test_what_is_sealed_opens(plain: bytes, tenant: str, context: bytes) -> None:
    cipher = EnvelopeCipher(OLD)
    sealed = cipher.encrypt(tenant, plain, context=context)
    assert cipher.decrypt(tenant, sealed, context=context) == plain
    assert len(plain) < 16 or plain not in sealed


@pytest.mark.parametrize(("tenant", "context"), [("other", b"row-1"), ("acme", b"row-2"), ("acme", b"")])
def test_bytes_moved_to_another_tenant_or_row_do_not_open(tenant: str, context: bytes) -> None:
    cipher = EnvelopeCipher(OLD)
    sealed = cipher.encrypt("acme", b"content", context=b"row-1")
    with pytest.raises(SealBroken):
        cipher.decrypt(tenant, sealed, context=context)


def test_every_flipped_bit_and_every_truncation_is_noticed() -> None:
    cipher = EnvelopeCipher(OLD)
    sealed = cipher.encrypt("acme", b"content")
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises((SealBroken, ConfigurationError)):
            cipher.decrypt("acme", bytes(altered))
        with pytest.raises((SealBroken, ConfigurationError)):
            cipher.decrypt("acme", sealed[:position])


SEALED_BEFORE = bytes.fromhex(
    "474531026b312fd1c062e2497a234d3a587e22c7499389d010edb4fab04405a6b9907bacdbeab748c76db275866b83626c08"
    "a1073407c484157d7eee0efbc39073643d0f56e1769c9757ccbe1009604094"
)
"""By the code as it was before anything was packed."""


def test_what_was_sealed_before_packing_opens() -> None:
    assert EnvelopeCipher(OLD).decrypt("acme", SEALED_BEFORE, context=b"row") == b"content"


def test_what_is_worth_it_is_packed_and_opens_only_as_packed() -> None:
    cipher, plain = EnvelopeCipher(OLD), b'{"resourceType":"Claim"}' * 400
    sealed = cipher.encrypt("acme", plain, context=b"row")
    assert len(sealed) < len(plain) // 5
    assert cipher.decrypt("acme", sealed, context=b"row") == plain
    assert EnvelopeCipher(NEW).decrypt("acme", EnvelopeCipher(NEW).rewrap("acme", sealed), context=b"row") == plain
    with pytest.raises(SealBroken):
        cipher.decrypt("acme", b"GE1" + sealed[3:], context=b"row")


def test_what_does_not_shrink_is_sealed_as_it_is() -> None:
    plain = os.urandom(4096)
    sealed = EnvelopeCipher(OLD).encrypt("acme", plain)
    assert sealed.startswith(b"GE1")
    assert len(sealed) == len(plain) + 4 + 2 + 40 + 12 + 16


def test_old_keys_open_after_a_rotation_and_rewrapping_frees_them() -> None:
    sealed = EnvelopeCipher(OLD).encrypt("acme", b"content")
    rotated = EnvelopeCipher(NEW)
    assert rotated.decrypt("acme", sealed) == b"content"
    moved = rotated.rewrap("acme", sealed)
    assert (key_id_of(sealed), key_id_of(moved)) == ("k1", "k2")
    assert rotated.rewrap("acme", moved) == moved
    without_old = EnvelopeCipher(DerivedKeys({"k2": b"2" * 32}, "k2"))
    assert without_old.decrypt("acme", moved) == b"content"
    with pytest.raises(ConfigurationError, match="k1"):
        without_old.decrypt("acme", sealed)


def test_no_two_seals_share_a_nonce_or_a_data_key() -> None:
    cipher = EnvelopeCipher(OLD)
    parts = {cipher.encrypt("acme", b"same")[6:58] for _ in range(500)}
    assert len({part[:40] for part in parts}) == len({part[40:] for part in parts}) == 500


def test_a_tenants_own_keys_come_by_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", base64.b64encode(os.urandom(32)).decode())
    keys = TenantKeys.load({"acme": {"current": "k1", "keys": {"k1": "env:ACME_KEY"}}})
    cipher = EnvelopeCipher(keys)
    assert cipher.decrypt("acme", cipher.encrypt("acme", b"x")) == b"x"
    with pytest.raises(ConfigurationError):
        cipher.encrypt("other", b"x")


def test_the_identity_cipher_changes_nothing() -> None:
    assert IdentityCipher().decrypt("acme", IdentityCipher().encrypt("acme", b"x")) == b"x"
