"""Handing documents on to a payer, beside whatever the case does meanwhile: its decision waits for nothing of this.

One shipment after the other. What is refused becomes a task for `operations`, which is open beside the case's own ones;
a person who says "again" has it rendered anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.inputs import AskInput, Review, StepOutcome
    from workflows.sending import send

FORWARDING, REFUSED = "forwarding", "refused"
"""Outcomes of a forwarding turn that this code knows by name (workflows/forwarding.py)."""
STEP, AGAIN = "forward", "again"
DOCUMENTS = frozenset({"authorization.attachment", "attachment.received", "clinical.document", "clinical.observation"})
"""Messages that bring documents (gateway.stages.forward)."""
ATTEMPT_TIMEOUT = timedelta(minutes=2)
"""One attempt, as of any delivery: its turn within the rate, and the longest a server may take (a minute)."""
TRIED_FOR = timedelta(days=7)
"""As a request is (decision 0061): then nobody has taken it, and a person has to look."""
FIRST_PAUSE, LONGEST_PAUSE = 4.0, 600.0
"""Seconds between attempts of one shipment."""


def is_about_documents(task_id: str) -> bool:
    """Whether a task is about documents: nothing is decided by it."""
    return task_id.split(":")[2:3] == [STEP]


class Forwarder:
    """At most one loop of shipments runs in a case."""

    def __init__(
        self,
        turn: Callable[[int, dict[str, Any]], Awaitable[StepOutcome]],
        make: Callable[[StepOutcome], AskInput],
        tell: Callable[[int], None],
        tasks: dict[str, Review | None],
        prefix: str,
    ) -> None:
        self._turn = turn
        """Takes turn number so and so, with what is known."""
        self._make = make
        self._tell = tell
        """There is a new message in the stream, at this version."""
        self._tasks = tasks
        self._prefix = prefix
        """Task ids before their number."""
        self._loop: asyncio.Task[None] | None = None
        self._due = self._stopping = False
        self._count = self._opened = 0
        self._task_id = ""
        """The open task."""
        self._again = 0
        """What was refused up to this version is forwarded again."""

    def look(self) -> None:
        """There may be something to do."""
        self._due = True
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._run())

    async def finish(self) -> None:
        """The case has ended: nothing is forwarded any more, and nobody has to look."""
        self._stopping = True
        if self._loop is not None:
            await self._loop
        if self._task_id:
            await self._take_turn(close=True)

    async def _run(self) -> None:
        failed = 0
        while self._due and not self._stopping:
            self._due = False
            outcome = await self._take_turn(failed=failed)
            was_failure, failed = failed, 0
            if outcome.outcome == FORWARDING:
                failed, self._due = await self._send(outcome), True
            elif outcome.outcome == REFUSED:
                await self._person()
            else:
                self._due = self._due or outcome.more or bool(was_failure)

    async def _take_turn(self, *, failed: int = 0, close: bool = False, reviewer: str = "") -> StepOutcome:
        self._count += 1
        opens = not self._task_id
        task = self._task_id or f"{self._prefix}:{STEP}:{self._opened + 1}"
        knows = {"failed": failed, "again": self._again, "task": task, "open": opens, "close": close}
        outcome = await self._turn(self._count, knows | {"reviewer": reviewer})
        if close:
            self._tasks.pop(task, None)
            self._task_id = ""
        elif outcome.outcome == REFUSED and opens:
            self._opened, self._task_id = self._opened + 1, task
            self._tasks[task] = None
        return outcome

    async def _person(self) -> None:
        """Wait for the answer to the task, more documents, or the case's end."""
        task = self._task_id
        await workflow.wait_condition(lambda: self._due or self._stopping or self._tasks[task] is not None)
        review = self._tasks[task]
        if review is not None:
            outcome = await self._take_turn(close=True, reviewer=review.reviewer)
            self._again, self._due = outcome.version, True

    async def _send(self, outcome: StepOutcome) -> int:
        """Send what was stored; the version of it, where nobody took it."""
        sending = asyncio.create_task(send(self._make(outcome), attempt=ATTEMPT_TIMEOUT, until=TRIED_FOR))
        await workflow.wait_condition(lambda: sending.done() or self._stopping)
        if not sending.done():
            sending.cancel()
            return 0
        answered = sending.result()
        if answered is None:
            return outcome.version
        if answered.outcome == "answered":
            self._tell(answered.version)
        return 0
