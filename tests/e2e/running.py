"""A whole gateway in child processes, as `gateway run` starts it, and what the tests need to know of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway.infra.processes import PARENT_PIPE

ROOT = Path(__file__).parents[2]


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


@contextlib.contextmanager
def lifeline(environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Arguments of Popen for a gateway or role that ends with this process, however that ends."""
    reading, writing = os.pipe()
    try:
        yield {"env": {**environment, PARENT_PIPE: str(reading)}, "pass_fds": (reading,)}
    finally:
        os.close(writing)
        os.close(reading)


@contextlib.contextmanager
def running(state: Path, environment: Mapping[str, str] = MappingProxyType({})) -> Iterator[Gateway]:
    """Start a gateway in the demo profile on free ports; end it politely, and make sure that it is gone."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    whole = clean | {"PYTHONPATH": str(ROOT)} | dict(environment)
    command = [sys.executable, "-m", "gateway", "run", "--profile", "demo", "--state", str(state), "--json"]
    command += ["--http", "127.0.0.1:0", "--mllp", "127.0.0.1:0"]
    with lifeline(whole) as popen, (state.parent / "gateway.stderr").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, **popen)
        try:
            yield _told(state, process)
        finally:
            _end(process)


def _told(state: Path, process: subprocess.Popen[str]) -> Gateway:
    """Wait until it serves."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (state.parent / "gateway.stderr").read_text()[-3000:]
    told = json.loads(line)
    return Gateway(state, told["http"], told["mllp"], told["kafka"], told["bearer"], process)


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(30)
    assert process.stdout is not None
    process.stdout.close()
