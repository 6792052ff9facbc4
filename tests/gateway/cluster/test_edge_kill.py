"""The MLLP edge killed at random moments, on a real Kafka: what it acknowledged is there, the rest is only sent again.

GATEWAY_KILLS sets how often (default 5). A parent that has imported everything forks a listener for each round, so that
most of the time goes to the part that is interrupted: between reading a socket and answering.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from adapters.hl7.wire import read_header
from gateway.core.envelope import Envelope
from tests.adapters.hl7.test_kill import send

pytestmark = [pytest.mark.connected, pytest.mark.timeout(1800)]

KILLS = int(os.environ.get("GATEWAY_KILLS", "5"))
ROOT = Path(__file__).parents[3]
TOPIC, PARTITIONS, FLYING = "kill.clinical", 6, 60

PARENT = """
import asyncio, itertools, os, sys
from adapters.hl7.inbound import Listener
from adapters.hl7.settings import ListenerSettings
from gateway.infra.kafka import KafkaPublisher
from gateway.security.cipher import IdentityCipher
from gateway.security.tokens import Tokens
from gateway.stages.accept import AcceptStage
from gateway.testing import FixedClock
from mappings.hl7_codec import Hl7Codec
from mappings.hl7_to_fhir import default_program

kafka, topic = sys.argv[1:]
default_program()

async def serve():
    publisher = KafkaPublisher(kafka)
    await publisher.open()
    stage = AcceptStage(
        publisher=publisher, blobs=None, cipher=IdentityCipher(), token=Tokens(b"t" * 32),
        routes={"clinical": topic}, parked_topic=topic,
    )
    numbers = itertools.count()
    settings = ListenerSettings(name="kill", tenant="t", port=0, unknown_partners=True)
    listener = Listener(
        settings, codec=Hl7Codec(), accept=stage, clock=FixedClock(), identify=lambda: f"A{next(numbers)}"
    )
    async with listener:
        print(os.getpid(), listener.port, flush=True)
        await asyncio.sleep(3600)

for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        asyncio.run(serve())
        os._exit(0)
    os.waitpid(child, 0)
"""


def message(control: str) -> bytes:
    patient = int(control[1:]) % 7
    head = f"MSH|^~\\&|EHR|HOSP|GW|PAYER|20260301101500||ADT^A08^ADT_A01|{control}|P|2.5.1"
    return f"{head}\rPID|1||{patient}^^^HOSP^MR||DOE^JANE||19700101|F\rPV1|1|I\r".encode()


@contextmanager
def parent(kafka: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    given = [sys.executable, "-c", PARENT, kafka, TOPIC]
    with subprocess.Popen(
        given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:
        yield process
        process.kill()


def child(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Fork another listener: its process id and port."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    pid, port = process.stdout.readline().split()
    return int(pid), int(port)


async def stored(kafka: str) -> dict[str, set[tuple[str, str]]]:
    """Control id → (dedupe key, body hash) of what is in the topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    names = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
    consumer.assign(names)
    left = sum((await consumer.end_offsets(names)).values())
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    while left:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                headers = {name: value.decode() for name, value in record.headers}
                envelope = Envelope.parse("", headers, record.value or b"")
                control = read_header(envelope.raw.data or b"").get(10)
                found[control].add((envelope.dedupe_key, envelope.body_sha256))
                left -= 1
    await consumer.stop()
    return found


async def test_a_killed_edge_has_stored_what_it_acknowledged(kafka: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    await admin.close()
    chance = random.Random(20260301)
    acknowledged: set[str] = set()
    waiting, made, cut = [f"K{n:06d}" for n in range(FLYING)], FLYING, 0
    with parent(kafka) as process:
        for _ in range(KILLS):
            pid, port = child(process)
            moment = time.monotonic() + chance.uniform(0, 0.12)
            got = send(port, list(map(message, waiting)), moment, lambda pid=pid: os.kill(pid, signal.SIGKILL))
            if len(got) < len(waiting):
                cut += 1
            else:
                os.kill(pid, signal.SIGKILL)
            acknowledged |= set(got)
            waiting = [name for name in waiting if name not in acknowledged]
            new = FLYING - len(waiting)
            waiting += [f"K{n:06d}" for n in range(made, made + new)]
            made += new
        pid, port = child(process)
        got = send(port, list(map(message, waiting)), float("inf"), lambda: None)
        os.kill(pid, signal.SIGKILL)
    assert got == waiting, "what was not acknowledged is only sent again"
    found = await stored(kafka)
    assert acknowledged | set(waiting) <= found.keys()
    assert {control for control, kinds in found.items() if len(kinds) != 1} == set(), "one key and one body: one effect"
    assert cut > KILLS / 3, "kills met messages on their way"
