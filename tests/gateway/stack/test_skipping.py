"""The time-skipping test server: a month passes at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from gateway import stack

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]


@workflow.defn
class Month:
    """Sleeps for thirty days."""

    @workflow.run
    async def run(self) -> str:
        await workflow.sleep(timedelta(days=30))
        return "later"


async def test_a_month_passes() -> None:
    path = await asyncio.to_thread(stack.test_server)
    async with (
        await WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(path)) as environment,
        Worker(environment.client, task_queue="q", workflows=[Month], workflow_runner=UnsandboxedWorkflowRunner()),
    ):
        result = environment.client.execute_workflow(Month.run, id="m", task_queue="q")
        assert await asyncio.wait_for(result, 60) == "later"


def test_the_wrapper_follows_the_java_of_this_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = tmp_path / "temporal-test-server-1.38.0"
    libraries.mkdir()
    script = stack.test_server(tmp_path)
    first = script.read_text()
    monkeypatch.setattr("gateway.stack.skipping.java", lambda: Path("/another place/java"))
    assert stack.test_server(tmp_path) == script
    assert script.read_text() != first
    assert "'/another place/java'" in script.read_text()
