"""Ports: the one that is set, else the one of last time if it is still free, else a free one, kept for next time."""

from __future__ import annotations

import random
import socket
import threading
from pathlib import Path

from gateway.core.errors import ConfigurationError, Unavailable
from gateway.stack.process import read_json, write_json

HOST = "127.0.0.1"
RANGE = range(21000, 32000)
"""Below the ports that systems give to outgoing connections, so that ours stay free while we are down."""


def free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as caller:
        caller.settimeout(1.0)
        return caller.connect_ex((HOST, port)) == 0


class Ports:
    """The ports of one state folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[str, int] = read_json(path)
        self._lock = threading.Lock()

    def choose(self, name: str, setting: int | None = None) -> int:
        """A port for `name`. Raises ConfigurationError when the one that is set is taken."""
        if setting is not None:
            if not free(setting):
                raise ConfigurationError(f"port {setting} for {name} is in use: set another one")
            return setting
        with self._lock:
            return self._kept_or_free(name)

    def _kept_or_free(self, name: str) -> int:
        others = {port for other, port in self._kept.items() if other != name}
        tries = [self._kept[name]] if name in self._kept else []
        tries += random.sample(RANGE, 200)
        for port in tries:
            if port not in others and free(port):
                self._kept[name] = port
                write_json(self._path, dict(self._kept))
                return port
        raise Unavailable("no free port on the loopback interface")
