"""The edge's window of recent messages (design D5): same bytes get the same answer, a reused id is a conflict.

Only messages that were accepted, or are on their way, are remembered: after a refusal the sender corrects the message
and may keep its control id. What leaves the window is caught downstream by the inbox.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from gateway.core.errors import MessageConflict
from gateway.core.record import record

Key = tuple[str, ...]

_ANSWERS = 64 * 1024 * 1024
"""Bytes of remembered answers at most; an acknowledgement has about 200, a reply batch may have megabytes."""


@record
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


LOST = Outcome(None, good=False, again=True)
"""No answer came of it, by a defect or because we stop: the sender may send it again."""


class _Entry:
    """One control id: who has it, until when, and how it ended."""

    __slots__ = ("digest", "expires", "outcome", "size", "waiting")

    def __init__(self, digest: str, expires: float) -> None:
        self.digest, self.expires = digest, expires
        self.outcome: Outcome | None = None
        self.size = 0
        self.waiting: asyncio.Future[Outcome] | None = None
        """Of copies that came while the first is on its way."""


class Window:
    """Recent control ids, bounded in time (seconds of `clock`) and number. One event loop."""

    def __init__(self, *, seconds: float, entries: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._limit = entries
        self._clock = clock
        # In order of expiry. A plain dictionary finds its oldest only behind the places of all it has forgotten.
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._size = 0
        self._next = 0.0
        """When the oldest may be over; nobody looks sooner unless there are too many."""

    def __len__(self) -> int:
        return len(self._entries)

    def claim(self, key: Key, digest: str) -> Outcome | asyncio.Future[Outcome] | None:
        """None for a new message, which the caller must `settle`; else how its first copy ended, or will.

        Raises MessageConflict when the key was used with another digest.
        """
        now = self._clock()
        entries = self._entries
        if now >= self._next or len(entries) >= self._limit or self._size > _ANSWERS:
            self._expire(now)
        entry = entries.get(key)
        if entry is not None and entry.expires <= now and entry.outcome is not None:
            self._forget(key, entry)
            entry = None
        if entry is None:
            entries[key] = _Entry(digest, now + self._seconds)
            return None
        if entry.digest != digest:
            raise MessageConflict(location="MSH-10")
        if entry.outcome is None and entry.waiting is None:
            entry.waiting = asyncio.get_running_loop().create_future()
        return entry.outcome or entry.waiting

    def settle(self, key: Key, outcome: Outcome) -> None:
        """Tell copies that wait how it ended. Accepted ones are remembered; after others a later copy is new."""
        entry = self._entries[key]
        if outcome.good:
            entry.outcome, entry.size = outcome, len(outcome.answer or b"")
            self._size += entry.size
        else:
            del self._entries[key]
        if entry.waiting is not None:
            entry.waiting.set_result(outcome)
            entry.waiting = None

    def _expire(self, now: float) -> None:
        """Drop what is old or too many, oldest first; what is in flight stays until it is settled."""
        entries = self._entries
        for _ in range(4):
            if not entries:
                return
            key = next(iter(entries))
            entry = entries[key]
            if entry.expires > now and len(entries) < self._limit and self._size <= _ANSWERS:
                self._next = entry.expires
                return
            if entry.outcome is None:
                entries.move_to_end(key)
            else:
                self._forget(key, entry)

    def _forget(self, key: Key, entry: _Entry) -> None:
        self._size -= entry.size
        del self._entries[key]
