"""Tokens: equal for equal inputs, unrelated for everything else, and never an identifier."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ConfigurationError
from gateway.security.secrets import key_bytes, secret
from gateway.security.tokens import SIZE, Tokens

TOKENS = Tokens(b"r" * 32)
PARTS = st.lists(st.text(max_size=8), max_size=4)


@given(PARTS, PARTS)
def test_tokens_are_equal_exactly_when_their_parts_are(left: list[str], right: list[str]) -> None:
    assert (TOKENS("t", "case", left) == TOKENS("t", "case", right)) == (left == right)


def test_tenant_and_purpose_part_them() -> None:
    made = {TOKENS(tenant, purpose, ["1"]) for tenant in ("a", "b") for purpose in ("case", "patient")}
    assert len(made) == 4
    assert all(len(token) == SIZE and int(token, 16) >= 0 for token in made)


def test_a_tenants_own_key_wins() -> None:
    own = Tokens(b"r" * 32, {"a": b"o" * 32})
    assert own("a", "case", ["1"]) != TOKENS("a", "case", ["1"])
    assert own("b", "case", ["1"]) == TOKENS("b", "case", ["1"])


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        Tokens(b"short")


def test_secrets_are_named_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "s3cret")
    (tmp_path / "key").write_bytes(base64.b64encode(b"k" * 32) + b"\n")
    assert secret("env:A_SECRET") == b"s3cret"
    assert key_bytes(f"file:{tmp_path / 'key'}") == b"k" * 32
    for wrong in ("env:NO_SUCH_SECRET", f"file:{tmp_path / 'none'}", "pasted-password"):
        with pytest.raises(ConfigurationError) as caught:
            secret(wrong)
        assert "pasted-password" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"base64|bytes"):
        key_bytes("env:A_SECRET")
