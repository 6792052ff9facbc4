"""The composition root: settings → objects → roles. The only module that builds things.

A role is one process: `edge` (HTTP and MLLP in), `starter` (intake topics → cases, and the message journal), `worker`
(workflows and deliveries), `sftp` (partners' drops), `relay` (event log → Kafka and read models), `monitor` (lag).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from gateway import registry
from gateway.core.envelope import Envelope
from gateway.core.errors import ConfigurationError
from gateway.core.ports import Cipher, Decision
from gateway.core.settings import Settings
from gateway.infra import kafka, temporal
from gateway.infra.postgres import Database
from gateway.infra.telemetry import (
    CASES,
    DECIDE_SECONDS,
    DELIVERIES,
    MESSAGES,
    OUTBOX_AGE,
    PROJECTION_LAG,
    logger,
    span,
)
from gateway.security.cipher import DerivedKeys, EnvelopeCipher
from gateway.security.secrets import key_bytes, secret
from gateway.security.tokens import Tokens
from gateway.stages.accept import AcceptStage, Opener
from gateway.stages.deliver import DeliverStage
from gateway.stages.fast_lane import FastLane
from gateway.stages.start import FAST_LANE_SECONDS, CaseStart, Definition, StartStage
from gateway.store.blobs import PostgresBlobs
from gateway.store.cases import Case, CaseStore
from gateway.store.deliveries import Deliveries
from gateway.store.journal import Journal
from gateway.store.relay import LogReader, Outbox, case_view
from workflows import definitions
from workflows.activities import CaseActivities
from workflows.inputs import CaseInput
from workflows.interpreter import Case as CaseWorkflow

SWEEP_SECONDS = 5.0
RELAY_IDLE_SECONDS = 0.2
CASES_TOKEN_READERS = ("relay", "case_view")

log = logger("app")


def now() -> datetime:
    """The clock of production."""
    return datetime.now(UTC)


def case_input(case: CaseStart, lane: str) -> CaseInput:
    """What starts a case's workflow."""
    return CaseInput(
        case_id=case.case_id,
        tenant=case.tenant,
        subject=case.subject,
        definition=case.definition.content,
        definition_hash=case.definition.hash,
        received_at=case.received_at,
        due_at=case.due_at,
        priority=case.priority,
        lane=lane,
    )


@dataclass
class App:
    """Everything a role may need, built on demand from the settings; `serving` opens what a role uses."""

    settings: Settings

    @cached_property
    def tokens(self) -> Tokens:
        """Opaque keys."""
        if not self.settings.token_key:
            raise ConfigurationError("GATEWAY_TOKEN_KEY is not set: give a secret reference env:NAME or file:PATH")
        return Tokens.load(self.settings.token_key)

    @cached_property
    def cipher(self) -> Cipher:
        """Encryption at rest."""
        if not self.settings.cipher_key:
            raise ConfigurationError("GATEWAY_CIPHER_KEY is not set: give a secret reference env:NAME or file:PATH")
        key_id = self.settings.cipher_key_id
        return EnvelopeCipher(DerivedKeys({key_id: key_bytes(self.settings.cipher_key)}, key_id))

    @cached_property
    def database(self) -> Database:
        """PostgreSQL."""
        return Database(_needed(self.settings.postgres, "postgres"))

    @cached_property
    def security(self) -> kafka.KafkaSecurity:
        """How to connect to Kafka."""
        password = self.settings.kafka_password
        return kafka.KafkaSecurity(
            protocol=self.settings.kafka_security,
            username=self.settings.kafka_username,
            password=secret(password).decode() if password else None,
        )

    @cached_property
    def publisher(self) -> kafka.KafkaPublisher:
        """The one producer of this process."""
        return kafka.KafkaPublisher(_needed(self.settings.kafka, "kafka"), self.security)

    @cached_property
    def blobs(self) -> PostgresBlobs:
        """Claim-checked payloads."""
        return PostgresBlobs(self.database, self.cipher)

    @cached_property
    def cases(self) -> CaseStore:
        """Inbox and cases."""
        return CaseStore(self.database, self.cipher, self.tokens, now)

    @cached_property
    def accept(self) -> AcceptStage:
        """Stage one."""
        return AcceptStage(
            publisher=self.publisher,
            blobs=self.blobs,
            cipher=self.cipher,
            token=self.tokens,
            clock=now,
            routes=registry.TOPICS,
            parked_topic=registry.PARKED,
            count=lambda kind, topic: MESSAGES.labels(kind, topic).inc(),
        )

    async def start_stage(self, client: temporal.Client) -> StartStage:
        """Stage two; registers the definitions that ship."""
        found = definitions.load()
        registered: dict[str, Definition] = {}
        for name, content in found.items():
            registered[name] = await self.cases.register(
                self.settings.tenant, content, definitions.content_hash(content)
            )
        return StartStage(
            cases=self.cases,
            starter=temporal.TemporalStarter(client=client, make_input=case_input),
            definitions={kind: registered[name] for kind, name in registry.DEFINITIONS.items()},
            opening_types=registry.OPENING,
            park=self._park,
        )

    async def _park(self, envelope: Envelope, reason: str) -> None:
        headers = envelope.headers() | {"ce_parked": reason, "ce_causationid": envelope.id}
        sealed = self.cipher.encrypt(envelope.tenant, envelope.body())
        await self.publisher.publish(registry.PARKED, key=envelope.key, headers=headers, value=sealed)
        log.warning("message.parked", reason=reason, source=envelope.source, type=envelope.type)

    async def fast_lane(self, client: temporal.Client) -> FastLane:
        """The edge's way to a decision."""
        start = await self.start_stage(client)
        return FastLane(
            start=start,
            cases=self.cases,
            known=self.cases,
            temporal=temporal.TemporalStarter(client=client, make_input=case_input),
            monotonic=time.monotonic,
            observe=lambda outcome, seconds: DECIDE_SECONDS.labels(outcome).observe(seconds),
        )

    async def temporal(self) -> temporal.Client:
        """A Temporal client."""
        address = _needed(self.settings.temporal, "temporal")
        return await temporal.connect(address, self.settings.temporal_namespace, self.cipher)

    @asynccontextmanager
    async def serving(self, *, produces: bool = True, stores: bool = True) -> AsyncIterator[None]:
        """Open the connections a role uses; close them at its end."""
        async with AsyncExitStack() as stack:
            if stores:
                await self.database.open()
                stack.push_async_callback(self.database.close)
            if produces:
                await self.publisher.open()
                stack.push_async_callback(self.publisher.close)
            yield


def _needed(value: str | None, name: str) -> str:
    if not value:
        raise ConfigurationError(f"no address for {name}: set GATEWAY_{name.upper()}, or start with `gateway run`")
    return value


async def starter(app: App, stop: asyncio.Event) -> None:
    """Intake topics → cases; every message → the journal; stranded cases → started."""
    async with app.serving():
        client = await app.temporal()
        stage = await app.start_stage(client)
        opener = Opener(blobs=app.blobs, cipher=app.cipher)
        journal = Journal(app.database, app.cipher)

        async def start(record: kafka.Record) -> None:
            envelope = await opener(record.key, record.headers, record.value)
            with span("start", envelope.trace_parent, topic=record.topic):
                if registry.definition_of(envelope.type) is None:
                    return
                opened = await stage(envelope)
                CASES.labels(opened.outcome).inc()

        async def keep(record: kafka.Record) -> None:
            envelope = await opener(record.key, record.headers, record.value)
            await journal.write(envelope, topic=record.topic, partition=record.partition, offset=record.offset)

        broker = kafka.build_broker(_needed(app.settings.kafka, "kafka"), app.security)
        attach(broker, app.publisher, start, keep, workers=app.settings.starter_consumers)
        await broker.start()
        log.info("role.ready", role="starter")
        sweeper = asyncio.create_task(_every(SWEEP_SECONDS, lambda: _sweep(app, stage)))
        await stop.wait()
        sweeper.cancel()
        await broker.stop()


def attach(
    broker: kafka.KafkaBroker,
    publisher: kafka.KafkaPublisher,
    start: kafka.Handler,
    keep: kafka.Handler,
    *,
    workers: int,
) -> None:
    """The starter's and the journal's subscribers, in a loop over the same table that AsyncAPI is made from."""
    starting = kafka.Guard(publisher, registry.DEAD_LETTERS, registry.STARTER_GROUP)
    keeping = kafka.Guard(publisher, registry.DEAD_LETTERS, registry.JOURNAL_GROUP)
    for topic in registry.STARTED_TOPICS:
        kafka.subscribe(broker, topic, group=registry.STARTER_GROUP, guard=starting, handler=start, workers=workers)
    for topic in (*registry.JOURNALED_TOPICS,):
        kafka.subscribe(broker, topic, group=registry.JOURNAL_GROUP, guard=keeping, handler=keep)


async def _sweep(app: App, stage: StartStage) -> None:
    for case in await app.cases.stranded(FAST_LANE_SECONDS):
        await stage.starter.start(case)
        CASES.labels("swept").inc()


async def _every(seconds: float, action: Callable[[], Awaitable[Any]]) -> None:
    """Repeat an action; a failure is logged and the next round tries again."""
    while True:
        try:
            await action()
        except Exception as error:  # noqa: BLE001 - a periodic task must outlive any single failure
            log.warning("periodic.failed", exc_info=error)
        await asyncio.sleep(seconds)


async def worker(app: App, stop: asyncio.Event) -> None:
    """Workflows with their local activities, and one delivery worker per endpoint."""
    async with app.serving(produces=False), AsyncExitStack() as stack:
        client = await app.temporal()
        deliver = DeliverStage(
            intents=Deliveries(app.database, app.cipher),
            senders=registry.senders(app.settings),
            renderers=registry.renderers(app.settings, app.database),
            monotonic=time.monotonic,
            count=lambda endpoint, outcome: DELIVERIES.labels(endpoint, outcome).inc(),
        )
        activities = CaseActivities(
            cases=app.cases,
            policy=registry.policy(app.settings),
            deliver_stage=deliver,
            way_back=way_back,
            clock=now,
        )
        local = [
            activities.decide,
            activities.conclude,
            activities.open_task,
            activities.close_task,
            activities.close_case,
        ]
        workers = [temporal.case_worker(client, workflows=[CaseWorkflow], activities=local)]
        for endpoint, rate in registry.endpoints(app.settings).items():
            workers.append(temporal.delivery_worker(client, endpoint, activities.deliver, per_second=rate))
        for one in workers:
            await stack.enter_async_context(one)
        log.info("role.ready", role="worker", count=len(workers))
        await stop.wait()


def way_back(case: Case, _decision: Decision, lane: str) -> tuple[str, ...]:
    """Who must hear of a decision: nobody when the caller waits for this, the first one; else the request's way back."""
    reply = case.context["reply"]
    first = case.version == 1
    if lane == "fast" and first:
        return ()
    endpoint = reply.get("endpoint") or reply.get("notify")
    return (str(endpoint),) if endpoint else ()


async def relay(app: App, stop: asyncio.Event) -> None:
    """Event log → Kafka, event log → read models."""
    async with app.serving():
        outbox = Outbox(
            publisher=app.publisher,
            cipher=app.cipher,
            events_topic=registry.EVENTS,
            decisions_topic=registry.DECISIONS,
        )
        readers = [
            LogReader(database=app.database, cipher=app.cipher, name="outbox", apply=outbox),
            LogReader(database=app.database, cipher=app.cipher, name="case_view", apply=case_view),
        ]
        for reader in readers:
            await reader.create()
        tasks = [
            asyncio.create_task(_every(RELAY_IDLE_SECONDS, lambda reader=reader: _drain(reader))) for reader in readers
        ]
        tasks.append(asyncio.create_task(_every(5.0, lambda: _measure(readers))))
        log.info("role.ready", role="relay")
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _drain(reader: LogReader) -> None:
    while await reader.step():
        pass


async def _measure(readers: list[LogReader]) -> None:
    for reader in readers:
        count, oldest = await reader.waiting()
        PROJECTION_LAG.labels(reader.name).set(count)
        if reader.name == "outbox":
            OUTBOX_AGE.set((now() - oldest).total_seconds() if oldest else 0.0)
