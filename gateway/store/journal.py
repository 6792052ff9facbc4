"""The message journal: every received message, written by its own consumer group (D3); basis of trace and replay."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.core.envelope import Envelope
from gateway.infra.postgres import SYSTEM, Database, Queries

SQL = Queries(Path(__file__).parent / "sql" / "journal.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A message and where it lies in Kafka."""

    envelope: Envelope
    body: bytes
    """Its whole body, sealed."""
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes and searches table `workflow.message_journal`."""

    database: Database

    async def write(self, entries: Sequence[Entry]) -> Sequence[bool]:
        """Journal messages, of any tenants; again is a no-op. All of them or, when it raises, none."""
        rows = [_row(entry) for entry in entries]
        async with self.database.transaction(SYSTEM) as connection:
            await connection.executemany(SQL.write, rows)
        return [True] * len(rows)

    async def find(self, identity: str) -> list[dict[str, Any]]:
        """Messages by event id, correlation id, case token or case id; no PHI in the rows."""
        async with self.database.transaction(SYSTEM) as connection:
            return [dict(row) for row in await connection.fetch(SQL.find, identity)]


def _row(entry: Entry) -> tuple[Any, ...]:
    envelope = entry.envelope
    return (
        uuid.UUID(envelope.id),
        envelope.tenant,
        entry.topic,
        entry.partition,
        entry.offset,
        envelope.type,
        envelope.source,
        envelope.format,
        envelope.subject,
        envelope.key,
        envelope.dedupe_key,
        envelope.body_sha256,
        envelope.raw.size,
        envelope.correlation_id,
        envelope.causation_id,
        envelope.parked,
        envelope.ledger.get("counts", {}),
        entry.body,
        envelope.time,
    )
