"""The ports the interchange desk needs: the ledger of received interchanges and the allocator of control numbers."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

InterchangeKey = tuple[str, str, str, str]
"""(ISA06, ISA08, ISA13, ISA15)."""

Level = Literal["interchange", "group"]


@dataclass(frozen=True, slots=True)
class Registration:
    """What the ledger knew."""

    status: Literal["new", "repeated", "conflict"]
    finished: bool = False
    """The earlier reception was settled; `acknowledgement` is what was answered."""
    acknowledgement: bytes | None = None


class EnvelopeLedger(Protocol):
    """Interchanges received so far, per tenant. Shared by all workers; survives restarts."""

    def register(
        self, tenant: str, key: InterchangeKey, sha256: str, received_at: datetime, window_days: int
    ) -> Awaitable[Registration]:
        """Note an interchange, atomically.

        Entries older than the window do not count. Raises Unavailable.
        """
        ...

    def finish(self, tenant: str, key: InterchangeKey, sha256: str, acknowledgement: bytes | None) -> Awaitable[None]:
        """Store its answer, None when none was due. Raises Unavailable."""
        ...


class NumberAllocator(Protocol):
    """Control numbers of what we send, per (tenant, our id, partner id, level): rising, never repeated, gaps allowed.

    After 999999999 follows 1. A number handed out is never handed out again, whatever happens to the work it was for.
    """

    def allocate(self, tenant: str, ours: str, partner: str, level: Level, count: int = 1) -> Awaitable[int]:
        """The first of `count` numbers that follow each other (modulo rollover). Raises Unavailable."""
        ...
