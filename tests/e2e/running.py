"""A whole gateway in child processes, as `gateway run` starts it, and what the tests need to know of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parents[2]
START_SECONDS = 420.0
"""A machine with empty caches builds a server first."""


@dataclass
class Gateway:
    """Addresses and state of a running gateway."""

    state: Path
    http: str
    mllp: str
    kafka: str
    bearer: str
    process: subprocess.Popen[str]

    @property
    def drop(self) -> Path:
        """The demonstration clearinghouse's folder."""
        return self.state / "drop"

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers of a FHIR client."""
        return {"authorization": f"Bearer {self.bearer}", "content-type": "application/fhir+json"}

    def pids(self) -> dict[str, int]:
        """Process ids by role, as they are now."""
        content = json.loads((self.state / "run" / "gateway.json").read_text(encoding="utf-8"))
        return {str(name): int(pid) for name, pid in content["pids"].items()}

    def is_ready(self, role: str) -> bool:
        """Whether the role's present process has said that it serves."""
        file = self.state / "run" / "ready" / role
        with contextlib.suppress(OSError, ValueError):
            return int(file.read_text(encoding="ascii")) == self.pids().get(role)
        return False

    def postgres(self) -> str:
        """The database's URL."""
        from gateway.stack import addresses_of

        found = addresses_of(self.state)
        assert found is not None
        return found.postgres

    def temporal(self) -> str:
        """Temporal's front end."""
        from gateway.stack import addresses_of

        found = addresses_of(self.state)
        assert found is not None
        return found.temporal

    def logs(self) -> str:
        """Everything the roles and servers have logged."""
        return "\n".join(path.read_text("utf-8", "replace") for path in sorted((self.state / "logs").glob("*.log")))


def wait_for(what: str, seconds: float, check: object) -> None:
    """Poll until `check()` is true."""
    assert callable(check)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def free_addresses(count: int) -> list[str]:
    """Addresses of our own: gateways of other tests on this machine all like the same well-known ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


@contextlib.contextmanager
def running(state: Path, environment: Mapping[str, str] = MappingProxyType({})) -> Iterator[Gateway]:
    """Start a gateway in the demo profile; end it politely, and make sure that it is gone."""
    http, mllp = free_addresses(2)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gateway",
            "run",
            "--profile",
            "demo",
            "--state",
            str(state),
            "--http",
            http,
            "--mllp",
            mllp,
            "--json",
        ],
        cwd=ROOT,
        env=clean | {"PYTHONPATH": str(ROOT)} | dict(environment),
        stdout=subprocess.PIPE,
        stderr=(state.parent / "gateway.stderr").open("w"),
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (state.parent / "gateway.stderr").read_text()[-3000:]
        told = json.loads(line)
        yield Gateway(state, told["http"], told["mllp"], told["kafka"], told["bearer"], process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
        process.stdout.close()
