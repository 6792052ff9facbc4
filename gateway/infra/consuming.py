"""The door to Kafka for consuming: subscribers behind one guard (design D3).

FastStream with `AckPolicy.MANUAL`, auto-commit off, `earliest`. The guard: what we cannot reach pauses (in place,
without limit, and its lag shows it); what may pass is tried again a few times; what cannot succeed goes, confirmed, to
the dead-letter topic with its original bytes, key and headers and an error code without PHI. Only then is the record
done; a partition is committed up to its lowest record that is not (gateway/infra/subscription.py), so a record that is
tried again delays its own key only.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from gateway.core.errors import GatewayError, Unavailable
from gateway.infra.kafka import KafkaPublisher, KafkaSecurity
from gateway.infra.subscription import Subscription
from gateway.infra.telemetry import CONSUMED, DEAD_LETTERS, PAUSED, logger

ATTEMPTS = 5
"""In-place attempts at an error that may pass (a lost race); about two seconds in all, far below the poll interval."""
PAUSE_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""Waits while a server of ours is away; the last one repeats."""
BATCH_RECORDS = 200
"""Records taken from the broker library at once: each call of its handler costs as much as a record of ours does."""
BATCH_WAIT_MS = 100
"""How long an idle consumer sleeps between two looks at what has been fetched."""
PATIENT_BYTES = 512 * 1024
"""What the broker collects for a patient consumer before it answers."""
AT_ONCE = 8
"""Records of a group that one process handles at the same moment: as many as it has database connections."""

log = logger("consuming")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A consumed record."""

    topic: str
    partition: int
    offset: int
    key: str
    headers: dict[str, str]
    value: bytes


Handler = Callable[[Record], Awaitable[None]]

Sift = Callable[[Record], Awaitable[bool]]
"""Whether a record needs no handler (any more): found out together with others, and before one of the places is taken.
It may wait. What it raises counts as no: the guard sees to the record."""


def security_of(security: KafkaSecurity) -> BaseSecurity | None:
    """The same connection options for FastStream's consumers."""
    if security.protocol == "PLAINTEXT":
        return None
    context = ssl.create_default_context() if security.protocol.endswith("SSL") else None
    if security.username is None:
        return BaseSecurity(ssl_context=context, use_ssl=context is not None)
    kind = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}[security.mechanism]
    return kind(security.username, security.password or "", ssl_context=context, use_ssl=context is not None)


@dataclass(frozen=True, slots=True)
class Received:
    """Records, and the consumer that will commit them."""

    records: list[Record]
    consumer: Any  # Committing; the broker library builds a validator from this annotation, and a protocol has none


async def received_of(message: KafkaMessage) -> Received:
    """FastStream's batch as plain data: the decoder of all subscribers."""
    batch: Any = message.raw_message
    consumer: Any = message.consumer
    return Received([_record(raw) for raw in batch], consumer)


def _record(raw: Any) -> Record:
    return Record(
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        key=(raw.key or b"").decode("utf-8", "replace"),
        headers={name: value.decode("utf-8", "replace") for name, value in raw.headers},
        value=raw.value or b"",
    )


class Guard:
    """The one consume guard (design D3)."""

    def __init__(self, publisher: KafkaPublisher, dead_letter_topic: str, group: str) -> None:
        self._publisher = publisher
        self._dead_letter_topic = dead_letter_topic
        self._group = group
        self._slots = asyncio.Semaphore(AT_ONCE)  # not held between two attempts: who waits takes nobody's place

    async def __call__(self, handler: Handler, record: Record) -> None:
        """Handle one record to its end: done, or confirmed in the dead-letter topic."""
        pauses = 0
        while True:
            try:
                await self._bounded(handler, record)
            except Unavailable as error:
                wait = PAUSE_SECONDS[min(pauses, len(PAUSE_SECONDS) - 1)]
                pauses += 1
                PAUSED.labels(self._group, record.topic).inc()
                log.warning("consumer.paused", group=self._group, topic=record.topic, seconds=wait, code=error.code)
                await asyncio.sleep(wait)
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends in the dead-letter topic, never in a loop
                if not await self._bury(record, error):
                    await asyncio.sleep(PAUSE_SECONDS[-1])
                    continue
            else:
                CONSUMED.labels(self._group, record.topic).inc()
            return

    async def _bounded(self, handler: Handler, record: Record) -> None:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            retry=retry_if_exception(
                lambda error: isinstance(error, GatewayError) and error.retryable and not isinstance(error, Unavailable)
            ),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                async with self._slots:
                    await handler(record)

    async def _bury(self, record: Record, error: Exception) -> bool:
        code = error.code if isinstance(error, GatewayError) else type(error).__name__
        headers = record.headers | {
            "dlq_source_topic": record.topic,
            "dlq_source_partition": str(record.partition),
            "dlq_source_offset": str(record.offset),
            "dlq_group": self._group,
            "dlq_error": code,
        }
        try:
            await self._publisher.publish(self._dead_letter_topic, key=record.key, headers=headers, value=record.value)
        except Unavailable:
            return False
        DEAD_LETTERS.labels(self._group, record.topic, code).inc()
        log.error(
            "consumer.dead_letter",
            group=self._group,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            code=code,
        )
        return True


def build_broker(servers: str, security: KafkaSecurity | None = None) -> KafkaBroker:
    """A FastStream broker that cannot lose: idempotent acks=all, no topic creation, nothing acknowledged by itself."""
    return KafkaBroker(
        servers,
        security=security_of(security or KafkaSecurity()),
        acks="all",
        enable_idempotence=True,
        allow_auto_create_topics=False,
        ack_policy=AckPolicy.MANUAL,
        graceful_timeout=15.0,
        apply_types=False,  # handlers take a Record: no dependency injection, which would cost a thread hop each
        logger=None,
    )


def subscribe(
    broker: KafkaBroker,
    *topics: str,
    group: str,
    guard: Guard,
    handler: Handler,
    sift: Sift | None = None,
    workers: int = 1,
    patience: float = 0.0,
) -> Subscription:
    """Attach guarded subscribers. `workers` consumers share the partitions of one topic; order per lane is kept.

    One consumer may read several quiet topics: each member that joins a group makes all others pause. What is returned
    has to be closed before the broker stops. `patience`: how many seconds the broker may hold records back so that more
    of them come by one fetch.
    """

    async def handle(record: Record) -> None:
        if sift is not None and await sifted(sift, record):
            CONSUMED.labels(group, record.topic).inc()
        else:
            await guard(handler, record)

    subscription = Subscription(handle)

    async def consume(received: Received) -> None:
        await subscription.put_all(received.records, received.consumer)

    for _ in range(workers):
        subscriber = broker.subscriber(
            *topics,
            group_id=group,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            max_poll_interval_ms=600_000,
            fetch_min_bytes=PATIENT_BYTES if patience else 1,
            fetch_max_wait_ms=int(patience * 1000) or 500,
            batch=True,
            max_records=BATCH_RECORDS,
            batch_timeout_ms=BATCH_WAIT_MS,
            listener=subscription,
            decoder=received_of,
            no_reply=True,
        )
        subscriber(consume)
    return subscription


async def sifted(sift: Sift, record: Record) -> bool:
    """What a sift says; no where it fails: the guard pauses, tries again or buries."""
    try:
        return await sift(record)
    except Exception:  # noqa: BLE001 - whatever it is, the guard meets it again and knows what to do
        return False
