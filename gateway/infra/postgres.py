"""The only door to PostgreSQL: a pool acting as `gateway_app`, tenant-scoped transactions, named queries."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import orjson

from gateway.core.errors import ConcurrencyError, OwnError, Unavailable

SYSTEM = "*"
"""The tenant of the gateway's own log readers; row-level security lets it see every tenant."""

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

_BEGIN = "BEGIN; SET LOCAL gateway.tenant = {tenant}"
"""Both in one round trip: a case has six transactions."""

_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)


async def _prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda value: orjson.loads(value[1:]),
        schema="pg_catalog",
        format="binary",
    )


async def _left_as_found(_connection: object) -> None:
    """Nothing to reset: settings and locks are the transaction's own, and no transaction is left open."""


def _literal(text: str) -> str:
    """A string constant of SQL (PostgreSQL 4.1.2.1). Raises OwnError for what no text of PostgreSQL can hold."""
    if "\0" in text:
        raise OwnError("a tenant with a NUL character")
    return "'" + text.replace("'", "''") + "'"


class Database:
    """A connection pool. Every statement runs inside a transaction that names its tenant."""

    def __init__(self, dsn: str, *, size: int = 8) -> None:
        self._dsn = dsn
        self._size = size
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        """Connect. Raises Unavailable."""
        try:
            self._pool = await asyncpg.create_pool(
                self._dsn,
                min_size=1,
                max_size=self._size,
                command_timeout=30,
                init=_prepare,
                reset=_left_as_found,
                server_settings={
                    "role": "gateway_app",
                    "standard_conforming_strings": "on",  # what `_literal` relies on
                    "application_name": "gateway",
                    "idle_in_transaction_session_timeout": "60s",
                },
            )
        except _UNAVAILABLE as error:
            raise Unavailable(f"PostgreSQL does not answer ({type(error).__name__})") from error

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    @asynccontextmanager
    async def transaction(self, tenant: str) -> AsyncIterator[Connection]:
        """A transaction that sees and writes only `tenant`'s rows.

        Raises Unavailable when the server does not answer, ConcurrencyError when another writer was first.
        """
        if self._pool is None:
            raise Unavailable("PostgreSQL is not connected")
        try:
            async with self._pool.acquire(timeout=10) as connection:
                try:
                    await connection.execute(_BEGIN.format(tenant=_literal(tenant)))
                    yield connection
                except BaseException:
                    if not connection.is_closed():
                        await connection.execute("ROLLBACK")
                    raise
                await connection.execute("COMMIT")
        except (asyncpg.UniqueViolationError, asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as error:
            raise ConcurrencyError from error
        except _UNAVAILABLE as error:
            raise Unavailable(f"PostgreSQL does not answer ({type(error).__name__})") from error
        except asyncpg.PostgresError as error:
            raise OwnError(f"PostgreSQL refused a statement ({type(error).__name__})") from error


_NAME = re.compile(r"^-- name: (\w+)\n(-- .+\n)+", re.MULTILINE)


def named_queries(path: Path) -> dict[str, str]:
    """The queries of a .sql file: each begins with `-- name: x` and one line of purpose."""
    text = path.read_text(encoding="utf-8")
    marks = list(_NAME.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {mark.group(1): text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)}


class Queries:
    """Attribute access to named queries: `SQL.append_event`."""

    def __init__(self, path: Path) -> None:
        self._queries = named_queries(path)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._queries[name]
        except KeyError:
            raise AttributeError(name) from None
