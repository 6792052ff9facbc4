"""Kafka goes away and comes back: no yes meanwhile, a no within five seconds, and the same bytes are accepted after."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import pytest

from adapters.hl7.inbound import Listener
from adapters.hl7.settings import ListenerSettings
from adapters.hl7.wire.mllp import frame
from gateway.core.topics import parse
from gateway.infra import topics_admin
from gateway.infra.kafka import KafkaPublisher
from gateway.registry import PARKED, TOPICS
from gateway.security.cipher import IdentityCipher
from gateway.security.tokens import Tokens
from gateway.stack import Stack, StackSettings
from gateway.stack.progress import Silent
from gateway.stages.accept import AcceptStage
from gateway.testing import FixedClock
from mappings.hl7_codec import Hl7Codec

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]
CATALOGUE = Path(__file__).parents[3] / "topics.yaml"
DEADLINE = 5.0
"""Seconds in which a sender hears that its message was not stored."""


def message(control: str, ask: str = "") -> bytes:
    head = f"MSH|^~\\&|EHR|HOSP|GW|PAYER|20260301101500||ADT^A08^ADT_A01|{control}|P|2.5.1{ask}"
    return f"{head}\rPID|1||7^^^HOSP^MR||DOE^JANE\rPV1|1|I\r".encode()


async def ask(port: int, data: bytes) -> tuple[str, float]:
    """MSA-1 of the answer, and the seconds it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    writer.write(frame(data))
    answer = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 30)
    writer.close()
    return answer.split(b"\rMSA|")[1][:2].decode(), time.monotonic() - began


async def test_an_outage_is_told_in_time_and_passes(tmp_path: Path) -> None:
    stack = Stack(StackSettings(state=tmp_path), {"kafka"}, Silent())
    kafka = stack.up().addresses.kafka
    try:
        async with topics_admin.admin(kafka) as client:
            await topics_admin.apply(client, parse(CATALOGUE.read_text("utf-8")).wanted("embedded"))
        publisher = KafkaPublisher(kafka)
        await publisher.open()
        stage = AcceptStage(
            publisher=publisher,
            blobs=None,  # type: ignore[arg-type]  # no message here is large enough
            cipher=IdentityCipher(),
            token=Tokens(b"t" * 32),
            routes=TOPICS,
            parked_topic=PARKED,
        )
        numbers = itertools.count()
        settings = ListenerSettings(name="outage", tenant="t", port=0, unknown_partners=True)
        listener = Listener(
            settings, codec=Hl7Codec(), accept=stage, clock=FixedClock(), identify=lambda: f"A{next(numbers)}"
        )
        async with listener:
            assert (await ask(listener.port, message("C0")))[0] == "AA"
            await asyncio.to_thread(stack.down)
            for given, expected in ((message("C1"), "AE"), (message("C2", "|||AL|NE"), "CE"), (message("C1"), "AE")):
                code, seconds = await ask(listener.port, given)
                assert code == expected
                assert seconds < DEADLINE
            assert (await asyncio.to_thread(stack.up)).addresses.kafka == kafka
            for given, expected in ((message("C1"), "AA"), (message("C2", "|||AL|NE"), "CA")):
                async with asyncio.timeout(60):
                    while (code := (await ask(listener.port, given))[0]) != expected:
                        assert code in {"AE", "CE"}
        await publisher.close()
    finally:
        await asyncio.to_thread(stack.down)
