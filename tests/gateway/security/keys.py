"""Keys, assertions and clients for the tests of this folder and of the FHIR edge."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.security.clients import ClientRegistry
from gateway.security.jwks import KeyCache
from gateway.security.smart import SigningKeys, Smart

TOKEN_URL = "https://gateway.example/fhir/token"
ISSUER = "https://gateway.example"


@cache
def rsa_key(name: str = "a", size: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, size)


@cache
def ec_key(name: str = "a", curve: str = "secp384r1") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key({"secp384r1": ec.SECP384R1, "secp256r1": ec.SECP256R1}[curve]())


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def jwk(key: Any, kid: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


def assertion(
    now: datetime, key: Any = None, *, algorithm: str = "ES384", headers: dict[str, Any] | None = None, **claims: Any
) -> str:
    """A valid assertion of client `ehr-a`, changed by the keywords; None leaves a claim out."""
    seconds = int(now.timestamp())
    body = {
        "iss": "ehr-a",
        "sub": "ehr-a",
        "aud": TOKEN_URL,
        "exp": seconds + 240,
        "iat": seconds,
        "jti": str(uuid.uuid4()),
        **claims,
    }
    return jwt.encode(
        {name: value for name, value in body.items() if value is not None},
        ec_key() if key is None else key,
        algorithm=algorithm,
        headers={"kid": "ec", "typ": "JWT", **(headers or {})},
    )


@dataclass
class MemoryJtiStore:
    """Single use in one process."""

    used: dict[tuple[str, str], datetime] = field(default_factory=dict)

    async def use(self, issuer: str, jti: str, expires_at: datetime) -> bool:
        if (issuer, jti) in self.used:
            return False
        self.used[issuer, jti] = expires_at
        return True


@dataclass
class KeyServer:
    """A client's JWKS URL."""

    document: object
    asked: list[str] = field(default_factory=list)
    failure: Exception | None = None
    cache_control: str = ""

    async def __call__(self, url: str) -> tuple[bytes, str]:
        self.asked.append(url)
        if self.failure is not None:
            raise self.failure
        return json.dumps(self.document).encode(), self.cache_control


JWKS_URL = "https://ehr-a.example/jwks.json"


def registry(**changes: Any) -> ClientRegistry:
    entry = {
        "id": "ehr-a",
        "tenant": "acme",
        "jwks_uri": JWKS_URL,
        "scopes": ["system/*.rs", "system/Claim.crus", "system/Subscription.crud"],
        "organizations": ["1234567893"],
    }
    other = {"id": "ehr-b", "tenant": "other", "scopes": ["system/*.rs"], "jwks": {"keys": [jwk(ec_key("b"), "ec")]}}
    return ClientRegistry.load({"clients": [{**entry, **changes}, other]})


def smart(clock: Any, server: KeyServer | None = None, store: Any = None, **changes: Any) -> Smart:
    server = server or KeyServer({"keys": [jwk(ec_key(), "ec"), jwk(rsa_key(), "rsa")]})
    return Smart(
        clients=registry(**changes),
        keys=KeyCache(server, clock),
        replay=store or MemoryJtiStore(),
        signing=SigningKeys({"s1": ec_key("signing")}),
        issuer=ISSUER,
        audiences=(TOKEN_URL,),
        clock=clock,
    )


def form(token: str, scope: str = "system/*.rs", **changes: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "scope": scope,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": token,
        **changes,
    }
