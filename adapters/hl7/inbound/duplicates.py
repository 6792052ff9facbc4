"""The edge's window of recent messages (design D5): same bytes get the same answer, a reused id is a conflict.

Only messages that were accepted, or are on their way, are remembered: after a refusal the sender corrects the message
and may keep its control id. What leaves the window is caught downstream by the inbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from gateway.core.errors import MessageConflict

Key = tuple[str, ...]

_ANSWERS = 64 * 1024 * 1024
"""Bytes of remembered answers at most; an acknowledgement has about 200, a reply batch may have megabytes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one message ended."""

    answer: bytes | None
    """Message(s) for the sender; None where the protocol, or the partner's setting, is silent."""
    good: bool
    """Whether it is durable, or was before."""
    again: bool = False
    """Whether the same bytes may fare better later: we were busy, or could not store."""

    @property
    def committed(self) -> bool:
        """Release 2: the frame is dealt with, by storing it or by a final answer."""
        return self.good or (self.answer is not None and not self.again)


@dataclass(slots=True)
class _Entry:
    digest: str
    expires: float
    outcome: asyncio.Future[Outcome]
    size: int = 0


class Window:
    """Recent control ids, bounded in time (seconds of `clock`) and number. One event loop."""

    def __init__(self, *, seconds: float, entries: int, clock: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._limit = entries
        self._clock = clock
        self._entries: dict[Key, _Entry] = {}  # in order of expiry
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def claim(self, key: Key, digest: str) -> asyncio.Future[Outcome] | None:
        """None for a new message, which the caller must `settle`; else the outcome of its first copy.

        Raises MessageConflict when the key was used with another digest.
        """
        now = self._clock()
        self._expire(now)
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = _Entry(digest, now + self._seconds, self._loop.create_future())
            return None
        if entry.digest != digest:
            raise MessageConflict(location="MSH-10")
        return entry.outcome

    def settle(self, key: Key, outcome: Outcome) -> None:
        """Tell copies that wait how it ended. Accepted ones are remembered; after others a later copy is new."""
        entry = self._entries[key] if outcome.good else self._entries.pop(key)
        if outcome.good:
            entry.size = len(outcome.answer or b"")
            self._size += entry.size
        entry.outcome.set_result(outcome)

    @property
    def _full(self) -> bool:
        return len(self._entries) >= self._limit or self._size > _ANSWERS

    def _expire(self, now: float) -> None:
        """Drop what is old or too many, oldest first; what is in flight stays until it is settled."""
        oldest = next(iter(self._entries.values()), None)
        if oldest is None or (oldest.expires > now and not self._full):
            return
        for key, entry in list(islice(self._entries.items(), 4)):
            full = self._full
            if entry.outcome.done() and (full or entry.expires <= now):
                self._size -= entry.size
                del self._entries[key]
