"""Clinical messages and the open cases of their patient: one event in each, once, whatever is delivered again."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.envelope import Envelope
from gateway.core.errors import MessageConflict
from gateway.core.exact_json import dumps, loads
from gateway.infra.postgres import Connection
from gateway.stages.start import Keys, Opened
from gateway.store import events
from gateway.store.cases import SQL, CaseStore
from gateway.store.context import with_added

BROUGHT = ("observations", "documents")
"""Fact lists a clinical message adds to. Not diagnoses: a request says for which of them it asks."""
MOST = 100
"""Open cases of one patient that are told; nobody has as many."""


def told_facts(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The facts of a case once a clinical message has joined it.

    Results and documents are added. The stay is taken over where it is the case's own, by its admission date, or where
    the case knows of none: another stay of the same patient says nothing about this request.
    """
    facts = with_added(before, {name: after[name] for name in BROUGHT if name in after})
    stay = {name: value for name, value in after.items() if name.startswith("encounter.")}
    known = before.get("encounter.admitDate")
    return facts | stay if known in (None, stay.get("encounter.admitDate")) else facts


@dataclass(frozen=True, slots=True)
class PatientCaseStore:
    """The PatientCases port, over PostgreSQL."""

    store: CaseStore

    async def tell(self, envelope: Envelope, keys: Keys) -> Sequence[Opened]:
        """Add the message to every open case under one of `keys`; cases that have it already are told again only.

        The patient's other numbers become keys of those cases, so that after a merge either one finds them; a merge is
        kept for cases that open later. Raises MessageConflict when the message's key was used with another body.
        """
        tenant = envelope.tenant
        tokens = [self.store.token(tenant, kind, parts) for kind, parts in keys]
        async with self.store.database.transaction(tenant) as connection:
            if envelope.reply.get("merged") and len(tokens) > 1:
                await connection.execute(SQL.merging, tenant)
                await connection.execute(SQL.merged, tenant, tokens, uuid.UUID(envelope.id))
            rows = await connection.fetch(SQL.open_under, tenant, tokens, MOST)
            if not rows:
                return ()
            await self._receive(connection, envelope, str(rows[0]["id"]))
            told = [await self._join(connection, envelope, row) for row in rows]
            for opened in told:
                await self.store.add_keys(connection, tenant, opened.case_id, keys)
        # A run that began after the message has decided with it already.
        return [opened for opened in told if opened.version > opened.run]

    async def _receive(self, connection: Connection, envelope: Envelope, case_id: str) -> None:
        known = (envelope.tenant, envelope.source, envelope.dedupe_key)
        new = (envelope.body_sha256, uuid.UUID(envelope.id), uuid.UUID(case_id), envelope.time)
        if await connection.fetchval(SQL.receive, *known, *new) is None:
            row = await connection.fetchrow(SQL.received, *known)
            if row is None or row["body_sha256"] != envelope.body_sha256:
                raise MessageConflict

    async def _join(self, connection: Connection, envelope: Envelope, row: Any) -> Opened:
        """One event for one message, by its key: a resend with the same body changes nothing."""
        store, case_id = self.store, str(row["id"])
        opened = Opened(outcome="joined", case_id=case_id, subject=row["workflow_key"], run=row["run"])
        known = await events.by_command(connection, store.cipher, case_id, envelope.dedupe_key)
        if known is not None:
            return Opened(
                outcome="known", case_id=case_id, subject=opened.subject, run=opened.run, version=known.version
            )
        version = await store.received(connection, envelope, case_id, row["version"], command_id=envelope.dedupe_key)
        context = loads(store.cipher.decrypt(envelope.tenant, row["context"]))
        context["facts"] = told_facts(context["facts"], envelope.facts)
        sealed = store.cipher.encrypt(envelope.tenant, dumps(context))
        await connection.execute(SQL.told, row["id"], version, sealed)
        return Opened(outcome="joined", case_id=case_id, subject=opened.subject, run=opened.run, version=version)
