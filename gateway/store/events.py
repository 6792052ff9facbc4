"""The event store: append with expected version, read a stream, tail the log in commit-safe order (design D9).

One stream per case. `PRIMARY KEY (workflow_id, version)` is the guarantee: two writers of the same version cannot both
win. A command that was carried out already (same `command_id`) returns what it led to and changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from gateway.core.exact_json import dumps, loads
from gateway.core.ports import Cipher
from gateway.infra.postgres import Connection, Queries

SQL = Queries(Path(__file__).parent / "sql" / "events.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to append. `data` holds codes and times only; `sealed` may hold PHI and is encrypted."""

    type: str
    data: dict[str, Any]
    sealed: dict[str, Any] | None = None
    step_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event as stored (the mission's WorkflowEvent)."""

    case_id: str
    version: int
    id: str
    tenant: str
    type: str
    data: dict[str, Any]
    sealed: dict[str, Any] | None
    step_id: str | None
    command_id: str | None
    user_id: str | None
    timestamp: datetime
    metadata: dict[str, Any] = field(default_factory=dict)
    cursor: tuple[str, int] = ("0", 0)


async def append(
    connection: Connection,
    cipher: Cipher,
    *,
    tenant: str,
    case_id: str,
    expected_version: int,
    events: Sequence[NewEvent],
    now: datetime,
    command_id: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> int:
    """Append `events` after `expected_version`; return the new version. The command id marks the first of them.

    Raises ConcurrencyError (by the transaction) when another writer was first.
    """
    rows = columns(cipher, tenant, case_id, expected_version, events, command_id)
    await connection.execute(SQL.append, uuid.UUID(case_id), tenant, now, metadata or {}, *rows)
    return expected_version + len(events)


def event_id(case_id: str, version: int) -> uuid.UUID:
    """The id of an event: the same in every process."""
    return uuid.uuid5(uuid.UUID(case_id), str(version))


def columns(
    cipher: Cipher,
    tenant: str,
    case_id: str,
    expected_version: int,
    events: Sequence[NewEvent],
    command_id: str | None,
) -> list[list[Any]]:
    """Events as columns: version, id, type, data, sealed, step, command (of the first one only), user."""
    return [
        [expected_version + number for number in range(1, len(events) + 1)],
        [event_id(case_id, expected_version + number) for number in range(1, len(events) + 1)],
        [event.type for event in events],
        [event.data for event in events],
        [cipher.encrypt(tenant, dumps(event.sealed)) if event.sealed is not None else None for event in events],
        [event.step_id for event in events],
        [command_id if number == 0 else None for number in range(len(events))],
        [event.user_id for event in events],
    ]


def _stored(row: asyncpg.Record, cipher: Cipher, *, cursor: bool = False, opened: bool = True) -> StoredEvent:
    sealed = loads(cipher.decrypt(row["tenant"], row["sealed"])) if opened and row["sealed"] is not None else None
    return StoredEvent(
        case_id=str(row["workflow_id"]),
        version=row["version"],
        id=str(row["id"]),
        tenant=row["tenant"],
        type=row["event_type"],
        data=row["event_data"],
        sealed=sealed,
        step_id=row["step_id"],
        command_id=row["command_id"],
        user_id=row["user_id"],
        timestamp=row["timestamp"],
        metadata=row["metadata"],
        cursor=(row["xid"], row["position"]) if cursor else ("0", 0),
    )


async def by_command(connection: Connection, cipher: Cipher, case_id: str, command_id: str) -> StoredEvent | None:
    """What a command led to, or None when it was not carried out yet."""
    row = await connection.fetchrow(SQL.by_command, uuid.UUID(case_id), command_id)
    return _stored(row, cipher) if row is not None else None


async def messages_after(connection: Connection, case_id: str, version: int) -> set[int]:
    """Versions of the messages that joined a case later than `version`."""
    rows = await connection.fetch(SQL.messages_after, uuid.UUID(case_id), version)
    return {row["version"] for row in rows}


async def decided_since(connection: Connection, case_id: str, version: int) -> bool:
    """Whether anything was decided later than `version`."""
    return bool(await connection.fetchval(SQL.decided_since, uuid.UUID(case_id), version))


async def stream(connection: Connection, cipher: Cipher, case_id: str) -> list[StoredEvent]:
    """All events of a case, oldest first."""
    return [_stored(row, cipher) for row in await connection.fetch(SQL.stream, uuid.UUID(case_id))]


async def tail(
    connection: Connection, cipher: Cipher, cursor: tuple[str, int], limit: int, opens: frozenset[str] = frozenset()
) -> list[StoredEvent]:
    """The next events after `cursor`, none skipped even under concurrent commits; the types of `opens` unsealed."""
    rows = await connection.fetch(SQL.tail, cursor[0], cursor[1], limit, list(opens))
    return [_stored(row, cipher, cursor=True, opened=row["event_type"] in opens) for row in rows]
