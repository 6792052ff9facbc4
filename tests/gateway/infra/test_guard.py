"""The consume guard: an outage pauses, a lost race is tried again, poison is buried whole, and nothing loops."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import ConcurrencyError, GatewayError, MalformedMessage, Unavailable
from gateway.infra import consuming
from gateway.infra.consuming import Guard, Record, sifted
from tests.gateway.stages.fakes import MARKER, MemoryPublisher

RECORD = Record(
    topic="intake.authorization.v1", partition=2, offset=7, key="k3y", headers={"ce_id": "1"}, value=b"\x00\xff"
)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits are noted, not waited."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("gateway.infra.consuming.asyncio.sleep", sleep)
    return waited


class Handler:
    """Fails with these errors, one after the other, then succeeds."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.calls = list(failures), 0

    async def __call__(self, record: Record) -> None:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)


class FlakyPublisher(MemoryPublisher):
    """Confirms only after some refusals."""

    refusals = 3

    async def publish(self, topic: str, *, key: str, headers: dict[str, str], value: bytes) -> tuple[int, int]:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable
        return await super().publish(topic, key=key, headers=headers, value=value)


def guard(publisher: Any) -> Guard:
    return Guard(publisher, "intake.deadletter.v1", "gateway.starter")


async def test_what_works_is_handled_once() -> None:
    publisher, handler = MemoryPublisher(), Handler()
    await guard(publisher)(handler, RECORD)
    assert (handler.calls, publisher.records) == (1, [])


async def test_an_outage_pauses_without_limit_and_buries_nothing(pauses: list[float]) -> None:
    publisher, handler = MemoryPublisher(), Handler(*[Unavailable() for _ in range(50)])
    await guard(publisher)(handler, RECORD)
    assert (handler.calls, publisher.records) == (51, [])
    assert pauses == [0.5, 1.0, 2.0, *[5.0] * 47]


async def test_a_lost_race_is_tried_again_in_place() -> None:
    publisher, handler = MemoryPublisher(), Handler(ConcurrencyError(), ConcurrencyError())
    await guard(publisher)(handler, RECORD)
    assert (handler.calls, publisher.records) == (3, [])


async def test_a_race_lost_again_and_again_is_buried() -> None:
    publisher, handler = MemoryPublisher(), Handler(*[ConcurrencyError() for _ in range(50)])
    await guard(publisher)(handler, RECORD)
    assert handler.calls == consuming.ATTEMPTS
    assert publisher.records[0][2]["dlq_error"] == "concurrency"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (MalformedMessage(f"bad {MARKER}"), "malformed"),
        (ValueError(MARKER), "ValueError"),
        (KeyError(MARKER), "KeyError"),
    ],
)
async def test_poison_is_buried_once_with_its_bytes(failure: Exception, code: str) -> None:
    publisher, handler = MemoryPublisher(), Handler(failure)
    await guard(publisher)(handler, RECORD)
    ((topic, key, headers, value),) = publisher.records
    assert (topic, key, value, handler.calls) == ("intake.deadletter.v1", RECORD.key, RECORD.value, 1)
    assert headers == {
        "ce_id": "1",
        "dlq_source_topic": RECORD.topic,
        "dlq_source_partition": "2",
        "dlq_source_offset": "7",
        "dlq_group": "gateway.starter",
        "dlq_error": code,
    }
    assert MARKER not in repr(headers)


async def test_poison_is_kept_until_the_dead_letter_is_confirmed() -> None:
    publisher, failures = FlakyPublisher(), [GatewayError() for _ in range(4)]
    handler = Handler(*failures)
    await guard(publisher)(handler, RECORD)
    assert (handler.calls, len(publisher.records)) == (4, 1)


@pytest.mark.parametrize("failure", [Unavailable(), MalformedMessage(MARKER), KeyError(MARKER)])
async def test_a_sift_that_fails_leaves_its_record_to_the_guard(failure: Exception) -> None:
    async def failing(_record: Record) -> bool:
        raise failure

    async def done(record: Record) -> bool:
        return record is RECORD

    assert not await sifted(failing, RECORD)
    assert await sifted(done, RECORD)
