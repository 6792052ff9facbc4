"""SMART Backend Services, the client's side: access tokens for endpoints that we call.

A token is asked for with an assertion signed by our key (RS384 or ES384), kept until 30 s before it ends, asked for
once however many wait, and sent to the endpoint it was registered for and nowhere else (redirects are not followed).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.core.errors import ConfigurationError, EndpointRefused, EndpointUnavailable
from gateway.core.ports import Clock
from gateway.security.smart import ASSERTION_TYPE

EARLY = timedelta(seconds=30)
ASSERTION_SECONDS = 240
"""Below the five minutes that servers allow, so that a clock a little behind ours does not refuse us."""
MAX_ANSWER = 64 * 1024
DEADLINE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """How we are registered with an endpoint's authorization server."""

    token_url: str
    client_id: str
    scope: str
    key_id: str
    algorithm: str
    key: RSAPrivateKey | EllipticCurvePrivateKey

    @classmethod
    def load(cls, *, token_url: str, client_id: str, scope: str, key_id: str, pem: bytes) -> ClientCredentials:
        """From a PEM private key; its type decides the algorithm. Raises ConfigurationError."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise ConfigurationError("client key is not a PEM private key", location=key_id) from error
        if isinstance(key, RSAPrivateKey) and key.key_size >= 2048:
            algorithm = "RS384"
        elif isinstance(key, EllipticCurvePrivateKey) and key.curve.name == "secp384r1":
            algorithm = "ES384"
        else:
            raise ConfigurationError("client key is neither RSA of 2048 bits nor on P-384", location=key_id)
        return cls(token_url=token_url, client_id=client_id, scope=scope, key_id=key_id, algorithm=algorithm, key=key)

    def assertion(self, now: datetime) -> str:
        """A signed assertion, good for one use."""
        issued = int(now.timestamp())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.token_url,
            "iat": issued,
            "exp": issued + ASSERTION_SECONDS,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers={"kid": self.key_id, "typ": "JWT"})


@dataclass(slots=True)
class TokenSource:
    """Access tokens of one endpoint."""

    http: httpx.AsyncClient
    credentials: ClientCredentials
    clock: Clock
    _token: str = ""
    _until: datetime | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def header(self) -> str:
        """The Authorization header's value. Raises EndpointUnavailable, EndpointRefused."""
        async with self._lock:
            if self._until is None or self.clock() >= self._until:
                await self._ask()
            return f"Bearer {self._token}"

    def forget(self) -> None:
        """The endpoint answered 401: ask anew next time."""
        self._until = None

    async def _ask(self) -> None:
        now = self.clock()
        form = {
            "grant_type": "client_credentials",
            "scope": self.credentials.scope,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.credentials.assertion(now),
        }
        try:
            async with asyncio.timeout(DEADLINE):
                response = await self.http.post(self.credentials.token_url, data=form)
        except (httpx.HTTPError, TimeoutError) as error:
            raise EndpointUnavailable("authorization server does not answer", location="token") from error
        if response.status_code >= 500 or response.status_code in {408, 429}:
            raise EndpointUnavailable(f"authorization server answered {response.status_code}", location="token")
        if response.status_code != 200:
            raise EndpointRefused(f"authorization server answered {response.status_code}", location="token")
        answer = _answer(response.content)
        self._token = str(answer["access_token"])
        self._until = now + timedelta(seconds=_seconds(answer)) - EARLY


def _answer(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body) if len(body) <= MAX_ANSWER else None
    except orjson.JSONDecodeError:
        answer = None
    if isinstance(answer, dict):
        token = answer.get("access_token")
        # The token becomes a header of ours: nothing that could end the line may be in it.
        if isinstance(token, str) and token and token.isascii() and token.isprintable() and " " not in token:
            return answer
    raise EndpointUnavailable("authorization server's answer has no access token", location="token")


def _seconds(answer: Mapping[str, Any]) -> int:
    seconds = answer.get("expires_in", 300)
    return min(3600, max(0, seconds)) if isinstance(seconds, int) else 300
