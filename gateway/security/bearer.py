"""From a request's credentials to a `Principal`: access token, client certificate, or (demo only) a static token.

Order: an Authorization header decides alone; without one, a certificate the TLS handshake verified. A certificate says
who the client is, and its registration what it may do. Both together must name the same client.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from gateway.core.errors import ConfigurationError, UnauthorizedSender
from gateway.security.clients import ClientRegistry
from gateway.security.principal import Principal
from gateway.security.smart import Smart

DEMO_SCOPES = frozenset({"system/*.cruds"})


@dataclass(frozen=True, slots=True)
class DemoToken:
    """A static bearer token. Whoever holds it is the demo client: never outside the demo profile."""

    token: str
    principal: Principal

    @classmethod
    def create(cls, profile: str, *, token: str = "", tenant: str = "demo", client: str = "demo") -> DemoToken:
        """A random token, or the given one, announced in the log. Raises ConfigurationError outside demo."""
        if profile != "demo":
            raise ConfigurationError("static bearer tokens exist in the demo profile only")
        structlog.get_logger("gateway.security").warning(
            "DEMO PROFILE: one static bearer token opens everything. Never expose this to a network.",
            profile=profile,
            tenant=tenant,
            client=client,
        )
        principal = Principal(
            tenant=tenant, client=client, scopes=DEMO_SCOPES, organizations=frozenset({"*"}), method="demo"
        )
        return cls(token or secrets.token_urlsafe(24), principal)


@dataclass(frozen=True, slots=True)
class Authenticator:
    """The one place where credentials become a principal."""

    smart: Smart | None = None
    clients: ClientRegistry | None = None
    demo: DemoToken | None = None

    async def __call__(
        self, authorization: str | None, certificates: Sequence[str] = (), *, audience: str = ""
    ) -> Principal:
        """Authenticate. `certificates` are PEM, verified by TLS; `audience` is the URL of a CDS service that also
        takes its callers' own JWTs. Raises UnauthorizedSender, Unavailable.
        """
        shown = self.clients.shown(certificates[0]) if self.clients is not None and certificates else None
        if authorization is None:
            if shown is None:
                raise UnauthorizedSender()
            return shown.principal(shown.scopes, "certificate")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthorizedSender()
        principal = await self._bearer(token.strip(), audience)
        if shown is not None and principal.client != shown.id:
            raise UnauthorizedSender()
        return principal

    async def _bearer(self, token: str, audience: str) -> Principal:
        if self.demo is not None and hmac.compare_digest(token.encode(), self.demo.token.encode()):
            return self.demo.principal
        if self.smart is None:
            raise UnauthorizedSender()
        try:
            return self.smart.principal(token)
        except UnauthorizedSender:
            if not audience:
                raise
        return await self.smart.caller(token, audience)
