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
