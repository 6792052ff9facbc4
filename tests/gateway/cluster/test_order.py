"""From the wire to sixteen consumers of a real Kafka: the messages of a patient never overtake each other.

GATEWAY_ORDER sets the number of messages (default 2,000; ten for each patient).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections import defaultdict

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from adapters.hl7.inbound import Listener
from adapters.hl7.settings import ListenerSettings
from adapters.hl7.wire import read_header
from adapters.hl7.wire.mllp import Frame, Framer, frame
from gateway.core.envelope import Envelope
from gateway.core.errors import InvalidMessage
from gateway.infra import consuming
from gateway.infra.kafka import KafkaPublisher
from gateway.security.cipher import IdentityCipher
from gateway.security.tokens import Tokens
from gateway.stages.accept import AcceptStage
from gateway.testing import FixedClock
from mappings.hl7_codec import Hl7Codec

pytestmark = [pytest.mark.connected, pytest.mark.timeout(900)]

MESSAGES = int(os.environ.get("GATEWAY_ORDER", "2000"))
PATIENTS = MESSAGES // 10
CONNECTIONS, PIPELINED, CONSUMERS, POISON = 8, 50, 16, 3
TOPIC, BURIED = "order.clinical", "order.deadletter"


def message(patient: int, number: int) -> bytes:
    control = f"{patient}-{number}"
    head = f"MSH|^~\\&|EHR|HOSP|GW|PAYER|20260301101500||ADT^A08^ADT_A01|{control}|P|2.5.1"
    return f"{head}\rPID|1||{patient}^^^HOSP^MR||DOE^JANE||19700101|F\rPV1|1|I\r".encode()


async def send(port: int, patients: list[int]) -> int:
    """Pipeline the messages of these patients, mixed, each patient's in order; how many were accepted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    left = {patient: itertools.count() for patient in patients}
    order = [patient for patient in patients for _ in range(10)]
    random.Random(patients[0]).shuffle(order)

    room = asyncio.Semaphore(PIPELINED)

    async def write() -> None:
        for patient in order:
            await room.acquire()
            writer.write(frame(message(patient, next(left[patient]))))
            await writer.drain()

    writing = asyncio.create_task(write())
    framer, accepted = Framer(), 0
    while accepted < len(order):
        for event in framer.feed(await reader.read(65536)):
            assert isinstance(event, Frame)
            assert b"\rMSA|AA|" in event.payload
            accepted += 1
            room.release()
    await writing
    writer.close()
    return accepted


async def create(kafka: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, CONSUMERS, 1), NewTopic(BURIED, 1, 1)])
    await admin.close()


async def test_the_order_of_a_patient_holds_from_the_wire_to_the_consumers(kafka: str) -> None:
    await create(kafka)
    publisher = KafkaPublisher(kafka)
    await publisher.open()
    stage = AcceptStage(
        publisher=publisher,
        blobs=None,  # type: ignore[arg-type]  # no message here is large enough
        cipher=IdentityCipher(),
        token=Tokens(b"t" * 32),
        routes={"clinical": TOPIC},
        parked_topic=BURIED,
    )
    seen: dict[str, list[int]] = defaultdict(list)
    working = most = 0
    done = asyncio.Event()

    async def handle(record: consuming.Record) -> None:
        nonlocal working, most
        envelope = Envelope.parse(record.key, record.headers, record.value)
        patient, number = read_header(envelope.raw.data or b"").get(10).split("-")
        if (int(patient), int(number)) == (POISON, 5):
            raise InvalidMessage(location="PID-3")
        working += 1
        most = max(most, working)
        await asyncio.sleep(random.uniform(0, 0.002))
        working -= 1
        seen[patient].append(int(number))
        if sum(map(len, seen.values())) == MESSAGES - 1:
            done.set()

    broker = consuming.build_broker(kafka)
    guard = consuming.Guard(publisher, BURIED, "order")
    consuming.subscribe(broker, TOPIC, group="order", guard=guard, handler=handle, workers=CONSUMERS)
    settings = ListenerSettings(name="order", tenant="t", port=0, unknown_partners=True, accept_timeout=60)
    numbers = itertools.count()
    listener = Listener(
        settings, codec=Hl7Codec(), accept=stage, clock=FixedClock(), identify=lambda: f"A{next(numbers)}"
    )
    async with listener:
        shares = [list(range(start, PATIENTS, CONNECTIONS)) for start in range(CONNECTIONS)]
        accepted = await asyncio.gather(*(send(listener.port, share) for share in shares))
    assert sum(accepted) == MESSAGES
    await broker.start()
    await asyncio.wait_for(done.wait(), 300)
    await broker.stop()
    await publisher.close()
    broken = {patient: found for patient, found in seen.items() if found != sorted(found)}
    assert broken == {}
    assert seen[str(POISON)] == [number for number in range(10) if number != 5]
    assert most > 1, "the consumers worked side by side"
