"""The worker: workflows with their local activities, and one delivery worker per endpoint."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from gateway import registry
from gateway.app import App, now
from gateway.core.ports import Decision
from gateway.infra import temporal
from gateway.infra.telemetry import DELIVERIES, logger
from gateway.stages.deliver import DeliverStage
from gateway.store.cases import Case
from gateway.store.deliveries import Deliveries
from workflows.activities import CaseActivities
from workflows.interpreter import Case as CaseWorkflow

log = logger("worker")


async def run(app: App, stop: asyncio.Event) -> None:
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
    """Who must hear of a decision: nobody when the caller waits for it (a run's first); else the request's way back."""
    reply = case.context["reply"]
    first = case.version == max(case.run, 1)
    if lane == "fast" and first:
        return ()
    endpoint = reply.get("endpoint") or reply.get("notify")
    return (str(endpoint),) if endpoint else ()
