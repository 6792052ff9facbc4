"""The worker: workflows with their local activities, and one delivery worker per endpoint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from gateway.app import App, asking, asking_fhir, deliveries, forwarding, now
from gateway.core.ports import Decision
from gateway.infra import temporal
from gateway.infra.telemetry import DELIVERIES, logger
from gateway.stages.deliver import DeliverStage
from gateway.store import integrations
from gateway.store.deliveries import Deliveries
from gateway.store.fhir_edge import PostgresIssued, PostgresSubscriptions
from mappings.information_request import information_keys
from workflows.acknowledge import Acknowledge, AcknowledgeActivities
from workflows.activities import CaseActivities
from workflows.extending import ClockActivities
from workflows.forwarding import ForwardActivities
from workflows.handshake import Handshake, HandshakeActivities, Heartbeat
from workflows.inquiring import InquiryActivities
from workflows.interpreter import Case as CaseWorkflow
from workflows.payer import PayerActivities

log = logger("worker")


def deliver_stage(
    app: App, notifications: deliveries.Notifications, intents: Deliveries, rates: Mapping[str, float]
) -> DeliverStage:
    """Stage four, with every sender."""
    return DeliverStage(
        intents=intents,
        senders={**deliveries.senders(app, notifications), **asking.senders(app)},
        renderers=deliveries.renderers(app, notifications),
        monotonic=time.monotonic,
        sleep=asyncio.sleep,
        rates=rates,
        count=lambda endpoint, outcome: DELIVERIES.labels(endpoint.split(".", 1)[0], outcome).inc(),
    )


def payer_activities(
    app: App, cases: CaseActivities, intents: Deliveries, deliver: DeliverStage
) -> tuple[PayerActivities, InquiryActivities, ForwardActivities]:
    """Asking payers, inquiring about what they have pended, forwarding documents to them."""
    by_fhir, seal = asking_fhir.AskByFhir(app, intents), deliveries.sealing(app.partners.all)
    render = asking.Ask(app, asking.AskByX12(seal), by_fhir)
    return (
        PayerActivities(
            steps=cases,
            deliveries=intents,
            deliver_stage=deliver,
            render=render,
            expect=asking.Expecting(app),
            clock=now,
        ),
        InquiryActivities(steps=cases, deliveries=intents, render=by_fhir.inquiry, clock=now),
        ForwardActivities(
            steps=cases,
            deliveries=intents,
            render=forwarding.Forward(app, seal, by_fhir),
            everything=app.partners.forwards_all,
            clock=now,
        ),
    )


async def run(app: App, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Run until `stop`."""
    async with app.serving(produces=False), app.policy.kept_fresh(), AsyncExitStack() as stack:
        client = await app.temporal()
        subscriptions = PostgresSubscriptions(app.database, app.cipher)
        notifications = deliveries.Notifications(app, subscriptions, PostgresIssued(app.database, app.cipher))
        rates = deliveries.rates(app)
        intents = Deliveries(app.database, app.cipher)
        deliver = deliver_stage(app, notifications, intents, rates)
        cases = CaseActivities(
            cases=app.cases,
            policy=app.policy,
            deliver_stage=deliver,
            ways_back=partial(deliveries.ways_back, app.partners),
            lookup_keys=lookup_keys,
            clock=now,
        )
        clocks = ClockActivities(cases=app.cases, ways_back=cases.ways_back, clock=now)
        payers, inquiries, documents = payer_activities(app, cases, intents, deliver)
        shaking = HandshakeActivities(
            render=notifications.handshake,
            render_heartbeat=notifications.heartbeat,
            sender=deliver.senders[deliveries.NOTIFY],
            mark=subscriptions.mark,
        )
        local: list[Callable[..., Any]] = [
            cases.decide,
            cases.look,
            cases.conclude,
            cases.open_task,
            cases.close_task,
            cases.close_case,
            clocks.extend_clock,
            payers.payer,
            inquiries.inquire,
            documents.forward,
            shaking.mark_subscription,
        ]
        workers = [
            temporal.case_worker(client, workflows=[CaseWorkflow, Handshake, Heartbeat, Acknowledge], activities=local)
        ]
        await integrations.register(app.database, app.settings.tenant, rates)
        for endpoint, rate in rates.items():
            sending: list[Callable[..., Any]] = [cases.deliver]
            if endpoint == deliveries.NOTIFY:
                sending += [shaking.handshake, shaking.heartbeat]
            elif endpoint.startswith("mllp/"):
                sending.append(AcknowledgeActivities(send=deliver.send).acknowledge)
            else:
                sending.append(payers.ask)
            workers.append(
                temporal.delivery_worker(
                    client, endpoint, sending, per_second=rate, at_once=asking.at_once(app, endpoint)
                )
            )
        for one in workers:
            await stack.enter_async_context(one)
        log.info("role.ready", role="worker", count=len(workers))
        ready()
        await stop.wait()


def lookup_keys(decision: Decision) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Numbers under which a decided case can be found."""
    numbers = [("authorization", decision.authorization_number)] if decision.authorization_number else []
    if decision.administrative_reference:
        numbers.append(("administrative-reference", decision.administrative_reference))
    return tuple((kind, (value,)) for kind, value in [*numbers, *information_keys(decision)])
