"""The way of one message through all stages: accepted, case, decisions, deliveries. No PHI: ids, codes, times."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.infra.postgres import SYSTEM, Connection, Database, Queries

SQL = Queries(Path(__file__).parent.parent / "store" / "sql" / "trace.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened."""

    at: datetime
    stage: str
    what: str
    details: str


async def trace(database: Database, identity: str) -> list[Step]:
    """Every step of the message or case with this id, oldest first.

    `identity`: an event id, a correlation id, a case id, or a case token (the part of a workflow id after `case:`).
    """
    wanted = identity.removeprefix("case:").split(".", 1)[0]
    async with database.transaction(SYSTEM) as connection:
        steps = []
        cases = {case for row in await connection.fetch(SQL.cases, wanted) if (case := row["id"])}
        for row in await connection.fetch(SQL.messages, wanted, list(cases)):
            place = f"{row['topic']}[{row['partition']}]@{row['record_offset']}"
            kind = "parked" if row["parked"] else "accepted"
            told = f"{row['type']} from {row['source']} → {place}" + (f" ({row['parked']})" if row["parked"] else "")
            steps.append(Step(at=row["received_at"], stage="accept", what=kind, details=told))
        for case in cases:
            steps += await _case(connection, case)
    return sorted(steps, key=lambda step: step.at)


async def _case(connection: Connection, case: uuid.UUID) -> list[Step]:
    steps = []
    for row in await connection.fetch(SQL.events, case):
        data = row["event_data"]
        stage = "start" if row["event_type"] in ("CaseOpened", "MessageReceived") else "decide"
        told = ", ".join(f"{name} {value}" for name, value in data.items() if isinstance(value, str) and value)
        steps.append(
            Step(at=row["timestamp"], stage=stage, what=row["event_type"], details=f"v{row['version']} {told}")
        )
    for row in await connection.fetch(SQL.deliveries, case):
        told = f"{row['endpoint']}, {row['attempts']} attempt(s)"
        if row["state"] == "refused" and (row["receipt"] or {}).get("reference"):
            told += f": {row['receipt']['reference']}"
        steps.append(
            Step(at=row["delivered_at"] or row["created_at"], stage="deliver", what=row["state"], details=told)
        )
    return steps


async def find_case(database: Database, tenant: str, token: str) -> uuid.UUID | None:
    """The newest case that carries a lookup token."""
    async with database.transaction(tenant) as connection:
        found: uuid.UUID | None = await connection.fetchval(SQL.by_token, tenant, token)
        return found
