"""Where we may connect to: the guard against server-side request forgery.

URLs that others give us (Subscription endpoints, JWKS URLs) could point into our own network. Rules outside the demo
profile: https, a DNS name or a global address, no userinfo, no fragment, port 443 or one that is allowed; and every
address the name resolves to must be global. The connection goes to the very address that was checked (a second
resolution could answer differently: DNS rebinding), with the name kept for SNI, certificate and Host.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx

from gateway.core.errors import EndpointRefused, EndpointUnavailable, InvalidMessage

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Name and port to addresses. Raises OSError."""


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What is allowed to be called."""

    demo: bool = False
    """The demo profile: plaintext and loopback are allowed, nothing else private is."""
    hosts: frozenset[str] = frozenset()
    """If not empty: only these host names."""
    private_hosts: frozenset[str] = frozenset()
    """Host names that an operator vouches for though they resolve to private addresses."""
    ports: frozenset[int] = field(default_factory=lambda: frozenset({443, 8443}))

    def check(self, url: str) -> httpx.URL:
        """The URL, if its text breaks no rule. Raises InvalidMessage that says which rule, never repeating the URL."""
        try:
            parsed = httpx.URL(url)
            port = parsed.port
        except (httpx.InvalidURL, ValueError, TypeError):
            raise InvalidMessage("not a URL") from None
        if any(character in url for character in "\\ \t\r\n\x00"):
            raise InvalidMessage("the URL has characters that clients read differently")
        if parsed.scheme != "https" and not (self.demo and parsed.scheme == "http"):
            raise InvalidMessage("the URL is not https")
        if not parsed.host or parsed.userinfo or parsed.fragment:
            raise InvalidMessage("the URL needs a host and has no userinfo or fragment")
        if self.hosts and parsed.host not in self.hosts:
            raise InvalidMessage("the host is not on the list of allowed hosts")
        if not self.demo and port is not None and port not in self.ports:
            raise InvalidMessage("the port is not allowed")
        address = _literal(parsed.host)
        if address is not None and not self.allows(parsed.host, str(address)):
            raise InvalidMessage("the address is not a public one")
        if address is None and not self._named_ok(parsed.host):
            raise InvalidMessage("the host name is not a public one")
        return parsed

    def allows(self, host: str, address: str) -> bool:
        """Whether a resolved address may be connected to."""
        parsed = _unwrapped(ipaddress.ip_address(address.split("%", 1)[0]))
        if host in self.private_hosts:
            return not (parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified)
        if self.demo and parsed.is_loopback:
            return True
        return parsed.is_global and not parsed.is_multicast

    def _named_ok(self, host: str) -> bool:
        name = host.rstrip(".").lower()
        if name in self.private_hosts:
            return True
        local = name == "localhost" or name.endswith((".localhost", ".local", ".internal"))
        return (self.demo and name == "localhost") or (not local and "." in name)


@dataclass(slots=True)
class GuardedTransport(httpx.AsyncBaseTransport):
    """An httpx transport that resolves, checks, and connects to the address it checked."""

    inner: httpx.AsyncBaseTransport
    policy: EgressPolicy
    resolve: Resolve

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, if the policy allows. Raises EndpointRefused (forbidden), EndpointUnavailable (does not resolve)."""
        try:
            self.policy.check(str(request.url))
        except InvalidMessage as error:
            raise EndpointRefused(error.message, location="url") from None
        host = request.url.raw_host.decode("ascii")  # as DNS and TLS write it, also for international names
        addresses = await self._addresses(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        if not addresses or not all(self.policy.allows(host, address) for address in addresses):
            raise EndpointRefused("the endpoint resolves to an address that is not public", location="url")
        request.extensions = {**request.extensions, "sni_hostname": host}
        # The pool knows connections by address only: one that was verified for another name must not be used again.
        request.headers["connection"] = "close"
        request.url = request.url.copy_with(host=addresses[0])  # the Host header was set from the name already
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.inner.aclose()

    async def _addresses(self, host: str, port: int) -> list[str]:
        if (literal := _literal(host)) is not None:
            return [str(literal)]
        try:
            return await self.resolve(host, port)
        except OSError:
            raise EndpointUnavailable("the endpoint's name does not resolve", location="url") from None


async def system_resolve(host: str, port: int) -> list[str]:
    """The operating system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address a host text stands for, in every spelling the C library takes (decimal, octal, hexadecimal)."""
    try:
        return _unwrapped(ipaddress.ip_address(host.strip("[]").split("%", 1)[0]))
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def _unwrapped(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address inside a mapped, 6to4, Teredo or NAT64 one: what the packet reaches in the end."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address.teredo is not None:
            return address.teredo[1]
        if address in ipaddress.ip_network("64:ff9b::/96"):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
