"""Roles as processes: one parent that starts them, restarts what dies (with back-off), and takes them along at its end.

A child holds the read end of a pipe whose write end only the parent has: when the parent ends, however it ends, the
child sees end-of-file and leaves, at whatever it is. No orphans, no polling, no reliance on the parent's signals.
Whoever starts `gateway run` from a program of his own may do the same: the number of the read end in the variable
GATEWAY_PARENT_PIPE.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.infra.telemetry import logger

PARENT_PIPE = "GATEWAY_PARENT_PIPE"
READY = "GATEWAY_READY"
"""Environment variable: the folder in which a role says that it serves."""
GRACE_SECONDS = 15.0
"""Between SIGTERM and SIGKILL: in-flight messages finish, offsets are committed."""
RESTART_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
STEADY_SECONDS = 20.0
"""A child that lived this long starts again without waiting."""

log = logger("processes")


@dataclass(slots=True)
class Child:
    """One role process."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path | None = None
    """Where its output goes; None: where the parent's goes."""
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    quick_deaths: int = 0


@dataclass(slots=True)
class Supervisor:
    """Keeps children running until told to stop."""

    children: list[Child]
    on_change: Callable[[dict[str, int]], None] = field(default=lambda _pids: None)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Start all and keep them; returns after `stop` once all have ended."""
        read_end, write_end = os.pipe()
        try:
            await asyncio.gather(*(self._keep(child, read_end) for child in self.children))
        finally:
            os.close(write_end)
            os.close(read_end)

    def stop(self) -> None:
        """End all children, politely first."""
        self._stopping.set()

    def pids(self) -> dict[str, int]:
        """Process ids of the living children by name."""
        alive = {child.name: child.process for child in self.children if child.process is not None}
        return {name: process.pid for name, process in alive.items() if process.returncode is None}

    async def _keep(self, child: Child, read_end: int) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            child.process = await _spawn(child, read_end)
            child.starts += 1
            self.on_change(self.pids())
            await self._until_end(child)
            if self._stopping.is_set():
                return
            child.quick_deaths = 0 if time.monotonic() - began > STEADY_SECONDS else child.quick_deaths + 1
            pause = RESTART_SECONDS[min(child.quick_deaths, len(RESTART_SECONDS)) - 1] if child.quick_deaths else 0.0
            log.warning("process.restart", role=child.name, status=child.process.returncode, seconds=pause)
            try:
                await asyncio.wait_for(self._stopping.wait(), pause)
            except TimeoutError:
                continue

    async def _until_end(self, child: Child) -> None:
        process = child.process
        if process is None:
            return
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if ended.done():
            return
        process.terminate()
        try:
            await asyncio.wait_for(ended, GRACE_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _spawn(child: Child, read_end: int) -> asyncio.subprocess.Process:
    output = child.log.open("ab") if child.log is not None else None
    try:
        return await asyncio.create_subprocess_exec(
            *child.arguments,
            env={**child.environment, PARENT_PIPE: str(read_end)},
            pass_fds=(read_end,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    finally:
        if output is not None:
            output.close()


def announce_ready(name: str) -> None:
    """Tell the parent that this role serves."""
    folder = os.environ.get(READY)
    if folder:
        (Path(folder) / name).write_text(str(os.getpid()), encoding="ascii")


def end_with_parent() -> None:
    """From now on the end of the parent, where it gave us its pipe, is a SIGTERM."""
    pipe = os.environ.get(PARENT_PIPE)
    if pipe:
        threading.Thread(target=_await_end, args=(int(pipe),), name="parent", daemon=True).start()


def _await_end(pipe: int) -> None:
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def stop_event() -> asyncio.Event:
    """An event set by SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def role_command(role: str) -> list[str]:
    """How a role process is started."""
    return [sys.executable, "-m", "gateway.roles", role]
