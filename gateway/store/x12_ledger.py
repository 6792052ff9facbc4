"""The X12 ledger in PostgreSQL: interchanges received (duplicates, stored answers) and control numbers handed out.

Implements adapters/x12/wire/ports.py; the contract suite runs on this and on the tests' fake.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from adapters.x12.wire.ports import InterchangeKey, Level, Registration
from gateway.core.ports import Cipher
from gateway.infra.postgres import Connection, Database, Queries

SQL = Queries(Path(__file__).parent / "sql" / "x12_ledger.sql")
LARGEST = 999_999_999
"""ISA13 has nine digits; after the largest follows 1."""


@dataclass(frozen=True, slots=True)
class PostgresLedger:
    """The EnvelopeLedger port."""

    database: Database
    cipher: Cipher

    async def register(
        self, tenant: str, key: InterchangeKey, sha256: str, received_at: datetime, window_days: int
    ) -> Registration:
        """Note an interchange, atomically."""
        async with self.database.transaction(tenant) as connection:
            if await connection.fetchval(SQL.register, tenant, *key, sha256, received_at, window_days) is not None:
                return Registration("new")
            row = await connection.fetchrow(SQL.known, tenant, *key)
        if row is None or row["sha256"] != sha256:
            return Registration("conflict")
        sealed = row["acknowledgement"]
        stored = self.cipher.decrypt(tenant, sealed) if sealed is not None else None
        return Registration("repeated", row["finished"], stored)

    async def finish(self, tenant: str, key: InterchangeKey, sha256: str, acknowledgement: bytes | None) -> None:
        """Store its answer."""
        sealed = self.cipher.encrypt(tenant, acknowledgement) if acknowledgement is not None else None
        async with self.database.transaction(tenant) as connection:
            await connection.execute(SQL.finish, tenant, *key, sha256, sealed)


@dataclass(frozen=True, slots=True)
class PostgresNumbers:
    """The NumberAllocator port. The counter never turns back; the number shown is the counter modulo rollover."""

    database: Database

    async def allocate(self, tenant: str, ours: str, partner: str, level: Level, count: int = 1) -> int:
        """The first of `count` numbers that follow each other."""
        async with self.database.transaction(tenant) as connection:
            return await NumbersOn(connection).allocate(tenant, ours, partner, level, count)


@dataclass(frozen=True, slots=True)
class NumbersOn:
    """The same counters in a transaction of the caller's: what it takes is used by nothing but what it commits."""

    connection: Connection

    async def allocate(self, tenant: str, ours: str, partner: str, level: Level, count: int = 1) -> int:
        """The first of `count` numbers that follow each other."""
        last = await self.connection.fetchval(SQL.allocate, tenant, ours, partner, level, count)
        return int((last - count) % LARGEST + 1)
