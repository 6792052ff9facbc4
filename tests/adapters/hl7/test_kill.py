"""Killed at any moment, the listener has stored every message it acknowledged; resending is all the help it needs."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.hl7.wire import parse
from adapters.hl7.wire.mllp import Frame, Framer, frame

KILLS = int(os.environ.get("GATEWAY_KILLS", "3"))
ROOT = Path(__file__).parents[3]


@contextmanager
def listening(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    program = "from gateway.cli.hl7 import app; app()"
    command = [sys.executable, "-c", program, "listen", "--port", "0", "--save", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment, cwd=ROOT
    ) as process:
        assert process.stderr is not None
        match = re.search(rb"listening on \S+:(\d+)", process.stderr.readline())
        assert match is not None
        yield process, int(match.group(1))
        process.kill()


def send(port: int, messages: list[bytes], until: float, kill: Any) -> list[str]:
    """Send pipelined, kill when the time has come, and give the control ids that were acknowledged until the end."""
    framer, answered = Framer(), []
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(5)
        try:
            client.sendall(b"".join(map(frame, messages)))
            while True:
                if time.monotonic() > until:
                    kill()
                    until = float("inf")
                data = client.recv(4096)
                if not data:
                    break
                answers = [parse(event.payload) for event in framer.feed(data) if isinstance(event, Frame)]
                answered += [answer.get("MSA-2") for answer in answers if answer.get("MSA-1") == "AA"]
                if len(answered) == len(messages):
                    break
        except OSError:
            pass
    return answered


@pytest.mark.timeout(3600)
def test_no_acknowledged_message_is_missing(tmp_path: Path, adt: Any) -> None:
    chance = random.Random(20260301)
    acknowledged: set[str] = set()
    waiting = [f"K{n:05d}" for n in range(60)]
    made = len(waiting)
    for _ in range(KILLS):
        with listening(tmp_path) as (process, port):
            messages = [adt(name, patient=name) for name in waiting]
            moment = time.monotonic() + chance.uniform(0, 0.15)
            got = send(port, messages, moment, lambda process=process: process.send_signal(signal.SIGKILL))
        acknowledged |= set(got)
        stored = {parse(file.read_bytes()).control_id for file in tmp_path.glob("*.hl7")}
        assert acknowledged <= stored
        # The sender repeats what was not answered, and has new messages for what was.
        waiting = [name for name in waiting if name not in acknowledged]
        waiting += [f"K{n:05d}" for n in range(made, made + 60 - len(waiting))]
        made += 60
    with listening(tmp_path) as (_, port):
        got = send(port, [adt(name, patient=name) for name in waiting], float("inf"), lambda: None)
    assert got == waiting
    stored = {parse(file.read_bytes()).control_id for file in tmp_path.glob("*.hl7")}
    assert acknowledged | set(waiting) <= stored
