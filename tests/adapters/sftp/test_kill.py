"""kill -9 of a poller at random points: every file is received whole, answered once and archived once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.adapters.sftp.bench import Bench, message

PROGRAM = """
import asyncio, json, sys, time
from datetime import UTC, datetime
from adapters.sftp.inbound import AnswerFile, Poller, Services
from adapters.sftp.settings import SftpEndpoint
from tests.adapters.sftp.bench import complete

settings, key, log = json.loads(sys.argv[1]), open(sys.argv[2], "rb").read(), sys.argv[3]

async def receive(raw, reception):
    await asyncio.sleep(0.05)
    with open(log, "a") as file:
        file.write(raw.sha256 + "\\n")
    return [AnswerFile(f"answer_{raw.sha256[:12]}.txt", raw.sha256.encode() * 200)]

services = Services(receive=receive, complete=complete, secret=lambda _: key, clock=lambda: datetime.now(UTC),
                    monotonic=time.monotonic, owner="a")
print('up', flush=True)
asyncio.run(Poller(SftpEndpoint(**settings), services).run(asyncio.Event()))
"""


def lines(log: Path) -> int:
    return log.read_text().count("\n") if log.exists() else 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_lost_or_doubled(bench: Bench, tmp_path: Path) -> None:
    key, log = tmp_path / "key", tmp_path / "log"
    key.write_bytes(bench.secret(""))
    settings = bench.endpoint(ready="rename", poll_seconds=0.05, longest_pause=0.1, concurrency=2).model_dump_json()
    files = [message(number, "x" * 500) for number in range(8)]
    for number, data in enumerate(files):
        bench.put(f"f{number:02d}.x12", data)
    chance, kills = random.Random(7), 0
    deadline = time.monotonic() + 240
    while len(bench.files("archive")) < len(files) and time.monotonic() < deadline:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, settings, str(key), str(log)],
            env={**os.environ, "PYTHONPATH": "."},
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        before, patience = lines(log), time.monotonic() + 5
        while lines(log) == before and time.monotonic() < patience:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        kills += 1
        process.communicate(timeout=60)
    assert kills >= 2
    assert bench.files("inbound") == bench.files("processing") == []
    assert len(bench.files("archive")) == len(files)
    answers = [name for name in bench.files("outbound") if not name.startswith(".")]
    assert len(answers) == len(files)
    for name in answers:
        assert (bench.server.folder / "outbound" / name).stat().st_size == 64 * 200
    assert len(set(log.read_text().split())) == len(files)
