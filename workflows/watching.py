"""Inquiring now and then about a request that a payer has pended, beside whatever the case does meanwhile.

The first inquiry comes after a pause, the next ones after twice as long each time; at once where the payer's events are
known to be incomplete. Only an answer that says something new reaches the case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.inputs import AskInput, StepOutcome
    from workflows.sending import send

ATTEMPT_TIMEOUT = timedelta(minutes=5)
TRIED_FOR = timedelta(minutes=30)
"""An inquiry that nobody answers is given up: the next one is due by itself."""
FIRST_PAUSE, LONGEST_PAUSE = 4.0, 300.0
"""Seconds between attempts of one inquiry."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds before the first inquiry, and of the longest pause."""

    first: float
    longest: float


class Inquirer:
    """At most one loop of inquiries runs in a case."""

    def __init__(
        self, inquire: Callable[[int], Awaitable[StepOutcome]], make: Callable[[StepOutcome], AskInput]
    ) -> None:
        self._inquire = inquire
        """Renders and stores inquiry number so and so."""
        self._make = make
        self._task: asyncio.Task[None] | None = None
        self._now = False
        self._count = 0

    def start(self, pace: Pace, tell: Callable[[int], None]) -> None:
        """Begin, unless it is under way. `tell`: there is a new message in the stream, at this version."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(pace, tell))

    def at_once(self) -> None:
        """Do not wait for the end of the pause."""
        self._now = True

    def stop(self) -> None:
        """There is nothing to inquire about any more."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
        self._task = None

    async def _run(self, pace: Pace, tell: Callable[[int], None]) -> None:
        pause = timedelta(seconds=pace.first)
        while True:
            try:
                await workflow.wait_condition(lambda: self._now, timeout=pause)
            except TimeoutError:
                pass
            self._now = False
            self._count += 1
            outcome = await self._inquire(self._count)
            if outcome.outcome != "inquired":
                return
            version = await self._send(self._make(outcome))
            if version:
                tell(version)
            pause = min(pause * 2, timedelta(seconds=pace.longest))

    async def _send(self, given: AskInput) -> int:
        """The version of the message an answer made; 0: none, or one that says nothing new."""
        answered = await send(given, attempt=ATTEMPT_TIMEOUT, until=TRIED_FOR)
        return answered.version if answered is not None and answered.outcome == "answered" else 0
