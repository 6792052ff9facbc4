"""One interpreter runs every definition (D7). Deterministic: it reads its input, its messages and Temporal's clock.

Effects are activities: what needs the database runs as local activities (no server round trip); a delivery runs on its
endpoint's own task queue, where the server keeps the rate. A command id of step and visit makes repeating one harmless.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from workflows.asking import AsksPayers
    from workflows.conditions import holds
    from workflows.definitions import CLOSE, END, MAX_VISITS, Retry, duration
    from workflows.handing_on import AGAIN, DOCUMENTS, is_about_documents
    from workflows.inputs import (
        CLINICAL,
        MESSAGE,
        CaseInput,
        CaseResult,
        DeliveryInput,
        Extension,
        ExtensionInput,
        ExtensionOutcome,
        Heard,
        Message,
        Review,
    )
    from workflows.sending import ALIVE
    from workflows.state import LOCAL_RETRY, LOCAL_TIMEOUT

Raw = dict[str, Any]


@workflow.defn(name="Case")
class Case(AsksPayers):
    """A business case: the definition it was started with, run to its end."""

    @workflow.init
    def __init__(self, case: CaseInput) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, _case: CaseInput) -> CaseResult:
        """Run the steps until the case is closed: once more for each message that no decision has looked at."""
        done = True
        while done and not self._closed:
            done = await self._sequence(self._case.definition["steps"])
            again = False
            while not self._closed and not again:
                again = done and await self._undecided()
                self._messages.clear()
                if not again:
                    await self._close(done)
                    again = not self._closed and await self._changed("close", self._visits[CLOSE])
        await self._forwarder.finish()
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._notices:
            await asyncio.gather(*self._notices, return_exceptions=True)
        status = "completed" if done else "failed"
        return CaseResult(status=status, action=str((self._decision or {}).get("action", "")))

    @workflow.update(name="decision")
    async def decision(self) -> Raw | None:
        """The first decision, for a caller that waits (fast lane, D6)."""
        await workflow.wait_condition(lambda: self._decision is not None)
        return self._decision

    @workflow.signal(name="message")
    def message(self, message: Message) -> None:
        """A further message of the case; the same one twice counts once."""
        if message.version not in self._heard:
            self._heard.add(message.version)
            self._messages.append(message)
            # a payer decides: it may want to see what came
            if self._turns and message.kind in DOCUMENTS and workflow.patched("forward"):
                self._forwarder.look()

    @workflow.signal(name="inquire")
    def inquire(self) -> None:
        """The payer's later decisions did not all come: inquire now, where a pended request waits for one."""
        self._inquirer.at_once()

    @workflow.update(name="review")
    async def review(self, review: Review) -> bool:
        """A person's answer to the open task; False when a message came first that the person has not seen."""
        self._tasks[review.task_id] = review
        await workflow.wait_condition(lambda: review.task_id not in self._tasks)
        return review.task_id not in self._set_aside

    @review.validator
    def _review_fits(self, review: Review) -> None:
        if self._tasks.get(review.task_id, review) is not None:
            raise ValueError("this task is not open")
        if is_about_documents(review.task_id) and review.action != AGAIN:
            raise ValueError("this task is about documents: nothing is decided by it")

    @workflow.update(name="extend")
    async def extend(self, extension: Extension) -> ExtensionOutcome:
        """The clock ends later: what waits for a point on it waits anew, and whoever asked is told, once."""
        update = workflow.current_update_info()
        given = ExtensionInput(
            case_id=self._case.case_id,
            tenant=self._case.tenant,
            command_id=f"{self._case.run}.extend.{update.id if update else ''}",
            extension=extension,
            lane=self._case.lane,
        )
        outcome: ExtensionOutcome = await workflow.execute_local_activity(
            "extend_clock",
            given,
            result_type=ExtensionOutcome,
            start_to_close_timeout=LOCAL_TIMEOUT,
            retry_policy=LOCAL_RETRY,
        )
        if outcome.due_at is not None:
            self._due_at = outcome.due_at
            for endpoint in outcome.endpoints:
                sending = self._deliver(endpoint, outcome.version, Retry().model_dump(), notice=True)
                self._notices.append(asyncio.create_task(sending))
        return outcome

    async def _sequence(self, steps: list[Raw]) -> bool:
        by_id = {step["id"]: number for number, step in enumerate(steps)}
        number = 0
        while number < len(steps):
            step = steps[number]
            visits = self._visits[step["id"]] = self._visits.get(step["id"], 0) + 1
            if visits > MAX_VISITS:
                return False
            if not holds(step["conditions"], self._state()):
                number += 1
                continue
            outcome = await self._step(step)
            self._outcome = outcome
            target = step["next"].get(outcome) or step["next"].get("*")
            if target == END:
                return True
            number = by_id[target] if target else number + 1
        return True

    async def _undecided(self) -> bool:
        """Whether a message came that asks for another decision, say while the last one was being delivered."""
        new = sorted(filter(self._is_new, self._messages), key=lambda message: message.kind.startswith(CLINICAL))
        for message in new:
            if self._is_new(message) and await self._matters(message):
                return True
        return False

    def _is_new(self, message: Message) -> bool:
        return message.version > max(self._version, self._looked)

    async def _matters(self, message: Message) -> bool:
        """Whether it asks for another decision: a clinical message only where the rules decide otherwise with it."""
        return not message.kind.startswith(CLINICAL) or await self._changed("message", message.version)

    async def _changed(self, occasion: str, number: int) -> bool:
        """Whether the rules decide otherwise with the clinical messages that joined, heard of or not."""
        if self._turns and occasion == "message":  # a payer decides: it has not heard of it
            self._looked = max(self._looked, number)
            return False
        if self._ruleset is None or not workflow.patched("look-first"):
            return True
        given = self._step_input("look", self._ruleset, {})
        given = replace(given, command_id=f"{self._case.run}.look.{occasion}.{number}")
        outcome = await self._local("look", given)
        if outcome.outcome == MESSAGE:
            return True
        self._looked = max(self._looked, outcome.version)
        return False

    def _known(self) -> Heard:
        return Heard(decided=max(self._version, self._looked), versions=tuple(sorted(self._heard)))

    async def _close(self, done: bool) -> None:
        """Close the case, unless its stream has a message that we have not heard of yet: its signal is on the way."""
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._visits[CLOSE] = self._visits.get(CLOSE, 0) + 1
        given = self._step_input(CLOSE, {"status": "completed" if done else "failed"}, {})
        given = replace(given, heard=self._known() if done else None)
        self._closed = (await self._local("close_case", given)).closed

    async def _step(self, step: Raw) -> str:
        if step["type"] == "decision":
            return await self._decide(step)
        if step["type"] == "integration":
            return await self._integrate(step)
        if step["type"] == "task":
            return await self._task(step)
        if step["type"] == "wait":
            return await self._wait(step)
        await asyncio.gather(*(self._sequence(branch) for branch in step["branches"]))
        return "done"

    async def _decide(self, step: Raw) -> str:
        closing = self._closing(step)
        self._ruleset = step["executor"]
        outcome = await self._local("decide", self._step_input(step["id"], step["executor"], closing))
        self._take(outcome)
        return outcome.outcome

    async def _integrate(self, step: Raw) -> str:
        if "ask" in step["executor"]:
            return await self._ask(step)
        if step["executor"].get("action"):
            if await self._undecided():
                return MESSAGE
            given = replace(self._step_input(step["id"], step["executor"], self._closing(step)), heard=self._known())
            outcome = await self._local("conclude", given)
            if outcome.outcome == MESSAGE:
                return MESSAGE
            self._take(outcome)
        if not self._endpoints:
            return "delivered"
        results = await asyncio.gather(
            *(self._deliver(endpoint, self._version, step["retry"]) for endpoint in self._endpoints),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, ActivityError):
                raise result
        return "delivered" if all(result == "delivered" for result in results) else "refused"

    async def _deliver(self, endpoint: str, version: int, retry: Raw, *, notice: bool = False) -> str:
        delivered: str = await workflow.execute_activity(
            "deliver",
            DeliveryInput(
                case_id=self._case.case_id,
                tenant=self._case.tenant,
                endpoint=endpoint,
                version=version,
                notice=notice,
            ),
            task_queue=f"deliver.{endpoint.split('.', 1)[0]}",
            result_type=str,
            start_to_close_timeout=timedelta(minutes=2),
            schedule_to_close_timeout=duration(retry["until"]),
            heartbeat_timeout=ALIVE,
            retry_policy=RetryPolicy(
                initial_interval=duration(retry["initial"]), maximum_interval=duration(retry["maximum"])
            ),
        )
        return delivered

    async def _task(self, step: Raw) -> str:
        task_id = f"{self._case.case_id}:{self._case.run}:{step['id']}:{self._visits[step['id']]}"
        role = step["executor"]["role"]
        end, due = self._deadline(step["timeout"], begun := workflow.now()), self._due_at
        opened = (await self._local("open_task", self._task_input(step, task_id, role, "open", due_at=end))).version
        self._tasks[task_id] = None
        came = await self._answered(step, task_id, begun, due)
        review = came if isinstance(came, Review) else None
        if review is None:
            del self._tasks[task_id]  # from here on a review is refused; one that was taken waits until it is recorded
        given = self._task_input(step, task_id, role, "close", review=review)
        given = replace(given, opened=max(opened, self._looked), closing=self._closing(step))
        outcome = await self._local("close_task", given)
        if review is None:
            return MESSAGE if came else "timeout"
        del self._tasks[task_id]
        if outcome.outcome == MESSAGE:
            self._set_aside.add(task_id)
            return MESSAGE
        self._take(outcome)
        return review.action

    async def _answered(self, step: Raw, task_id: str, begun: datetime, due: datetime) -> Review | Message | None:
        """What ended an open task; it is handed on at its alarms, which move with the clock. None: its time was up.

        `due`: the end of the clock when the task was put on the list.
        """
        open_since, role, handed = workflow.now(), step["executor"]["role"], 0
        while True:
            end = self._deadline(step["timeout"], begun)
            if self._due_at != due:
                due = self._due_at
                given = self._task_input(step, task_id, role, f"due.{due:%Y%m%dT%H%M%S}", due_at=end)
                await self._local("open_task", given)
                continue
            alarms = [(self._deadline(row["at"], open_since), row["to"]) for row in step["escalation"]]
            alarms = sorted(alarm for alarm in alarms if alarm[0] < end)
            moment, to = alarms[handed] if handed < len(alarms) else (end, "")
            came = await self._answer(moment, task_id)
            if came is not None:
                return came
            if self._due_at != due:
                continue
            if not to:
                return None
            role, handed = to, handed + 1
            await self._local("open_task", self._task_input(step, task_id, to, f"to.{to}", due_at=end))

    async def _answer(self, moment: datetime, task_id: str) -> Review | Message | None:
        """The review of a task, or the first message that asks for another decision; None when neither came."""
        while True:
            came = await self._next(moment, task_id=task_id)
            if not isinstance(came, Message) or await self._matters(came):
                return came

    async def _wait(self, step: Raw) -> str:
        begun, kinds, due = workflow.now(), frozenset(step["executor"]["for"]), None
        message: Review | Message | None = None
        while message is None and due != self._due_at:
            due = self._due_at
            message = await self._next(self._deadline(step["timeout"], begun), kinds=kinds)
        return message.kind if isinstance(message, Message) else "timeout"

    async def _next(
        self, moment: datetime, *, task_id: str = "", kinds: frozenset[str] | None = None
    ) -> Review | Message | None:
        """The review of a task or the oldest message; None when neither came by `moment`, or the clock has moved.

        A wait takes messages of its kinds, a task those that no decision has looked at. A message is taken by one
        step: of two that wait side by side, the other one waits on.
        """

        def fits(message: Message) -> bool:
            return self._is_new(message) if kinds is None else message.kind in kinds

        def ready() -> Review | Message | None:
            return self._tasks.get(task_id) or next(filter(fits, self._messages), None)

        due = self._due_at
        while True:
            found = ready()
            if isinstance(found, Message):
                self._messages.remove(found)
            remaining = moment - workflow.now()
            if found is not None or remaining <= timedelta() or self._due_at != due:
                return found
            try:
                await workflow.wait_condition(lambda: ready() is not None or self._due_at != due, timeout=remaining)
            except TimeoutError:
                return None
