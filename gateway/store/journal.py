"""The message journal: every received message, written by its own consumer group (D3); basis of trace and replay."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.core.envelope import Envelope
from gateway.core.ports import Cipher
from gateway.infra.postgres import SYSTEM, Database, Queries

SQL = Queries(Path(__file__).parent / "sql" / "journal.sql")


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes and searches table `workflow.message_journal`."""

    database: Database
    cipher: Cipher

    async def write(self, envelope: Envelope, *, topic: str, partition: int, offset: int) -> None:
        """Journal one message; again is a no-op."""
        async with self.database.transaction(envelope.tenant) as connection:
            await connection.execute(
                SQL.write,
                uuid.UUID(envelope.id),
                envelope.tenant,
                topic,
                partition,
                offset,
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
                self.cipher.encrypt(envelope.tenant, envelope.body()),
                envelope.time,
            )

    async def find(self, identity: str) -> list[dict[str, Any]]:
        """Messages by event id, correlation id, case token or case id; no PHI in the rows."""
        async with self.database.transaction(SYSTEM) as connection:
            return [dict(row) for row in await connection.fetch(SQL.find, identity)]
