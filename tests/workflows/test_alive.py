"""A delivery says that it lives; what its workflow wants no more is finished all the same."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.exceptions import ActivityError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from gateway.infra import temporal
from workflows.sending import ALIVE


@workflow.defn
class Regrets:
    """Begins a delivery, and wants it no more when told."""

    def __init__(self) -> None:
        self.told = False

    @workflow.run
    async def run(self) -> str:
        sending = workflow.start_activity(
            "send", task_queue="deliver.x", heartbeat_timeout=ALIVE, start_to_close_timeout=timedelta(minutes=1)
        )
        await workflow.wait_condition(lambda: self.told)
        sending.cancel()
        try:
            await sending
        except ActivityError:
            return "regretted"
        return "done"

    @workflow.signal
    def regret(self) -> None:
        self.told = True


async def test_what_was_begun_is_finished(environment: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "BEAT", timedelta(milliseconds=100))
    begun, told, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @activity.defn
    async def send() -> str:
        begun.set()
        while activity.cancellation_details() is None:  # noqa: ASYNC110 - there is no event of it
            await asyncio.sleep(0.05)
        told.set()
        await asyncio.sleep(0.5)
        finished.set()
        return "sent"

    client = environment.client
    async with (
        temporal.delivery_worker(client, "x", [send], per_second=100),
        Worker(client, task_queue="q", workflows=[Regrets], workflow_runner=UnsandboxedWorkflowRunner()),
    ):
        case = await client.start_workflow(Regrets.run, id="r", task_queue="q")
        await asyncio.wait_for(begun.wait(), 30)
        await case.signal(Regrets.regret)
        assert await asyncio.wait_for(case.result(), 60) == "regretted"
        await asyncio.wait_for(told.wait(), 30)
        await asyncio.wait_for(finished.wait(), 30)
