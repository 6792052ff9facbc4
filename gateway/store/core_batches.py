"""Batches sent to CORE servers of payers whose results are still to be fetched, over `workflow.core_batches`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from gateway.infra.postgres import SYSTEM, Connection, Database, Queries

SQL = Queries(Path(__file__).parent / "sql" / "core_batches.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreBatch:
    """One batch that was taken and is not settled."""

    key: str
    """Idempotency key of its delivery."""
    tenant: str
    endpoint: str
    sent_at: datetime
    polls: int
    """How often it was asked about, this time included."""
    acknowledged: bool
    """Its 999 was fetched."""


async def expect(
    connection: Connection, *, key: str, tenant: str, endpoint: str, sent_at: datetime, next_at: datetime
) -> None:
    """Have the results of a batch fetched from `next_at` on, in a transaction of the caller's."""
    await connection.execute(SQL.expect, key, tenant, endpoint, sent_at, next_at)


@dataclass(frozen=True, slots=True)
class CoreBatches:
    """What is to be asked about, over all tenants."""

    database: Database

    async def claim(self, now: datetime, seconds: float, endpoints: list[str]) -> CoreBatch | None:
        """The one that is due first at one of `endpoints`; nobody else gets it for `seconds`."""
        async with self.database.transaction(SYSTEM) as connection:
            row = await connection.fetchrow(SQL.claim, now, seconds, endpoints)
        if row is None:
            return None
        return CoreBatch(
            key=row["idempotency_key"],
            tenant=row["tenant"],
            endpoint=row["endpoint"],
            sent_at=row["sent_at"],
            polls=row["polls"],
            acknowledged=row["acknowledged"],
        )

    async def later(self, batch: CoreBatch, next_at: datetime, *, acknowledged: bool) -> None:
        """Ask again at `next_at`."""
        async with self.database.transaction(batch.tenant) as connection:
            await connection.execute(SQL.later, batch.key, next_at, acknowledged)

    async def close(self, batch: CoreBatch, state: Literal["done", "refused", "given-up"]) -> None:
        """Ask no more."""
        async with self.database.transaction(batch.tenant) as connection:
            await connection.execute(SQL.close, batch.key, state)
