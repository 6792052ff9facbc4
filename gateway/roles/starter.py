"""The starter: intake topics → cases, every message → the journal, stranded cases → started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from faststream.kafka import KafkaBroker

from gateway import registry
from gateway.app import App, needed, now
from gateway.infra import consuming, temporal
from gateway.infra.kafka import KafkaPublisher
from gateway.infra.subscription import Subscription
from gateway.infra.telemetry import CASES, logger, span
from gateway.infra.together import Together
from gateway.roles.periodic import every
from gateway.stages.accept import Opener
from gateway.stages.start import FAST_LANE_SECONDS, StartStage
from gateway.stages.tell import TellStage
from gateway.store.cases import CaseStore
from gateway.store.journal import Entry, Journal
from gateway.store.patients import PatientCaseStore

SWEEP_SECONDS = 5.0
TOGETHER = 0.2
"""Seconds in which records are collected that can be seen to by one statement."""
EDGE_PATIENCE = 1.0
"""Seconds after its receipt that a fast-lane message is left to the edge that took it, which opens its case itself."""

log = logger("starter")


@dataclass(frozen=True, slots=True)
class Handling:
    """What becomes of the records of a group."""

    each: consuming.Handler
    sift: consuming.Sift


async def run(app: App, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Intake topics → cases; every message → the journal; stranded cases → started."""
    async with app.serving():
        client = await app.temporal()
        stage = await app.start_stage(client)
        tell = TellStage(cases=PatientCaseStore(app.cases), starter=stage.starter, park=stage.park)
        opener = Opener(blobs=app.blobs, cipher=app.cipher)
        journal = Journal(app.database)

        async def start(record: consuming.Record) -> None:
            envelope = await opener(record.key, record.headers, record.value)
            with span("start", envelope.trace_parent, topic=record.topic):
                if registry.definition_of(envelope.type) is None:
                    told = await tell(envelope)
                else:
                    told = (await stage(envelope),)
                for opened in told:
                    CASES.labels(opened.outcome).inc()
                if envelope.reply.get("application"):
                    await temporal.start_acknowledgement(client, envelope)

        journaling = Together(journal.write, seconds=TOGETHER)

        async def keep(record: consuming.Record) -> None:
            await journal.write([await entry_of(opener, record)])

        async def kept(record: consuming.Record) -> bool:
            return await journaling(await entry_of(opener, record))

        broker = consuming.build_broker(needed(app.settings.kafka, "kafka"), app.security)
        starting, keeping = Handling(start, Settled(app.cases)), Handling(keep, kept)
        subscriptions = attach(broker, app.publisher, starting, keeping, workers=app.settings.starter_consumers)
        await broker.start()
        log.info("role.ready", role="starter")
        ready()
        sweeper = asyncio.create_task(every(SWEEP_SECONDS, lambda: _sweep(app, stage)))
        await stop.wait()
        sweeper.cancel()
        await asyncio.gather(*(subscription.close() for subscription in subscriptions))
        await broker.stop()


def attach(
    broker: KafkaBroker,
    publisher: KafkaPublisher,
    start: Handling,
    keep: Handling,
    *,
    workers: int,
) -> tuple[Subscription, ...]:
    """The starter's and the journal's subscribers, in a loop over the same table that AsyncAPI is made from."""
    starting = consuming.Guard(publisher, registry.DEAD_LETTERS, registry.STARTER_GROUP)
    keeping = consuming.Guard(publisher, registry.DEAD_LETTERS, registry.JOURNAL_GROUP)
    busy, *quiet = registry.STARTED_TOPICS
    rows = (
        ((busy,), registry.STARTER_GROUP, starting, start, workers, 0.0),
        (quiet, registry.STARTER_GROUP, starting, start, 1, 0.0),
        (registry.JOURNALED_TOPICS, registry.JOURNAL_GROUP, keeping, keep, 1, TOGETHER),
    )
    return tuple(
        consuming.subscribe(
            broker,
            *topics,
            group=group,
            guard=guard,
            handler=handling.each,
            sift=handling.sift,
            workers=consumers,
            patience=patience,
        )
        for topics, group, guard, handling, consumers, patience in rows
    )


async def entry_of(opener: Opener, record: consuming.Record) -> Entry:
    """A record for the journal. Raises MalformedMessage, Unavailable."""
    envelope, body = await opener.outline(record.key, record.headers, record.value)
    return Entry(envelope=envelope, body=body, topic=record.topic, partition=record.partition, offset=record.offset)


class Settled:
    """Whether a fast-lane message has opened its case: then nothing is left to do, and its body stays closed.

    The edge that took it opens the case itself and is left a moment to do so. Messages are looked up by their headers,
    many at a time.
    """

    def __init__(self, cases: CaseStore) -> None:
        self._look = Together(cases.settled, seconds=TOGETHER)

    async def __call__(self, record: consuming.Record) -> bool:
        """Raises Unavailable."""
        head = record.headers
        if head.get("ce_waits") != "true":
            return False
        patience = EDGE_PATIENCE - (now() - datetime.fromisoformat(head["ce_time"])).total_seconds()
        if patience > 0:
            await asyncio.sleep(min(patience, EDGE_PATIENCE))
        settled = await self._look((head["ce_tenant"], head["ce_source"], head["ce_dedupekey"], head["ce_id"]))
        if settled:
            CASES.labels("known").inc()
        return settled


async def _sweep(app: App, stage: StartStage) -> None:
    for case in await app.cases.stranded(FAST_LANE_SECONDS):
        await stage.starter.start(case)
        CASES.labels("swept").inc()
