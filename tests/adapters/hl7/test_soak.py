"""Two thousand connections that say nothing: memory stays flat, and each is served when it speaks.

GATEWAY_SOAK sets the seconds of silence (default 3).
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.hl7.wire.mllp import frame

SECONDS = float(os.environ.get("GATEWAY_SOAK", "3"))
CONNECTIONS = 2_000
ROOT = Path(__file__).parents[3]
SERVER = """
import asyncio, itertools, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from datetime import UTC, datetime
from pathlib import Path
from adapters.hl7.inbound import Listener
from adapters.hl7.settings import ListenerSettings
from gateway.cli.hl7_local import Folder, LocalCodec

async def serve():
    numbers = itertools.count()
    identify = lambda: f"A{next(numbers)}"
    clock = lambda: datetime.now(UTC)
    settings = ListenerSettings(
        name="soak", tenant="t", port=0, unknown_partners=True, connections=4000, connections_per_peer=4000
    )
    codec = LocalCodec(identify=identify, clock=clock)
    listener = Listener(settings, codec=codec, accept=Folder(None, as_json=True), clock=clock, identify=identify)
    async with listener:
        print(listener.port, flush=True)
        await asyncio.sleep(3600)

asyncio.run(serve())
"""


@contextmanager
def serving() -> Iterator[tuple[int, int]]:
    """Process id and port of a listener of its own process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    given = [sys.executable, "-c", SERVER]
    with subprocess.Popen(given, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.kill()


def resident(pid: int) -> int:
    """Resident memory in KiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1))


async def ask(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], data: bytes) -> bytes:
    reader, writer = connection
    writer.write(frame(data))
    return await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 30)


@pytest.mark.timeout(3600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
async def test_idle_connections_cost_no_more_the_longer_they_are_open(adt: Any) -> None:
    with serving() as (pid, port):
        before = resident(pid)
        open_ones = []
        for _ in range(CONNECTIONS // 50):
            open_ones += await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(50)))
        assert b"MSA|AA|FIRST" in await ask(open_ones[-1], adt("FIRST"))  # all before it were taken
        held, seen = resident(pid), []
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            await asyncio.sleep(min(1.0, SECONDS / 3))
            seen.append(resident(pid))
        assert max(seen) <= held + 1024, "silence takes no memory"
        assert (held - before) / CONNECTIONS < 64, "KiB a connection"
        every = open_ones[:: CONNECTIONS // 40]
        answers = await asyncio.gather(*(ask(one, adt(f"C{n}")) for n, one in enumerate(every)))
        assert all(f"MSA|AA|C{n}".encode() in answer for n, answer in enumerate(answers))
        for _, writer in open_ones:
            writer.close()
