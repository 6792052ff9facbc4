"""One deadline for each of many waits that may all take the same time, by one timer.

`asyncio.timeout` makes a timer for each, which costs a tenth of what a message costs the listener. Waits of equal
length end in the order in which they began: only the oldest needs a timer. What a wait hears is the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Any


class Wait:
    """The body of a `with`: raises TimeoutError when it takes longer."""

    __slots__ = ("_cancelling", "_task", "at", "done", "over")

    def __init__(self, task: asyncio.Task[Any], at: float) -> None:
        self._task, self.at = task, at
        self._cancelling = task.cancelling()
        self.done = self.over = False

    def end(self) -> None:
        """The time is up."""
        self.over = True
        self._task.cancel()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.done = True
        # Whoever else cancels the task means it: only our own cancellation becomes a timeout (as in asyncio.timeout).
        if self.over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class Deadline:
    """The clock of all waits of one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waits: deque[Wait] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, seconds: float) -> Wait:
        """A wait of the running task that starts now."""
        task: Any = asyncio.current_task(self._loop)
        wait = Wait(task, self._loop.time() + seconds)
        waits = self._waits
        while waits and waits[0].done:
            waits.popleft()
        waits.append(wait)
        if self._timer is None or wait.at < self._timer.when():  # shorter than before: the settings were changed
            self._arm(wait.at)
        return wait

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        waits = [wait for wait in self._waits if not wait.done]
        for wait in waits:
            if wait.at <= now:
                wait.end()
        self._waits = deque(wait for wait in waits if not wait.over)
        if self._waits:
            self._arm(min(wait.at for wait in self._waits))
