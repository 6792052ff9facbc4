"""Sending what was stored to a payer: a request, a document, an inquiry; by the activity `ask`."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from workflows.inputs import AskInput, StepOutcome


ALIVE = timedelta(seconds=20)
"""A worker that is silent for so long has died, and another attempt begins (`gateway.infra.temporal.BEAT`)."""


async def send(given: AskInput, *, attempt: timedelta, until: timedelta) -> StepOutcome | None:
    """What came of it; None where nobody took it. `attempt`: one attempt's time; `until`: that of all of them."""
    pauses = RetryPolicy(
        initial_interval=timedelta(seconds=given.initial), maximum_interval=timedelta(seconds=given.maximum)
    )
    try:
        answered: StepOutcome = await workflow.execute_activity(
            "ask",
            given,
            task_queue=f"deliver.{given.endpoint}",
            result_type=StepOutcome,
            start_to_close_timeout=attempt,
            schedule_to_close_timeout=until,
            heartbeat_timeout=ALIVE,
            retry_policy=pauses,
        )
    except ActivityError:
        return None
    return answered
