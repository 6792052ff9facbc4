"""AES-256-GCM envelope encryption per tenant (decision D13): the `Cipher` port.

Every message gets a data key of its own, wrapped (RFC 3394) by the tenant's key-encryption key. So no nonce can ever
repeat under one key, and rotating a tenant's key re-wraps 40 bytes instead of re-encrypting a payload (`rewrap`).

    sealed = "GE1" | length of key id (1 byte) | key id | wrapped data key (40) | nonce (12) | ciphertext | tag (16)
    sealed = "GE2" | … the same, of what zstd (RFC 8878) made of the plain bytes

"GE2" is written where it is shorter: FHIR JSON and base64 of it shrink to a fifth, and so does all that carries them
(decision 0077). One message is compressed by itself, never beside another sender's, so lengths tell of it alone.

The authenticated data is magic | tenant | context: bytes moved to another tenant, row or column do not open. The key id
is authenticated by the wrapping: a data key does not unwrap under another key.
Old keys stay in the ring as long as anything sealed by them is kept (Kafka, Temporal and table retention).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from gateway.core.errors import ConfigurationError, OwnError
from gateway.security.secrets import key_bytes

MAGIC = b"GE1"
PACKED = b"GE2"
WORTH_PACKING = 512
"""Bytes below which nothing is gained."""
LARGEST = 256 * 1024 * 1024
"""Bytes a packed content may have at most: ours is limited long before, so larger ones are not ours."""
WRAPPED = 40
NONCE = 12
TAG = 16


class SealBroken(OwnError):
    """The sealed bytes do not open: altered, truncated, or sealed for another tenant or place."""

    code = "seal-broken"


class KeyRing(Protocol):
    """Key-encryption keys of 32 bytes, per tenant and key id."""

    def current(self, tenant: str) -> str:
        """The key id to encrypt with. Raises ConfigurationError for an unknown tenant."""
        ...

    def key(self, tenant: str, key_id: str) -> bytes:
        """The key of that id. Raises ConfigurationError when it is not (any longer) in the ring."""
        ...


@dataclass(frozen=True, slots=True)
class DerivedKeys:
    """Tenant keys derived from root keys (HKDF-SHA256): one secret per rotation serves all tenants."""

    roots: Mapping[str, bytes]
    """Root keys of 32 bytes by key id."""
    newest: str
    """The key id to encrypt with."""
    _derived: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def current(self, tenant: str) -> str:  # noqa: ARG002 - one root serves all tenants
        """The newest root's id."""
        return self.newest

    def key(self, tenant: str, key_id: str) -> bytes:
        """The tenant's key under that root."""
        if (tenant, key_id) not in self._derived:
            if key_id not in self.roots:
                raise ConfigurationError(f"no root key with id {key_id}")
            derivation = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"tenant-kek|" + tenant.encode())
            self._derived[tenant, key_id] = derivation.derive(self.roots[key_id])
        return self._derived[tenant, key_id]


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """Tenant keys held one by one: destroying a tenant's keys makes everything sealed for it unreadable."""

    rings: Mapping[str, tuple[str, Mapping[str, bytes]]]
    """Tenant → (current key id, keys by id)."""

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> TenantKeys:
        """Read `{tenant: {current: ID, keys: {ID: REFERENCE}}}`; references as in `gateway.security.secrets`."""
        rings = {}
        for tenant, entry in document.items():
            keys = {str(key_id): key_bytes(reference) for key_id, reference in entry["keys"].items()}
            if str(entry["current"]) not in keys:
                raise ConfigurationError("the current key is not among the keys", location=tenant)
            rings[tenant] = (str(entry["current"]), keys)
        return cls(rings)

    def current(self, tenant: str) -> str:
        """The tenant's current key id."""
        return self._ring(tenant)[0]

    def key(self, tenant: str, key_id: str) -> bytes:
        """One of the tenant's keys."""
        try:
            return self._ring(tenant)[1][key_id]
        except KeyError:
            raise ConfigurationError(f"tenant has no key with id {key_id}", location=tenant) from None

    def _ring(self, tenant: str) -> tuple[str, Mapping[str, bytes]]:
        if tenant not in self.rings:
            raise ConfigurationError("tenant has no keys", location=tenant)
        return self.rings[tenant]


@dataclass(frozen=True, slots=True)
class EnvelopeCipher:
    """The `Cipher` port over a key ring."""

    keys: KeyRing

    def encrypt(self, tenant: str, plain: bytes, *, context: bytes = b"") -> bytes:
        """Seal for a tenant; `context` (table, column, row) binds the result to its place."""
        key_id = self.keys.current(tenant)
        data_key = AESGCM.generate_key(256)
        nonce = os.urandom(NONCE)
        magic, content = _packed(plain)
        body = AESGCM(data_key).encrypt(nonce, content, _associated(magic, tenant, context))
        return _header(magic, key_id) + aes_key_wrap(self.keys.key(tenant, key_id), data_key) + nonce + body

    def decrypt(self, tenant: str, sealed: bytes, *, context: bytes = b"") -> bytes:
        """Open what was sealed for this tenant and place. Raises SealBroken, or ConfigurationError (unknown key)."""
        key_id, wrapped, rest = _split(sealed)
        data_key = self._unwrap(tenant, key_id, wrapped)
        magic = sealed[: len(MAGIC)]
        try:
            content = AESGCM(data_key).decrypt(rest[:NONCE], rest[NONCE:], _associated(magic, tenant, context))
        except InvalidTag:
            raise SealBroken() from None
        return _zstd.unpack(content) if magic == PACKED else content

    def rewrap(self, tenant: str, sealed: bytes) -> bytes:
        """The same sealed content with its data key under the tenant's current key; the content is not opened."""
        key_id, wrapped, rest = _split(sealed)
        current = self.keys.current(tenant)
        if key_id == current:
            return sealed
        data_key = self._unwrap(tenant, key_id, wrapped)
        return _header(sealed[: len(MAGIC)], current) + aes_key_wrap(self.keys.key(tenant, current), data_key) + rest

    def _unwrap(self, tenant: str, key_id: str, wrapped: bytes) -> bytes:
        try:
            return aes_key_unwrap(self.keys.key(tenant, key_id), wrapped)
        except InvalidUnwrap:
            raise SealBroken() from None


class IdentityCipher:
    """No encryption: the demo profile's `Cipher`."""

    def encrypt(self, tenant: str, plain: bytes, *, context: bytes = b"") -> bytes:  # noqa: ARG002 - the port names them
        """The bytes themselves."""
        return plain

    def decrypt(self, tenant: str, sealed: bytes, *, context: bytes = b"") -> bytes:  # noqa: ARG002 - the port names them
        """The bytes themselves."""
        return sealed


def key_id_of(sealed: bytes) -> str:
    """The key id inside sealed bytes: which keys are still in use. Raises SealBroken."""
    return _split(sealed)[0]


class _Zstd(threading.local):
    """A compressor and a decompressor for each thread: they are dear to make and serve one caller at a time."""

    def __init__(self) -> None:
        self.pack = zstandard.ZstdCompressor(level=1).compress
        self._unpack = zstandard.ZstdDecompressor().decompress

    def unpack(self, content: bytes) -> bytes:
        """The plain bytes. Raises SealBroken: what is authentic and yet does not unpack was not written by us."""
        try:
            if zstandard.frame_content_size(content) > LARGEST:
                raise SealBroken()
            return self._unpack(content)
        except zstandard.ZstdError:
            raise SealBroken() from None


_zstd = _Zstd()


def _packed(plain: bytes) -> tuple[bytes, bytes]:
    """Magic and content: packed where that is shorter, and not what has been packed before."""
    if len(plain) < WORTH_PACKING or plain.startswith(zstandard.FRAME_HEADER):
        return MAGIC, plain
    packed = _zstd.pack(plain)
    return (PACKED, packed) if len(packed) < len(plain) else (MAGIC, plain)


def _header(magic: bytes, key_id: str) -> bytes:
    name = key_id.encode()
    if not 0 < len(name) < 256:
        raise ConfigurationError("a key id has 1 to 255 bytes")
    return magic + bytes([len(name)]) + name


def _split(sealed: bytes) -> tuple[str, bytes, bytes]:
    """Key id, wrapped data key, nonce and body."""
    length = sealed[3] if len(sealed) > 3 else 0
    start = 4 + length
    if not sealed.startswith((MAGIC, PACKED)) or not length or len(sealed) < start + WRAPPED + NONCE + TAG:
        raise SealBroken()
    try:
        key_id = sealed[4:start].decode()
    except UnicodeDecodeError:
        raise SealBroken() from None
    return key_id, sealed[start : start + WRAPPED], sealed[start + WRAPPED :]


def _associated(magic: bytes, tenant: str, context: bytes) -> bytes:
    name = tenant.encode()
    return magic + len(name).to_bytes(2, "big") + name + context
