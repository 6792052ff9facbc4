"""Our subscriptions at payers: what is known of each, whether events are missing, and what is still to be read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.core.ports import Cipher
from gateway.infra.postgres import Connection, Database, Queries

SQL = Queries(Path(__file__).parent / "sql" / "payer_watches.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Our subscription at one payer."""

    tenant: str
    partner: str
    subscription: str = ""
    """Its id there; empty: there is none."""
    status: str = "none"
    """none, requested, active, error, off."""
    events: int = 0
    """Highest event number heard of."""
    behind: bool = False
    """Events are missing."""
    made_at: datetime | None = None
    heard_at: datetime | None = None
    looked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something a notification named without showing it."""

    digest: str
    focus: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class PayerWatches:
    """The tables `payer_watches` and `payer_news`."""

    database: Database
    cipher: Cipher

    async def lease(self, tenant: str, partner: str, now: datetime, seconds: float) -> Watch | None:
        """Take a partner for `seconds`; None while somebody else has it."""
        async with self.database.transaction(tenant) as connection:
            await connection.execute(SQL.enlist, tenant, partner)
            row = await connection.fetchrow(SQL.lease, tenant, partner, now, seconds)
        return _watch(row) if row is not None else None

    async def find(self, tenant: str, partner: str) -> Watch | None:
        """What is known of a partner."""
        async with self.database.transaction(tenant) as connection:
            return await find_on(connection, tenant, partner)

    async def made(self, watch: Watch, subscription: str, status: str, now: datetime) -> None:
        """A subscription was made; one that takes the place of another may have missed something."""
        await self._execute(SQL.made, watch, subscription, status, bool(watch.made_at), now)

    async def looked(self, watch: Watch, status: str, events: int, now: datetime) -> None:
        """The payer says how our subscription stands."""
        await self._execute(SQL.looked, watch, status, events, now)

    async def lost(self, watch: Watch, status: str, now: datetime) -> None:
        """The payer has it no more."""
        await self._execute(SQL.lost, watch, status, now)

    async def heard(self, watch: Watch, numbers: Sequence[int], since_start: int, now: datetime) -> None:
        """A notification came, with the events of these numbers; `since_start`: how many were sent in all."""
        first, last = (min(numbers), max(numbers)) if numbers else (0, 0)
        await self._execute(SQL.heard, watch, first, last, since_start, now)

    async def fall_behind(self, watch: Watch) -> None:
        """Events are missing."""
        await self._execute(SQL.behind, watch)

    async def caught_up(self, watch: Watch) -> None:
        """Every open case is being inquired about."""
        await self._execute(SQL.caught_up, watch)

    async def keep_news(self, watch: Watch, focus: str, now: datetime) -> None:
        """Something is to be read."""
        digest = hashlib.sha256(focus.encode()).hexdigest()
        await self._execute(SQL.keep_news, watch, digest, self.cipher.encrypt(watch.tenant, focus.encode()), now)

    async def news(self, watch: Watch, limit: int = 100) -> list[News]:
        """What is to be read, oldest first."""
        async with self.database.transaction(watch.tenant) as connection:
            rows = await connection.fetch(SQL.news, watch.tenant, watch.partner, limit)
        return [
            News(
                digest=row["digest"],
                focus=self.cipher.decrypt(watch.tenant, row["focus"]).decode(),
                received_at=row["received_at"],
            )
            for row in rows
        ]

    async def drop_news(self, watch: Watch, digest: str) -> None:
        """It was read."""
        await self._execute(SQL.drop_news, watch, digest)

    async def open_cases(self, watch: Watch) -> list[tuple[str, int]]:
        """(business token, run) of every open case this partner was asked about."""
        async with self.database.transaction(watch.tenant) as connection:
            rows = await connection.fetch(SQL.open_cases, watch.tenant, watch.partner)
        return [(str(row["workflow_key"]), int(row["run"])) for row in rows]

    async def _execute(self, statement: str, watch: Watch, *given: Any) -> None:
        async with self.database.transaction(watch.tenant) as connection:
            await connection.execute(statement, watch.tenant, watch.partner, *given)


async def find_on(connection: Connection, tenant: str, partner: str) -> Watch | None:
    """What is known of a partner, in a transaction of the caller's."""
    row = await connection.fetchrow(SQL.find, tenant, partner)
    return _watch(row) if row is not None else None


def _watch(row: Any) -> Watch:
    names = ("tenant", "partner", "subscription", "status", "events", "behind", "made_at", "heard_at", "looked_at")
    return Watch(**{name: row[name] for name in names})
