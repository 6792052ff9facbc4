"""Human tasks: the worklist of each role."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.infra.postgres import SYSTEM, Connection, Database, Queries

SQL = Queries(Path(__file__).parent / "sql" / "tasks.sql")


async def open_task(
    connection: Connection, *, task_id: str, tenant: str, case_id: str, role: str, step_id: str, due_at: datetime | None
) -> None:
    """Put a task on a role's list; an open one is handed to the new role."""
    await connection.execute(SQL.open, task_id, tenant, uuid.UUID(case_id), role, step_id, due_at)


async def close_task(connection: Connection, task_id: str) -> None:
    """Take a task off the list."""
    await connection.execute(SQL.close, task_id)


async def worklist(database: Database, role: str | None, limit: int = 100) -> list[dict[str, Any]]:
    """Open tasks, the most urgent first; of every role when `role` is None."""
    async with database.transaction(SYSTEM) as connection:
        return [dict(row) for row in await connection.fetch(SQL.worklist, role, limit)]


@dataclass(frozen=True, slots=True)
class Owner:
    """The workflow run of a case."""

    subject: str
    run: int


async def owner(database: Database, task_id: str) -> Owner | None:
    """The case of an open task, or None."""
    async with database.transaction(SYSTEM) as connection:
        row = await connection.fetchrow(SQL.owner, task_id)
    return Owner(row["subject"], row["run"]) if row is not None else None


async def of_case(database: Database, case_id: str) -> Owner | None:
    """The workflow run of a case, or None for an unknown one."""
    async with database.transaction(SYSTEM) as connection:
        row = await connection.fetchrow(SQL.of_case, uuid.UUID(case_id))
    return Owner(row["subject"], row["run"]) if row is not None else None
