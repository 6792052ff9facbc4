"""What the SFTP tests share: an endpoint on a server, a receiver that remembers, pollers with a settable clock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from adapters.sftp.inbound import AnswerFile, Poller, Services, target_of
from adapters.sftp.settings import SftpEndpoint
from gateway.core.envelope import Raw, Reception
from gateway.infra.sftp import SftpTarget
from gateway.testing import FixedClock
from tests.adapters.sftp.servers import ACCOUNT, Server


def message(number: int = 1, text: str = "x") -> bytes:
    """A file in a format of its own: BEGIN<number>…END<number>; complete when both numbers are equal."""
    return f"BEGIN{number:04d}\n{text}\nEND{number:04d}\n".encode()


def complete(head: bytes, tail: bytes) -> bool:
    return tail.rstrip().endswith(b"END" + head[5:9])


@dataclass
class Bench:
    """A drop, and what arrived from it."""

    server: Server
    received: list[tuple[Raw, Reception]] = field(default_factory=list)
    reports: list[tuple[str, str]] = field(default_factory=list)
    clock: FixedClock = field(default_factory=FixedClock)
    seconds: float = 100.0
    secrets: dict[str, bytes] = field(default_factory=dict)
    """By reference; any other reference means the private key of SSH."""
    on_receive: Callable[[], Awaitable[None]] | None = None

    def endpoint(self, **change: object) -> SftpEndpoint:
        base = self.server.base
        folders = {name: base + name for name in ("inbound", "processing", "archive", "error", "outbound")}
        values: dict[str, object] = {
            "name": "clearinghouse-a",
            "host": "127.0.0.1",
            "port": self.server.port,
            "user": self.server.user,
            "host_keys": (self.server.host_key,),
            "private_key": "env:KEY",
            "stable_seconds": 10.0,
            "timeout": 10.0,
            **folders,
            **change,
        }
        return SftpEndpoint(**values)  # type: ignore[arg-type]

    def poller(self, owner: str = "a", **change: object) -> Poller:
        async def receive(raw: Raw, reception: Reception) -> list[AnswerFile]:
            if self.on_receive is not None:
                await self.on_receive()
            self.received.append((raw, reception))
            return [AnswerFile(f"answer_{raw.sha256[:12]}.txt", b"answer to " + raw.sha256.encode())]

        services = Services(
            receive=receive,
            complete=complete,
            secret=self.secret,
            clock=self.clock,
            monotonic=lambda: self.seconds,
            owner=owner,
            report=lambda event, name: self.reports.append((event, name)),
        )
        return Poller(self.endpoint(**change), services)

    def secret(self, reference: str) -> bytes:
        return self.secrets.get(reference, self.server.private_key.encode())

    def target(self, **change: object) -> SftpTarget:
        return target_of(self.endpoint(**change), self.secret)

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        self.clock.now += timedelta(seconds=seconds)

    async def poll_twice(self, poller: Poller, seconds: float = 10.0) -> int:
        """Two looks with the stability time between them."""
        session = await poller.connect()
        try:
            done = await poller.poll(session)
            self.pass_time(seconds)
            return done + await poller.poll(session)
        finally:
            session.close()

    def put(self, name: str, data: bytes) -> Path:
        path = self.server.folder / "inbound" / name
        path.write_bytes(data)
        if os.geteuid() == 0 and self.server.process is not None:
            shutil.chown(path, ACCOUNT, ACCOUNT)
        return path

    def files(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.server.folder / folder).iterdir())
