"""One server process under its guard: started, watched, stopped, found again after a crash."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.core.errors import Unavailable

GUARD = Path(__file__).with_name("guard.py")
LOG_LIMIT = 16 * 1024 * 1024
"""Bytes after which a log is moved aside at the next start; one older file is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start a server."""

    name: str
    command: list[str]
    log: Path
    record: Path
    """Run file: JSON with process ids, for `status` and for clearing up after a crash."""
    environment: dict[str, str] = field(default_factory=dict)
    """On top of our own, which carries the machine's proxy and certificate settings."""
    folder: Path | None = None
    user: tuple[int, int] | None = None
    """Numeric user and group to become, when started as root."""
    reach: bool = False
    """That user needs help to pass folders closed to it."""
    stop_signal: int = signal.SIGTERM
    grace: float = 20.0
    """Seconds between asking it to end and ending it."""


class Server:
    """A running server. It ends by `stop`, by its own fault, or when this process ends."""

    def __init__(self, launch: Launch, inherit: tuple[int, ...] = ()) -> None:
        self.launch = launch
        read_end, self._lifeline = os.pipe()
        task = {
            "command": launch.command,
            "lifeline": read_end,
            "parent": os.getpid(),
            "folder": str(launch.folder) if launch.folder else None,
            "user": launch.user,
            "reach": launch.reach,
            "stop_signal": int(launch.stop_signal),
            "grace": launch.grace,
        }
        try:
            with open_log(launch.log) as log:
                self._guard = subprocess.Popen(  # noqa: S603 - our own guard
                    [sys.executable, "-I", "-S", str(GUARD), json.dumps(task)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, **launch.environment},
                    pass_fds=(read_end, *inherit),
                    start_new_session=True,
                )
        finally:
            os.close(read_end)
        self.pid = self._started()

    def _started(self) -> int:
        assert self._guard.stdout is not None  # noqa: S101 - a pipe was asked for
        with self._guard.stdout as pipe:
            line = pipe.readline()
        if not line:
            self.stop()
            raise Unavailable(f"{self.launch.name} could not be started; its log is {self.launch.log}")
        pid: int = json.loads(line)["pid"]
        write_json(
            self.launch.record,
            {
                "name": self.launch.name,
                "pid": pid,
                "guard": self._guard.pid,
                "born": born(pid),
                "at": time.time(),
                "stop_signal": int(self.launch.stop_signal),
            },
        )
        return pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._guard.poll() is None

    def wait_until(self, answers: Callable[[], bool], timeout: float) -> None:
        """Wait until it answers. Raises Unavailable with the end of its log when it ended or did not in time."""
        deadline = time.monotonic() + timeout
        while not answers():
            if not self.alive():
                raise Unavailable(f"{self.launch.name} ended at its start: {last_line(self.launch.log)}")
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.launch.name} did not answer within {timeout:.0f} s; see {self.launch.log}")
            time.sleep(0.05)

    def ask_to_stop(self) -> None:
        """Ask it to end and do not wait."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def stop(self) -> int:
        """End it and wait until it is gone; its exit code."""
        self.ask_to_stop()
        code = self._guard.wait()
        with contextlib.suppress(FileNotFoundError):
            self.launch.record.unlink()
        return code


def run(launch: Launch, timeout: float = 120.0, watch: Callable[[], None] = lambda: None) -> None:
    """Run a program to its end under a guard, calling `watch` now and then; what that raises ends the program.

    Raises Unavailable when the program fails or takes longer than `timeout` seconds.
    """
    server = Server(launch)
    deadline = time.monotonic() + timeout
    try:
        while server.alive():
            watch()
            if time.monotonic() > deadline:
                raise Unavailable(f"{launch.name} took longer than {timeout:.0f} s; see {launch.log}")
            time.sleep(0.05)
    finally:
        code = server.stop()
    if code != 0:
        raise Unavailable(f"{launch.name} failed: {last_line(launch.log)}")


def open_log(path: Path) -> Any:
    """Open a log for appending; a long one is moved aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def last_line(path: Path) -> str:
    """The last line of a log that says something."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "it said nothing")


def write_json(path: Path, body: dict[str, Any], mode: int = 0o600) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        json.dump(body, file, indent=1)
    new.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """A run file's content; empty when it is missing or cut off."""
    try:
        body: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return body


def born(pid: int) -> str:
    """When a process started, in the system's own terms; empty when there is none. With the id it names one process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self").exists():
            return ""
        command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        return "" if answer.stdout.strip().startswith("Z") else answer.stdout.strip().partition(" ")[2]
    return "" if fields[0] == "Z" else fields[19]


def running(record: dict[str, Any]) -> bool:
    """Whether the process of a run file still runs (and is not another one with its number)."""
    return bool(record.get("pid")) and born(record["pid"]) == record.get("born") != ""


def end_orphan(path: Path, patience: float = 15.0) -> None:
    """End a server that outlived its guard, so that its files are free."""
    record = read_json(path)
    asking = record.get("stop_signal", signal.SIGTERM)
    for signal_number, wait in ((asking, patience), (signal.SIGKILL, 5.0)):
        if not running(record):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(record["pid"], signal_number)
        deadline = time.monotonic() + wait
        while running(record) and time.monotonic() < deadline:
            time.sleep(0.05)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
