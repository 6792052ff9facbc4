"""What a case has come to, inside its workflow, and how it calls local activities: what all kinds of steps share."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from workflows.definitions import END, deadline
    from workflows.inputs import CaseInput, Message, Review, StepInput, StepOutcome, TaskInput

LOCAL_TIMEOUT = timedelta(seconds=30)
LOCAL_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10))
"""Our own database may be away: a local activity is tried until it succeeds; the case waits meanwhile (D3)."""

Raw = dict[str, Any]


class CaseState:
    """A case on its way through its definition."""

    def __init__(self, case: CaseInput) -> None:
        self._case = case
        self._decision: Raw | None = None
        self._version = case.run or 1
        self._looked = 0
        self._ruleset: Raw | None = None
        self._endpoints: tuple[str, ...] = ()
        self._messages: list[Message] = []
        self._heard: set[int] = set()
        self._tasks: dict[str, Review | None] = {}
        self._set_aside: set[str] = set()
        self._visits: dict[str, int] = {}
        self._outcome = ""
        self._closed = False
        self._due_at = case.due_at
        self._notices: list[asyncio.Task[str]] = []
        self._turns = 0
        """Turns taken with a payer."""

    async def _local(self, name: str, given: StepInput | TaskInput) -> StepOutcome:
        outcome: StepOutcome = await workflow.execute_local_activity(
            name, given, result_type=StepOutcome, start_to_close_timeout=LOCAL_TIMEOUT, retry_policy=LOCAL_RETRY
        )
        return outcome

    def _take(self, outcome: StepOutcome) -> None:
        self._endpoints = tuple(outcome.endpoints)
        self._version = outcome.version
        self._closed = self._closed or outcome.closed
        self._decision = outcome.decision or self._decision

    def _closing(self, step: Raw) -> dict[str, bool]:
        """By outcome (`*` for any other): does nothing but a delivery and the end follow?"""
        steps = {other["id"]: other for other in self._case.definition["steps"]}
        closing = {}
        for outcome, target in step["next"].items():
            while (
                target in steps
                and steps[target]["type"] == "integration"
                and not {"action", "ask"} & set(steps[target]["executor"])
            ):
                target = steps[target]["next"].get("*", "")
            closing[outcome] = target == END
        return closing

    def _step_input(self, step_id: str, executor: Raw, closing: dict[str, bool]) -> StepInput:
        return StepInput(
            case_id=self._case.case_id,
            tenant=self._case.tenant,
            step_id=step_id,
            command_id=f"{self._case.run}.{step_id}.{self._visits.get(step_id, 1)}",
            lane=self._case.lane,
            executor=executor,
            closing=closing,
        )

    def _task_input(self, step: Raw, task_id: str, role: str, what: str, **more: Any) -> TaskInput:
        return TaskInput(
            case_id=self._case.case_id,
            tenant=self._case.tenant,
            step_id=step["id"],
            task_id=task_id,
            role=role,
            command_id=f"{self._case.run}.{step['id']}.{self._visits[step['id']]}.{what}",
            **more,
        )

    def _deadline(self, text: str, begun: datetime) -> datetime:
        return deadline(text, begun, self._due_at, self._case.received_at)

    def _state(self) -> Raw:
        return {
            "case.priority": self._case.priority,
            "case.lane": self._case.lane,
            "decision.action": (self._decision or {}).get("action"),
            "step.outcome": self._outcome,
        }
