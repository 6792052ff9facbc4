"""Opaque tokens for keys, ids and blind indexes (decision D4): HMAC-SHA256, one secret key per tenant.

Kafka keys, workflow ids and search columns are visible in many tools, so they hold tokens. Equal inputs of one tenant
and purpose give equal tokens; a token of one tenant or purpose says nothing about another's. The parts are
length-prefixed, so ("ab", "c") and ("a", "bc") differ.

A token's key is never rotated while anything indexed by it lives: a new key would part a case from its own messages.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.core.errors import ConfigurationError
from gateway.security.secrets import key_bytes

SIZE = 32
"""Hexadecimal digits of a token: 128 bits, so that two of 10**12 keys meet with probability below 10**-14."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Makes tokens: `tokens("acme", "case", ["payer", "12345"])`."""

    root: bytes
    """32 secret bytes; tenant keys are derived from it, unless `keys` has one of its own."""
    keys: Mapping[str, bytes] = field(default_factory=dict)
    _derived: dict[str, hmac.HMAC] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, root: str, tenants: Mapping[str, Any] | None = None) -> Tokens:
        """From secret references (`gateway.security.secrets`): the root, and tenants' own keys."""
        return cls(key_bytes(root), {name: key_bytes(reference) for name, reference in (tenants or {}).items()})

    def __post_init__(self) -> None:
        """Refuse a key that is too short to be secret."""
        if any(len(key) < 32 for key in (self.root, *self.keys.values())):
            raise ConfigurationError("a token key has at least 32 bytes")

    def __call__(self, tenant: str, purpose: str, parts: tuple[str, ...] | list[str]) -> str:
        """The token: 32 hexadecimal digits. `purpose` is `case`, `patient`, `dedupe`, `member` …"""
        told = [part.encode("utf-8", "surrogatepass") for part in (purpose, *parts)]
        text = b"".join([len(data).to_bytes(4, "big") + data for data in told])
        digest = self._keyed(tenant).copy()
        digest.update(text)
        return digest.hexdigest()[:SIZE]

    def _keyed(self, tenant: str) -> hmac.HMAC:
        """The function with a tenant's key set, made once: to copy it costs less than to set the key again."""
        found = self._derived.get(tenant)
        if found is None:
            found = self._derived[tenant] = hmac.new(self._key(tenant), digestmod="sha256")
        return found

    def _key(self, tenant: str) -> bytes:
        if tenant in self.keys:
            return self.keys[tenant]
        derivation = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"tokens|" + tenant.encode())
        return derivation.derive(self.root)
