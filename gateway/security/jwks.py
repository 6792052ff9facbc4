"""JSON Web Key Sets of clients (RFC 7517; SMART App Launch 2.2.0, "Asymmetric client authentication").

Limits: 64 KiB and 50 keys a document (real sets hold a handful). RSA keys of 2048 to 8192 bits for RS384, P-384 for
ES384. A `kid` that is missing, unknown or given twice verifies nothing. A set that shows private material is refused.

A set is fetched from its registered URL only and kept 15 minutes, or what the answer's max-age says within 1 to 60
minutes. An unknown `kid` fetches again at most once a minute: rotation is seen at once, and forged key ids cannot make
us hammer a client's server. When it cannot be fetched and nothing valid is kept, authentication fails closed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.core.errors import ConfigurationError, DeliveryError, EndpointUnavailable
from gateway.core.ports import Clock

MAX_BYTES = 64 * 1024
MAX_KEYS = 50
KEEP = timedelta(minutes=15)
REFETCH = timedelta(seconds=60)
FETCH_SECONDS = 5.0
KEY_TYPES = {"RS384": "RSA", "ES384": "EC"}
PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "k"})
MAX_AGE = re.compile(r"max-age=(\d{1,9})")

PublicKey = RSAPublicKey | EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable public keys of one client: (kid, key type) → keys."""

    keys: Mapping[tuple[str, str], tuple[PublicKey, ...]]

    @classmethod
    def parse(cls, document: object) -> KeySet:
        """Read a key set; keys for other purposes are skipped. Raises ConfigurationError."""
        entries = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(entries, list) or len(entries) > MAX_KEYS:
            raise ConfigurationError("not a JSON Web Key Set of at most 50 keys")
        found: dict[tuple[str, str], tuple[PublicKey, ...]] = {}
        for entry in entries:
            if not isinstance(entry, dict) or PRIVATE & entry.keys():
                raise ConfigurationError("a key set holds public keys only")
            kid, kind = entry.get("kid"), entry.get("kty")
            if not isinstance(kid, str) or not isinstance(kind, str) or entry.get("use", "sig") != "sig":
                continue
            if (key := _public_key(entry)) is not None:
                found[kid, kind] = (*found.get((kid, kind), ()), key)
        return cls(found)

    def find(self, kid: str, algorithm: str) -> PublicKey | None:
        """The one key for this id and algorithm; None where there is none or more than one."""
        keys = self.keys.get((kid, KEY_TYPES[algorithm]), ())
        return keys[0] if len(keys) == 1 else None


Fetch = Callable[[str], Awaitable[tuple[bytes, str]]]
"""URL to body and Cache-Control. Raises DeliveryError."""


@dataclass(slots=True)
class _Kept:
    keys: KeySet
    until: datetime


@dataclass(slots=True)
class KeyCache:
    """Key sets by URL."""

    fetch: Fetch
    clock: Clock
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _tried: dict[str, datetime] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def find(self, url: str, kid: str, algorithm: str) -> PublicKey | None:
        """The key, from the cache or fetched. None where the set has no such key or cannot be had."""
        if (known := self._known(url, kid, algorithm)) is not None:
            return known  # without the lock: who asks for unknown keys cannot make others wait
        async with self._locks.setdefault(url, asyncio.Lock()):
            now = self.clock()
            if (known := self._known(url, kid, algorithm)) is not None:
                return known
            if now - self._tried.get(url, now - REFETCH) >= REFETCH:
                self._tried[url] = now
                await self._refresh(url, now)
            return self._known(url, kid, algorithm)

    def _known(self, url: str, kid: str, algorithm: str) -> PublicKey | None:
        kept = self._kept.get(url)
        return kept.keys.find(kid, algorithm) if kept is not None and self.clock() < kept.until else None

    async def _refresh(self, url: str, now: datetime) -> None:
        try:
            body, cache_control = await self.fetch(url)
            keys = KeySet.parse(orjson.loads(body))
        except (DeliveryError, ConfigurationError, orjson.JSONDecodeError):
            return  # what is kept stays valid until its own time; then authentication fails closed
        match = MAX_AGE.search(cache_control)
        keep = timedelta(seconds=min(3600, max(60, int(match[1])))) if match else KEEP
        self._kept[url] = _Kept(keys, now + keep)


def fetch_with(client: httpx.AsyncClient) -> Fetch:
    """Fetch over HTTP; the client carries the egress guard and follows no redirects."""

    async def fetch(url: str) -> tuple[bytes, str]:
        try:
            async with asyncio.timeout(FETCH_SECONDS), client.stream("GET", url) as response:
                if response.status_code != 200:
                    raise EndpointUnavailable(f"key set answered {response.status_code}")
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise EndpointUnavailable("key set is too large")
                return bytes(body), response.headers.get("cache-control", "")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise EndpointUnavailable("key set cannot be fetched") from error

    return fetch


def _public_key(entry: dict[str, Any]) -> PublicKey | None:
    """A key we verify with: RSA of at least 2048 bits, or P-384. None for others."""
    try:
        key = jwt.PyJWK(entry, algorithm={"RSA": "RS384", "EC": "ES384"}.get(entry["kty"])).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAPublicKey) and 2048 <= key.key_size <= 8192:
        return key
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name == "secp384r1":
        return key
    return None
