"""WS-Security UsernameToken profile 1.1: reading the token; whether it is right is somebody else's decision."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lxml import etree

WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
DIGEST = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest"
MAXIMUM_LENGTH = 256
"""Characters of any one value; longer ones are treated as missing, so they never match."""


@dataclass(frozen=True, slots=True)
class UsernameToken:
    """Who the sender says it is. `password` is the text, or the digest where `nonce` and `created` salt it."""

    username: str
    password: str = field(repr=False)
    is_digest: bool = False
    nonce: str = ""
    """Base64 as sent; use it once (replay)."""
    created: str = ""

    def matches(self, secret: str) -> bool:
        """Compare with the true password in constant time: digest = Base64(SHA-1(nonce + created + password))."""
        expected = secret
        if self.is_digest:
            try:
                nonce = base64.b64decode(self.nonce, validate=True)
            except (binascii.Error, ValueError):
                return False
            salted = nonce + self.created.encode() + secret.encode()
            expected = base64.b64encode(hashlib.sha1(salted, usedforsecurity=False).digest()).decode("ascii")
        return hmac.compare_digest(self.password.encode(), expected.encode())


def username_token(security: etree._Element | None) -> UsernameToken | None:
    """The first UsernameToken of a Security header, or None."""
    token = security.find(f"{{{WSSE}}}UsernameToken") if security is not None else None
    if token is None:
        return None
    password = token.find(f"{{{WSSE}}}Password")
    return UsernameToken(
        _text(token.find(f"{{{WSSE}}}Username")),
        _text(password),
        password is not None and password.get("Type") == DIGEST,
        _text(token.find(f"{{{WSSE}}}Nonce")),
        _text(token.find(f"{{{WSU}}}Created")),
    )


def expiry(security: etree._Element | None) -> datetime | None:
    """wsu:Timestamp/wsu:Expires as UTC; an unreadable one has expired long ago."""
    element = security.find(f"{{{WSU}}}Timestamp/{{{WSU}}}Expires") if security is not None else None
    if element is None:
        return None
    try:
        moment = datetime.fromisoformat(_text(element))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _text(element: etree._Element | None) -> str:
    text = (element.text or "").strip() if element is not None else ""
    return text if len(text) <= MAXIMUM_LENGTH else ""
