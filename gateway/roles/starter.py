"""The starter: intake topics → cases, every message → the journal, stranded cases → started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from faststream.kafka import KafkaBroker

from gateway import registry
from gateway.app import App, needed
from gateway.infra import consuming, temporal
from gateway.infra.kafka import KafkaPublisher
from gateway.infra.subscription import Subscription
from gateway.infra.telemetry import CASES, logger, span
from gateway.roles.periodic import every
from gateway.stages.accept import Opener
from gateway.stages.start import FAST_LANE_SECONDS, StartStage
from gateway.stages.tell import TellStage
from gateway.store.journal import Journal
from gateway.store.patients import PatientCaseStore

SWEEP_SECONDS = 5.0

log = logger("starter")


async def run(app: App, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Intake topics → cases; every message → the journal; stranded cases → started."""
    async with app.serving():
        client = await app.temporal()
        stage = await app.start_stage(client)
        tell = TellStage(cases=PatientCaseStore(app.cases), starter=stage.starter, park=stage.park)
        opener = Opener(blobs=app.blobs, cipher=app.cipher)
        journal = Journal(app.database, app.cipher)

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

        async def keep(record: consuming.Record) -> None:
            envelope = await opener(record.key, record.headers, record.value)
            await journal.write(envelope, topic=record.topic, partition=record.partition, offset=record.offset)

        broker = consuming.build_broker(needed(app.settings.kafka, "kafka"), app.security)
        subscriptions = attach(broker, app.publisher, start, keep, workers=app.settings.starter_consumers)
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
    start: consuming.Handler,
    keep: consuming.Handler,
    *,
    workers: int,
) -> tuple[Subscription, ...]:
    """The starter's and the journal's subscribers, in a loop over the same table that AsyncAPI is made from."""
    starting = consuming.Guard(publisher, registry.DEAD_LETTERS, registry.STARTER_GROUP)
    keeping = consuming.Guard(publisher, registry.DEAD_LETTERS, registry.JOURNAL_GROUP)
    busy, *quiet = registry.STARTED_TOPICS
    group = registry.STARTER_GROUP
    return (
        consuming.subscribe(broker, busy, group=group, guard=starting, handler=start, workers=workers),
        consuming.subscribe(broker, *quiet, group=group, guard=starting, handler=start),
        consuming.subscribe(
            broker, *registry.JOURNALED_TOPICS, group=registry.JOURNAL_GROUP, guard=keeping, handler=keep
        ),
    )


async def _sweep(app: App, stage: StartStage) -> None:
    for case in await app.cases.stranded(FAST_LANE_SECONDS):
        await stage.starter.start(case)
        CASES.labels("swept").inc()
