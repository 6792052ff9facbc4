"""Decisions of rules as they were recorded: the record, and the facts of the case as they stood at that moment.

The facts come from the events before the decision, joined as the case joined them; only facts with the hash that the
record names are given out.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.core.errors import ConfigurationError
from gateway.core.ports import Cipher
from gateway.infra.postgres import Connection, Database, Queries
from gateway.rules.record import facts_hash
from gateway.store import events
from gateway.store.context import REJECTED, STANDING, joined_context
from gateway.store.patients import told_facts

SQL = Queries(Path(__file__).parent / "sql" / "recorded.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDecision:
    """One decision of rules. `facts` are as protected as the case."""

    case_id: str
    version: int
    record: dict[str, Any]
    facts: dict[str, Any]


async def of_case(database: Database, cipher: Cipher, tenant: str, case_id: str) -> list[RecordedDecision]:
    """The decisions of one case that rules made, oldest first. Raises LookupError when there is no such case."""
    async with database.transaction(tenant) as connection:
        return await _of_case(connection, cipher, case_id)


async def since(
    database: Database, cipher: Cipher, tenant: str, ruleset: str, moment: datetime, limit: int
) -> tuple[list[RecordedDecision], int]:
    """The newest `limit` decisions of a rule set (by its id) since a moment, oldest first.

    And how many there are beside them whose facts the stored events do not give: a run over the rest has to say so.
    """
    found: list[RecordedDecision] = []
    unread = 0
    async with database.transaction(tenant) as connection:
        for row in await connection.fetch(SQL.decided_since, tenant, moment):
            stream = await events.stream(connection, cipher, str(row["workflow_id"]))
            for event, record in reversed(_records(stream)):
                if record["ruleset"] != ruleset or datetime.fromisoformat(record["decidedAt"]) < moment:
                    continue
                try:
                    found.append(_decision(stream, event, record))
                except ConfigurationError:
                    unread += 1
            if len(found) >= limit:
                break
    return sorted(found[:limit], key=lambda each: str(each.record["decidedAt"])), unread


TELLING = ("clinical.", "attachment.")
"""Messages that tell open cases (gateway.stages.tell)."""


async def _of_case(connection: Connection, cipher: Cipher, case_id: str) -> list[RecordedDecision]:
    stream = await events.stream(connection, cipher, str(uuid.UUID(case_id)))
    if not stream:
        raise LookupError(case_id)
    return [_decision(stream, event, record) for event, record in _records(stream)]


def _records(stream: Sequence[events.StoredEvent]) -> list[tuple[events.StoredEvent, dict[str, Any]]]:
    """The decisions of rules among the events; those of people have no record."""
    made = [event for event in stream if event.type == "DecisionMade" and event.sealed]
    return [(event, record) for event in made if event.sealed and (record := event.sealed["decision"].get("record"))]


def _decision(
    stream: Sequence[events.StoredEvent], event: events.StoredEvent, record: dict[str, Any]
) -> RecordedDecision:
    facts = _facts(stream, event.version, record["factsHash"])
    return RecordedDecision(case_id=event.case_id, version=event.version, record=record, facts=facts)


def _facts(stream: Sequence[events.StoredEvent], version: int, wanted: str) -> dict[str, Any]:
    facts = _standing([event for event in stream if event.version < version])
    if facts is None or facts_hash(facts) != wanted:
        raise ConfigurationError(
            "the stored events do not give the facts of this decision", location=f"version {version}"
        )
    return facts


def _standing(before: Sequence[events.StoredEvent]) -> dict[str, Any] | None:
    """The facts of a case after these events, joined as the case joined them."""
    context: dict[str, Any] = {}
    action = ""
    for event in before:
        if event.type == "CaseOpened" and event.sealed:
            context = dict.fromkeys(STANDING) | {"type": event.data["type"], "facts": event.sealed["facts"]}
        elif event.type == "MessageReceived" and event.sealed and context:
            if event.data["type"].startswith(TELLING):
                context["facts"] = told_facts(context["facts"], event.sealed["facts"])
            else:
                context = joined_context(context, event.sealed, action)
        elif event.type == "DecisionMade":
            action = event.data["action"] or REJECTED
    return context.get("facts")
