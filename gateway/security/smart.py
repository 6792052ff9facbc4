"""SMART Backend Services, the server's side (SMART App Launch 2.2.0, backend services and asymmetric authentication).

A client posts grant_type=client_credentials with a JWT it signed (RS384 or ES384), and gets an access token of five
minutes: a JWT of ours (ES384). The rules of an assertion are `_signed` and `_admit`; every failure looks the same
to the caller (`invalid_client`), and says its reason in the log only.

A jti is used once per issuer over all replicas: the `JtiStore` port is one INSERT … ON CONFLICT DO NOTHING. It is used
after the signature held, so that nobody else can burn a client's ids.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.core.errors import ConfigurationError, UnauthorizedSender
from gateway.core.ports import Clock
from gateway.security.clients import Client, ClientRegistry
from gateway.security.jwks import KEY_TYPES, KeyCache, KeySet, PublicKey
from gateway.security.principal import Principal, narrowed

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_ASSERTION = 8 * 1024
"""Longest assertion in characters: an RS384 JWT of an 8192-bit key with generous claims has under 3,000."""
MAX_LIFETIME = timedelta(minutes=5)
SKEW = timedelta(seconds=10)
"""Clock difference tolerated between us and a client."""
TOKEN_LIFETIME = timedelta(minutes=5)
UNCHECKED: Any = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
"""Claims are checked here, against our own clock and rules; the library checks the signature."""
UNREAD: Any = {**UNCHECKED, "verify_signature": False}


class InvalidClient(UnauthorizedSender):
    """The client could not be authenticated."""

    code = "invalid_client"

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason
        """For the log: a word, no content."""


class InvalidScope(UnauthorizedSender):
    """None of the requested scopes is registered for this client."""

    code = "invalid_scope"


class JtiStore(Protocol):
    """Single use of assertion ids over all replicas."""

    def use(self, issuer: str, jti: str, expires_at: datetime) -> Awaitable[bool]:
        """Record the id; False if it was recorded before. Forgettable after `expires_at`. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class AccessToken:
    """The answer of the token endpoint."""

    token: str
    scope: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Our ES384 keys for access tokens by key id; the first signs, all verify."""

    keys: Mapping[str, EllipticCurvePrivateKey]

    @classmethod
    def load(cls, pems: Mapping[str, bytes]) -> SigningKeys:
        """From PEM private keys on P-384, current first. Raises ConfigurationError."""
        keys = {}
        for key_id, pem in pems.items():
            try:
                key = load_pem_private_key(pem, password=None)
            except (ValueError, TypeError) as error:
                raise ConfigurationError("signing key is not a PEM private key", location=key_id) from error
            if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name != "secp384r1":
                raise ConfigurationError("signing key is not on P-384", location=key_id)
            keys[key_id] = key
        if not keys:
            raise ConfigurationError("no signing key for access tokens")
        return cls(keys)


@dataclass(slots=True)
class Smart:
    """The authorization server: assertions in, access tokens out, tokens back to principals."""

    clients: ClientRegistry
    keys: KeyCache
    replay: JtiStore
    signing: SigningKeys
    issuer: str
    """Our base URL, `iss` and `aud` of access tokens."""
    audiences: Sequence[str]
    """The token endpoint's URL, as clients may write it."""
    clock: Clock
    _inline: dict[str, KeySet] = field(default_factory=dict)

    async def token(self, form: Mapping[str, str]) -> AccessToken:
        """Answer a token request. Raises InvalidClient, InvalidScope, Unavailable."""
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise InvalidClient("assertion type")
        client = await self.authenticate(form.get("client_assertion", ""))
        if form.get("client_id", client.id) != client.id:
            raise InvalidClient("client_id")
        scopes = narrowed(form.get("scope", "").split(), client.scopes)
        if not scopes:
            raise InvalidScope()
        return self._issue(client, sorted(scopes))

    async def authenticate(self, assertion: str) -> Client:
        """The client that signed an assertion for our token endpoint. Raises InvalidClient, Unavailable."""
        client, claims = await self._signed(assertion)
        if claims.get("sub") != client.id:
            raise InvalidClient("subject")
        await self._admit(client, claims, self.audiences)
        return client

    async def caller(self, token: str, audience: str) -> Principal:
        """Who calls a CDS service with a JWT of its own (CDS Hooks 2.0, "Trusting CDS Clients").

        `audience` is the called service's URL. The same rules as for an assertion, but no subject.
        Raises InvalidClient, Unavailable.
        """
        client, claims = await self._signed(token)
        await self._admit(client, claims, (audience,))
        return client.principal(client.scopes, "token")

    async def _signed(self, assertion: str) -> tuple[Client, dict[str, Any]]:
        """The registered client whose signature holds, and the claims it signed. Raises InvalidClient."""
        header, unverified = _unverified(assertion)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in KEY_TYPES or not isinstance(kid, str):
            raise InvalidClient("algorithm or kid")
        if header.get("typ", "JWT") != "JWT" or "crit" in header:
            raise InvalidClient("header")
        issuer = unverified.get("iss")
        client = self.clients.get(issuer) if isinstance(issuer, str) else None
        if client is None:
            raise InvalidClient("unknown client")
        if "jku" in header and (not client.jwks_uri or header["jku"] != client.jwks_uri):
            raise InvalidClient("jku")
        key = await self._key(client, kid, algorithm)
        if key is None:
            raise InvalidClient("no such key")
        try:
            return client, jwt.decode(assertion, key, algorithms=[algorithm], options=UNCHECKED)
        except jwt.PyJWTError:
            raise InvalidClient("signature") from None

    def principal(self, token: str) -> Principal:
        """Who an access token of ours stands for. Raises UnauthorizedSender."""
        header, _ = _unverified(token)
        key = self.signing.keys.get(str(header.get("kid")))
        if key is None or header.get("typ") != "at+jwt":
            raise UnauthorizedSender()
        try:
            claims = jwt.decode(token, key.public_key(), algorithms=["ES384"], options=UNCHECKED)
        except jwt.PyJWTError:
            raise UnauthorizedSender() from None
        now = self.clock().timestamp()
        client = self.clients.get(str(claims.get("client_id")))
        # The registry is asked at every call: a client that was removed or narrowed loses its tokens at once.
        if claims.get("iss") != self.issuer or claims.get("aud") != self.issuer or claims.get("exp", 0) <= now:
            raise UnauthorizedSender()
        if client is None or claims.get("tenant") != client.tenant:
            raise UnauthorizedSender()
        return client.principal(narrowed(str(claims.get("scope", "")).split(), client.scopes), "token")

    async def _key(self, client: Client, kid: str, algorithm: str) -> PublicKey | None:
        if client.jwks is not None:
            if client.id not in self._inline:
                self._inline[client.id] = KeySet.parse(client.jwks)
            return self._inline[client.id].find(kid, algorithm)
        return await self.keys.find(client.jwks_uri, kid, algorithm) if client.jwks_uri else None

    async def _admit(self, client: Client, claims: Mapping[str, Any], audiences: Sequence[str]) -> None:
        """The claims hold, and the assertion is used for the first time."""
        now = self.clock()
        if claims.get("iss") != client.id:
            raise InvalidClient("issuer")
        audience = claims.get("aud")
        named = audience[0] if isinstance(audience, list) and len(audience) == 1 else audience
        if named not in tuple(audiences):
            raise InvalidClient("audience")
        expires = _time(claims.get("exp"), now)
        if expires is None or not now - SKEW < expires <= now + MAX_LIFETIME + SKEW:
            raise InvalidClient("expiry")
        for claim in ("nbf", "iat"):
            if claim in claims and ((since := _time(claims[claim], now)) is None or since > now + SKEW):
                raise InvalidClient(claim)
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= 256:
            raise InvalidClient("jti")
        if not await self.replay.use(client.id, jti, expires + SKEW):
            raise InvalidClient("replay")

    def _issue(self, client: Client, scopes: Sequence[str]) -> AccessToken:
        now = int(self.clock().timestamp())
        seconds = int(TOKEN_LIFETIME.total_seconds())
        scope = " ".join(scopes)
        claims = {
            "iss": self.issuer,
            "aud": self.issuer,
            "sub": client.id,
            "client_id": client.id,
            "tenant": client.tenant,
            "scope": scope,
            "iat": now,
            "exp": now + seconds,
            "jti": str(uuid.uuid4()),
        }
        key_id, key = next(iter(self.signing.keys.items()))
        signed = jwt.encode(claims, key, algorithm="ES384", headers={"kid": key_id, "typ": "at+jwt"})
        return AccessToken(signed, scope, seconds)


def _unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims before any signature was checked: good for finding the key, for nothing else."""
    if not 0 < len(token) <= MAX_ASSERTION or token.count(".") != 2:
        raise InvalidClient("not a JWT")
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options=UNREAD)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidClient("not a JWT") from None
    return header, claims


def _time(value: object, now: datetime) -> datetime | None:
    """A NumericDate; None for anything that is not a finite number within reach."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, tz=now.tzinfo)
    except (ValueError, OverflowError, OSError):
        return None
