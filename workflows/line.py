"""The line to a payer, inside a workflow: the request that is on it, and what happened there since anybody looked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.definitions import duration
    from workflows.inputs import AskInput
    from workflows.sending import send

ATTEMPT_TIMEOUT = timedelta(minutes=5)
"""One attempt: its turn within the endpoint's rate, and the longest a CORE server may take (a minute)."""


class Line:
    """At most one request is on it: what is asked next waits for the answer, or the end of trying."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        """Something happened: the version of the event, 0 where there is none."""
        self._task: asyncio.Task[None] | None = None
        self._asked_first: datetime | None = None
        self._repeated = 0
        self.sending = False
        self.sent = False
        """It was received, and its answer comes by another way."""
        self.failed = False
        """No attempt got an answer, and there will be no other one."""
        self.again = False
        """The time has come to ask the same anew."""

    def send(self, given: AskInput, retry: dict[str, Any], *, anew: bool) -> None:
        """Put a request on the line; `anew`: it is the same as before."""
        self.stop()
        self.sending = True
        if not anew:
            self._asked_first, self._repeated = workflow.now(), 0
        self._task = asyncio.create_task(self._send(given, retry))

    async def _send(self, given: AskInput, retry: dict[str, Any]) -> None:
        outcome = await send(given, attempt=ATTEMPT_TIMEOUT, until=duration(retry["until"]))
        self.failed = outcome is None
        self.sent = outcome is not None and outcome.outcome == "sent"
        version = outcome.version if outcome is not None else 0
        self.sending = False
        self._tell(version)

    def later(self, least: float, retry: dict[str, Any]) -> bool:
        """Ask anew after a pause that doubles, spread by chance, at least `least` seconds. False: no more of it."""
        now = workflow.now()
        if self._asked_first is not None and now - self._asked_first > duration(retry["until"]) and not least:
            return False
        longest = min(duration(retry["initial"]) * 2 ** min(self._repeated, 30), duration(retry["maximum"]))
        self._repeated += 1
        pause = max(longest * (0.5 + workflow.random().random() / 2), timedelta(seconds=least))
        self._task = asyncio.create_task(self._wake(pause))
        return True

    async def _wake(self, pause: timedelta) -> None:
        await workflow.sleep(pause)
        self.again = True
        self._tell(0)

    def stop(self) -> None:
        """Nothing is sent any more, nor later: the payer has answered by another way, or something else is asked."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
        self.sending = self.again = self.failed = self.sent = False
