"""In-memory ledger and allocator, held to the same contract as the PostgreSQL ones (contract.py)."""

from __future__ import annotations

from datetime import datetime, timedelta

from adapters.x12.wire.ports import InterchangeKey, Level, Registration

LAST_NUMBER = 999_999_999


class MemoryLedger:
    """Interchanges received, in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, InterchangeKey], tuple[str, datetime, bool, bytes | None]] = {}

    async def register(
        self, tenant: str, key: InterchangeKey, sha256: str, received_at: datetime, window_days: int
    ) -> Registration:
        """See the port."""
        row = self.rows.get((tenant, key))
        if row is None or row[1] < received_at - timedelta(days=window_days):
            self.rows[tenant, key] = (sha256, received_at, False, None)
            return Registration("new")
        if row[0] != sha256:
            return Registration("conflict")
        return Registration("repeated", row[2], row[3])

    async def finish(self, tenant: str, key: InterchangeKey, sha256: str, acknowledgement: bytes | None) -> None:
        """See the port."""
        row = self.rows[tenant, key]
        if row[0] == sha256:
            self.rows[tenant, key] = (sha256, row[1], True, acknowledgement)


class MemoryNumbers:
    """Control numbers, in a dictionary."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.last: dict[tuple[str, str, str, Level], int] = {}

    async def allocate(self, tenant: str, ours: str, partner: str, level: Level, count: int = 1) -> int:
        """See the port."""
        key = (tenant, ours, partner, level)
        last = self.last.get(key, self.start)
        self.last[key] = (last + count - 1) % LAST_NUMBER + 1
        return last % LAST_NUMBER + 1
