"""Ports: the one that is set, else the one of last time if it is still free, else a free one, kept for next time.

A port is chosen seconds before its server listens. Meanwhile, and for as long as it is ours, another gateway would find
it free, and edges that share a port among processes (SO_REUSEPORT) would then share it among gateways: so a chosen port
is claimed, by a name in the same network namespace that the kernel gives up with our process.
"""

from __future__ import annotations

import errno
import random
import socket
import sys
import threading
from pathlib import Path

from gateway.core.errors import ConfigurationError, Unavailable
from gateway.stack.process import read_json, write_json

HOST = "127.0.0.1"
RANGE = range(21000, 32000)
"""Below the ports that systems give to outgoing connections, so that ours stay free while we are down."""


def free(port: int, host: str = HOST) -> bool:
    """Whether nobody listens there. Raises ConfigurationError for a host that is not one of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise ConfigurationError(f"cannot bind {host}: {error.strerror}") from error
    return True


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as caller:
        caller.settimeout(1.0)
        return caller.connect_ex((HOST, port)) == 0


class Ports:
    """The ports of one state folder, ours until `release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[str, int] = read_json(path)
        self._claims: dict[int, socket.socket | None] = {}
        self._lock = threading.Lock()

    def choose(self, name: str, setting: int | None = None, *, host: str = HOST, favourite: int | None = None) -> int:
        """A port for `name`. Raises ConfigurationError when the one that is set is taken."""
        with self._lock:
            if setting is None:
                return self._kept_or_free(name, host, favourite)
            if not self._take(setting, host):
                raise ConfigurationError(f"port {setting} for {name} is in use: set another one")
            return setting

    def release(self) -> None:
        """Let others have them."""
        with self._lock:
            for claim in self._claims.values():
                if claim is not None:
                    claim.close()
            self._claims.clear()

    def _kept_or_free(self, name: str, host: str, favourite: int | None) -> int:
        others = {port for other, port in self._kept.items() if other != name}
        tries = [port for port in (favourite, self._kept.get(name)) if port is not None]
        for port in (*tries, *random.sample(RANGE, 200)):
            if port not in others and self._take(port, host):
                self._kept[name] = port
                write_json(self._path, dict(self._kept))
                return port
        raise Unavailable(f"no free port on {host}")

    def _take(self, port: int, host: str) -> bool:
        if port in self._claims:
            return False
        try:
            claim = _claim(port)
        except OSError:
            return False
        if not free(port, host):
            if claim is not None:
                claim.close()
            return False
        self._claims[port] = claim
        return True


def _claim(port: int) -> socket.socket | None:
    """Hold the port's name. Raises OSError when another process does. Linux only: elsewhere nothing is held."""
    if sys.platform != "linux":
        return None
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0authorization-gateway/port/{port}")
    except OSError:
        held.close()
        raise
    return held
