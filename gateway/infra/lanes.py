"""Work in order per lane, lanes side by side.

A record has a key, and may have a lane within it. Records of one lane are handled one after the other; those of
different lanes, and of different keys, side by side. A record without a lane waits for everything before it under its
key, and everything after it waits for it: a merge of two patients stands between their messages as it did on the wire,
while the patients of a facility do not wait for each other (decision 0070).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import partial

Work = Callable[[], Awaitable[None]]
BARRIER = ""
"""The lane of a record without one."""


class Lanes:
    """The tails of all lanes that have unfinished work, by key."""

    def __init__(self) -> None:
        self._keys: dict[str, dict[str, asyncio.Task[None]]] = {}

    def add(self, key: str, lane: str, work: Work) -> asyncio.Task[None]:
        """Begin `work` once what is before it has ended; the task that ends with it."""
        tails = self._keys.setdefault(key, {})
        if lane == BARRIER:
            before = list(tails.values())
            tails.clear()  # whoever comes waits for us, and we for them
        else:
            tail = tails.get(lane) or tails.get(BARRIER)
            before = [tail] if tail else []
        task = asyncio.create_task(_after(before, work))
        tails[lane] = task
        task.add_done_callback(partial(self._forget, key, lane))
        return task

    def __len__(self) -> int:
        return sum(map(len, self._keys.values()))

    def _forget(self, key: str, lane: str, task: asyncio.Task[None]) -> None:
        tails = self._keys.get(key, {})
        if tails.get(lane) is task:
            del tails[lane]
        if not tails:
            self._keys.pop(key, None)


async def _after(before: Collection[asyncio.Task[None]], work: Work) -> None:
    if before:
        await asyncio.wait(before)
    await work()
