"""The event log is the outbox (D9): one reader publishes it to Kafka, another builds the read model of cases.

Each moves its cursor in the transaction of what it wrote (the read model: exactly once) or after a confirmed produce
(Kafka: at least once; consumers go by the event's id).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from gateway.core.exact_json import dumps
from gateway.core.ports import Cipher, Publisher
from gateway.infra.postgres import SYSTEM, Connection, Database, Queries
from gateway.store import events

VIEW = Queries(Path(__file__).parent / "sql" / "case_view.sql")
BATCH = 500

Apply = Callable[[Connection, Sequence[events.StoredEvent]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReader:
    """Runs one reader of the log. `apply` runs inside the transaction that moves the cursor."""

    database: Database
    cipher: Cipher
    name: str
    apply: Apply
    opens: frozenset[str] = frozenset()
    """Types of events whose sealed part `apply` asks for; the others come without."""

    async def create(self) -> None:
        """Register the reader; an existing one keeps its place."""
        async with self.database.transaction(SYSTEM) as connection:
            await connection.execute(events.SQL.create_cursor, self.name)

    async def step(self) -> int:
        """Read and apply the next batch; return how many events it had (0: nothing new, or another runner has it)."""
        async with self.database.transaction(SYSTEM) as connection:
            row = await connection.fetchrow(events.SQL.cursor, self.name)
            if row is None:
                return 0
            batch = await events.tail(connection, self.cipher, (row["xid"], row["position"]), BATCH, self.opens)
            if batch:
                await self.apply(connection, batch)
                await connection.execute(events.SQL.move_cursor, self.name, *batch[-1].cursor)
            return len(batch)

    async def reset(self) -> None:
        """Start over: the next steps read the whole log."""
        async with self.database.transaction(SYSTEM) as connection:
            await connection.execute(events.SQL.reset_cursor, self.name)

    async def waiting(self) -> tuple[int, datetime | None]:
        """(unread events, time of the oldest)."""
        async with self.database.transaction(SYSTEM) as connection:
            row = await connection.fetchrow(events.SQL.waiting, self.name)
        return (row["events"], row["oldest"]) if row else (0, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """Publishes every event to `events_topic`, and decisions also to `decisions_topic`. Keys are case ids."""

    publisher: Publisher
    cipher: Cipher
    events_topic: str
    decisions_topic: str

    opens: ClassVar[frozenset[str]] = frozenset({"DecisionMade"})
    """Whose sealed part it asks for (`LogReader.opens`)."""

    async def __call__(self, _connection: Connection, batch: Sequence[events.StoredEvent]) -> None:
        """Publish a batch, in order per case: sends begin in the log's order and are confirmed together.

        Raises Unavailable, which leaves the cursor where it was.
        """
        sends = []
        for event in batch:
            sends.append(self._publish(self.events_topic, event, _body(event)))
            if event.type == "DecisionMade" and event.sealed:
                sends.append(self._publish(self.decisions_topic, event, event.sealed["decision"]))
        await asyncio.gather(*sends)

    async def _publish(self, topic: str, event: events.StoredEvent, body: dict[str, Any]) -> None:
        headers = {
            "ce_specversion": "1.0",
            "ce_id": event.id,
            "ce_type": event.type,
            "ce_source": "workflow",
            "ce_time": event.timestamp.isoformat(),
            "ce_subject": event.case_id,
            "ce_tenant": event.tenant,
            "correlation_id": str(event.metadata.get("correlationId", "")),
            "content-type": "application/json",
        }
        sealed = self.cipher.encrypt(event.tenant, dumps(body))
        await self.publisher.publish(topic, key=event.case_id, headers=headers, value=sealed)


def _body(event: events.StoredEvent) -> dict[str, Any]:
    """What goes out of an event: never its sealed part."""
    return {
        "eventId": event.id,
        "workflowId": event.case_id,
        "eventType": event.type,
        "eventData": event.data,
        "stepId": event.step_id,
        "userId": event.user_id,
        "version": event.version,
        "timestamp": event.timestamp.isoformat(),
        "metadata": event.metadata,
    }


async def case_view(connection: Connection, batch: Sequence[events.StoredEvent]) -> None:
    """Apply events to the read model `workflow.case_view`; a case's first event comes before all its others."""
    begun = [event for event in batch if event.type == "CaseOpened"]
    if begun:
        await connection.executemany(VIEW.opened, [_opened(event) for event in begun])
    for event in batch:
        case, data = uuid.UUID(event.case_id), event.data
        if event.type == "CaseOpened":
            continue
        if event.type == "DecisionMade":
            final = bool(data["final"])
            status = "decided" if final else "pended"
            moment = event.timestamp if final else None
            await connection.execute(
                VIEW.decided, case, event.version, status, data["action"], event.step_id or "", moment
            )
        elif event.type == "CaseClosed":
            await connection.execute(VIEW.closed, case, event.version, data["status"], event.timestamp)
        elif "dueAt" in data:
            await connection.execute(VIEW.clocked, case, event.version, datetime.fromisoformat(data["dueAt"]))
        else:
            await connection.execute(VIEW.moved, case, event.version, event.step_id)


def _opened(event: events.StoredEvent) -> tuple[Any, ...]:
    data = event.data
    received, due = (datetime.fromisoformat(data[name]) for name in ("receivedAt", "dueAt"))
    return uuid.UUID(event.case_id), event.tenant, data["type"], data["priority"], event.version, received, due
