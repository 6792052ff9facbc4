"""Cases: opening (inbox + case + first event, one transaction), context, commands, and finding them from any rail."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.core.envelope import Envelope
from gateway.core.errors import ConcurrencyError
from gateway.core.exact_json import dumps, loads
from gateway.core.ids import case_id as derive_case_id
from gateway.core.ports import Cipher
from gateway.infra.postgres import SYSTEM, Connection, Database, Queries
from gateway.stages.revise import STATEMENTS
from gateway.stages.start import CaseStart, Definition, Keys, Opened, Opening
from gateway.store import events
from gateway.store.context import context_of, joined_context

SQL = Queries(Path(__file__).parent / "sql" / "cases.sql")
ENDED = frozenset({"completed", "cancelled", "failed"})
ASKED = "asked"
"""Kind of the keys that a payer's answers are found by (mappings: `asked_key`, `payer_pas.Asked.keys`)."""
LOOKED_AT = 20
"""Cases under one key that are looked at, newest first; few keys have more than one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case as it stands. `context` is the unsealed request: facts, resource, reply, type, source, correlationId."""

    id: str
    tenant: str
    version: int
    status: str
    action: str
    context: dict[str, Any]
    priority: str
    received_at: datetime
    due_at: datetime
    run: int = 0


class _OrphanFoundError(Exception):
    """Ends the transaction of a message that has no case; never leaves this module."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        super().__init__(opened.outcome)


@dataclass(frozen=True, slots=True)
class CaseStore:
    """The Cases port and what decide and deliver need of a case, over PostgreSQL."""

    database: Database
    cipher: Cipher
    token: Callable[[str, str, tuple[str, ...]], str]
    clock: Callable[[], datetime]

    async def open(self, opening: Opening) -> Opened:
        """Inbox row, case, keys and first event, all or nothing.

        An orphan leaves nothing behind, so that it can be parked after a crash and replayed once its case is there.
        """
        try:
            return await self._open(opening)
        except _OrphanFoundError as found:
            return found.opened

    async def _open(self, opening: Opening) -> Opened:
        envelope = opening.envelope
        identity = derive_case_id(envelope.tenant, envelope.subject)
        async with self.database.transaction(envelope.tenant) as connection:
            # The inbox keeps the case a message belongs to, so that its resend finds that one, too.
            parent = await self._parent(connection, opening)
            target = parent or identity
            if parent is None and opening.opens:
                received, opened = await self._enter(connection, opening, identity)
                if opened:
                    return Opened(outcome="opened", case_id=identity, version=1, subject=envelope.subject)
                if not received:
                    return await self._known(connection, envelope, identity)
                return await self._join(connection, opening, target)
            new = await connection.fetchval(
                SQL.receive,
                envelope.tenant,
                envelope.source,
                envelope.dedupe_key,
                envelope.body_sha256,
                uuid.UUID(envelope.id),
                uuid.UUID(target),
                envelope.time,
            )
            if new is None:
                return await self._known(connection, envelope, identity)
            return await self._join(connection, opening, target)

    async def _known(self, connection: Connection, envelope: Envelope, identity: str) -> Opened:
        """A message whose key is in the inbox: the case it opened or joined, a conflict, or an orphan as before."""
        row = await connection.fetchrow(SQL.received, envelope.tenant, envelope.source, envelope.dedupe_key)
        found = str(row["case_id"]) if row is not None and row["case_id"] else identity
        if row is None or row["body_sha256"] != envelope.body_sha256:
            return Opened(outcome="conflict", case_id=found, subject=envelope.subject)
        case = await connection.fetchrow(SQL.lock_named, uuid.UUID(found))
        if case is None:
            return Opened(outcome="orphan", case_id=found, subject=envelope.subject)
        event = await events.by_command(connection, self.cipher, found, str(row["event_id"]))
        version = event.version if event is not None else 0
        opened = Opened(
            outcome="known", case_id=found, version=version, subject=case["workflow_key"], run=case["run"],
            definition=case["definition_name"],
        )  # fmt: skip
        same = row["event_id"] == uuid.UUID(envelope.id)  # the very record: was its workflow told before the crash?
        if same and event is not None and event.type == "MessageReceived" and version > case["run"]:
            return replace(opened, outcome="joined")
        return opened

    async def _enter(self, connection: Connection, opening: Opening, identity: str) -> tuple[bool, bool]:
        """Inbox row, case, first event and keys: (whether the message is new, whether it opened the case)."""
        envelope = opening.envelope
        row = await connection.fetchrow(
            SQL.open,
            envelope.tenant,
            envelope.source,
            envelope.dedupe_key,
            envelope.body_sha256,
            uuid.UUID(envelope.id),
            uuid.UUID(identity),
            envelope.time,
            envelope.subject,
            uuid.UUID(opening.definition.id),
            opening.definition.type,
            opening.priority,
            opening.lane,
            self.cipher.encrypt(envelope.tenant, dumps(context_of(envelope))),
            opening.due_at,
            events.event_id(identity, 1),
            opening.told,
            self.cipher.encrypt(envelope.tenant, dumps({"facts": envelope.facts})),
            self.clock(),
            _metadata(envelope),
            *self._tokens(envelope.tenant, opening.keys),
        )
        return (row["received"], row["opened"]) if row is not None else (False, False)

    def _tokens(self, tenant: str, keys: Keys) -> tuple[list[str], list[str]]:
        """The kinds and tokens of keys, as two columns."""
        return [kind for kind, _ in keys], [self.token(tenant, kind, parts) for kind, parts in keys]

    async def _parent(self, connection: Connection, opening: Opening) -> str | None:
        """The newest case that carries one of the message's parent keys, the strongest key first.

        A payer's answer that is about several open cases by one key is nobody's by that key: a wrong guess would give
        one person's decision to another.
        """
        tenant = opening.envelope.tenant
        for kind, parts in opening.parents:
            rows = await connection.fetch(SQL.find, tenant, kind, self.token(tenant, kind, parts), LOOKED_AT)
            if kind == ASKED:
                waiting = [row for row in rows if row["status"] not in ENDED]
                rows = [] if len(waiting) > 1 else waiting or rows
            if rows:
                return str(rows[0]["case_id"])
        return None

    async def _join(self, connection: Connection, opening: Opening, identity: str) -> Opened:
        envelope = opening.envelope
        case = await connection.fetchrow(SQL.lock_named, uuid.UUID(identity))
        if case is None:
            raise _OrphanFoundError(Opened(outcome="orphan", case_id=identity, subject=envelope.subject))
        ended = case["status"] in ENDED
        due = opening.due_at if ended else None  # what ended has no clock any more: the message starts one
        version = await self.received(
            connection, envelope, identity, case["version"], command_id=envelope.id, due_at=due
        )
        run = version if ended else case["run"]
        before = loads(self.cipher.decrypt(envelope.tenant, case["context"]))
        after = joined_context(before, context_of(envelope), case["action"])
        context = self.cipher.encrypt(envelope.tenant, dumps(after))
        status = "opened" if ended else case["status"]
        await connection.execute(SQL.join, uuid.UUID(identity), status, version, run, context, opening.lane, due)
        await self.add_keys(connection, envelope.tenant, identity, opening.keys)
        return Opened(
            outcome="reopened" if ended else "joined",
            case_id=identity,
            version=version,
            subject=case["workflow_key"],
            run=run,
            definition=case["definition_name"],
        )

    async def received(
        self,
        connection: Connection,
        envelope: Envelope,
        case_id: str,
        version: int,
        *,
        command_id: str,
        due_at: datetime | None = None,
    ) -> int:
        """Append the event of a message that joins a case, with the end of the clock it starts. The new version."""
        data = {"type": envelope.type, "source": envelope.source, "receivedAt": envelope.time.isoformat()}
        clock = {"dueAt": due_at.isoformat()} if due_at is not None else {}
        event = events.NewEvent(type="MessageReceived", data=data | clock, sealed=context_of(envelope))
        return await events.append(
            connection,
            self.cipher,
            tenant=envelope.tenant,
            case_id=case_id,
            expected_version=version,
            events=[event],
            now=self.clock(),
            command_id=command_id,
            metadata=_metadata(envelope),
        )

    async def add_keys(self, connection: Connection, tenant: str, case_id: str, keys: Keys) -> None:
        """Make a case findable under tokens of these identifiers."""
        if keys:
            await connection.execute(SQL.add_keys, tenant, uuid.UUID(case_id), *self._tokens(tenant, keys))

    async def lock(self, connection: Connection, case_id: str) -> Case:
        """The case, locked for a change. Raises LookupError when it is not there."""
        return self._case(case_id, await connection.fetchrow(SQL.lock, uuid.UUID(case_id)))

    async def lock_for(
        self, connection: Connection, case_id: str, command_id: str
    ) -> tuple[Case, events.StoredEvent | None]:
        """The case, locked, and what an earlier execution of a command led to. Raises LookupError.

        Of two executions at once, the second may miss what the first one commits meanwhile: it is then refused by the
        index on commands when it records (ConcurrencyError), and finds it when it is repeated.
        """
        row = await connection.fetchrow(SQL.lock_for, uuid.UUID(case_id), command_id)
        case = self._case(case_id, row)
        if row is None or row["known_version"] is None:
            return case, None
        return case, await events.by_command(connection, self.cipher, case_id, command_id)

    def _case(self, case_id: str, row: Any) -> Case:
        if row is None:
            raise LookupError(case_id)
        return Case(
            id=case_id,
            tenant=row["tenant"],
            version=row["version"],
            status=row["status"],
            action=row["action"] or "",
            context=loads(self.cipher.decrypt(row["tenant"], row["context"])),
            priority=row["priority"],
            received_at=row["received_at"],
            due_at=row["due_at"],
            run=row["run"],
        )

    async def load(self, tenant: str, case_id: str) -> Case:
        """The case as it stands."""
        async with self.database.transaction(tenant) as connection:
            return await self.lock(connection, case_id)

    async def record(
        self,
        connection: Connection,
        case: Case,
        new: Sequence[events.NewEvent],
        *,
        command_id: str,
        status: str,
        step: str | None = None,
        action: str | None = None,
        keys: Keys = (),
    ) -> int:
        """Append events for a command, move the case with them, add lookup keys. Returns the new version.

        Raises ConcurrencyError (by the transaction) when another writer was first.
        """
        rows = events.columns(self.cipher, case.tenant, case.id, case.version, new, command_id)
        version = case.version + len(new)
        await connection.execute(
            events.SQL.record,
            uuid.UUID(case.id),
            case.tenant,
            self.clock(),
            {"correlationId": case.context["correlationId"], "source": "workflow"},
            *rows,
            *self._tokens(case.tenant, keys),
            status,
            step,
            action,
            version,
        )
        return version

    async def find(self, tenant: str, kind: str, parts: tuple[str, ...], limit: int = 20) -> list[str]:
        """Ids of cases that carry this identifier, newest first."""
        async with self.database.transaction(tenant) as connection:
            rows = await connection.fetch(SQL.find, tenant, kind, self.token(tenant, kind, parts), limit)
        return [str(row["case_id"]) for row in rows]

    async def newest_decision(self, tenant: str, case_id: str, after: int = 0) -> dict[str, Any] | None:
        """The newest decision later than version `after` on what was stated then, as JSON, or None.

        A resend gets the answer that its message had, not that of an update which came since.
        """
        found: dict[str, Any] | None = None
        async with self.database.transaction(tenant) as connection:
            for event in await events.stream(connection, self.cipher, case_id):
                if event.version <= after:
                    continue
                if found is not None and event.type == "MessageReceived" and event.data["type"] in STATEMENTS:
                    break
                if event.type == "DecisionMade" and event.sealed:
                    found = event.sealed["decision"]
        return found

    async def settled(self, messages: Sequence[tuple[str, str, str, str]]) -> Sequence[bool]:
        """Of each message (tenant, source, dedupe key, id): whether it has opened a case."""
        columns = [list(column) for column in zip(*messages, strict=True)]
        async with self.database.transaction(SYSTEM) as connection:
            rows = await connection.fetch(SQL.settled, *columns) if messages else ()
        found = {str(row["event_id"]) for row in rows}
        return [identity in found for *_, identity in messages]

    async def stranded(self, seconds: float, limit: int = 100) -> list[CaseStart]:
        """Cases opened at least `seconds` ago whose workflow was never started."""
        async with self.database.transaction(SYSTEM) as connection:
            rows = await connection.fetch(SQL.stranded, seconds, limit)
        return [_case_start(row) for row in rows]

    async def register(self, tenant: str, definition: dict[str, Any], content_hash: str) -> Definition:
        """Register a definition version. Raises ConcurrencyError when the version exists with other content."""
        async with self.database.transaction(tenant) as connection:
            name, version = definition["name"], str(definition["version"])
            await connection.execute(
                SQL.save_definition, tenant, name, version, definition["type"], definition, content_hash
            )
            row = await connection.fetchrow(SQL.definition, tenant, name, version)
        if row is None or row["content_hash"] != content_hash:
            raise ConcurrencyError(
                f"definition {name} {version} is registered with other content: give it a new version"
            )
        return Definition(id=str(row["id"]), name=name, type=definition["type"], content=definition, hash=content_hash)


def _metadata(envelope: Envelope) -> dict[str, Any]:
    """What an event says openly of the message behind it: ids only."""
    return {
        "correlationId": envelope.correlation_id,
        "causationId": envelope.id,
        "source": envelope.source,
        "traceParent": envelope.trace_parent,
    }


def _case_start(row: Any) -> CaseStart:
    definition = row["definition"]
    return CaseStart(
        case_id=str(row["id"]),
        tenant=row["tenant"],
        subject=row["workflow_key"],
        definition=Definition(
            id=str(row["definition_id"]),
            name=definition["name"],
            type=definition["type"],
            content=definition,
            hash=row["content_hash"],
        ),
        due_at=row["due_at"],
        received_at=row["received_at"],
        priority=row["priority"],
        run=row["run"],
    )
