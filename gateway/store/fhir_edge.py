"""What the FHIR edge keeps in PostgreSQL: subscriptions, issued resources, refusals, used token ids, and case search.

Implements the ports of adapters/fhir/inbound/services.py; contract suites run on these and on the tests' fakes.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from adapters.fhir.inbound.services import Resource, Stored, Subscription
from adapters.fhir.wire.subscription_rules import ended
from gateway.core.envelope import Raw, Reception
from gateway.core.errors import Issue
from gateway.core.exact_json import dumps, loads
from gateway.core.ports import Cipher
from gateway.infra.postgres import SYSTEM, Connection, Database, Queries
from gateway.stages.decide import from_json
from gateway.stages.revise import standing
from gateway.store import events
from gateway.store.cases import CaseStore
from mappings.inquire import FoundCase

SQL = Queries(Path(__file__).parent / "sql" / "edges.sql")


def _now() -> datetime:
    return datetime.now(UTC)


def _identity(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class PostgresSubscriptions:
    """The Subscriptions port."""

    database: Database
    cipher: Cipher
    clock: Callable[[], datetime] = _now

    def _of(self, row: asyncpg.Record) -> Subscription:
        resource = loads(self.cipher.decrypt(row["tenant"], row["resource"]))
        over = ended(resource, row["updated"], self.clock())
        return Subscription(
            id=str(row["id"]),
            tenant=row["tenant"],
            client=row["client"],
            pas_version=row["pas_version"],
            organizations=tuple(row["organizations"]),
            resource=resource,
            status="off" if over else row["status"],
            version=row["version"],
            events=row["events"],
            updated=row["updated"],
            error=row["error"],
        )

    async def create(
        self, tenant: str, client: str, pas_version: str, organizations: Sequence[str], resource: Resource
    ) -> Subscription:
        """A new one with status `requested`."""
        identity = uuid.uuid4()
        sealed = self.cipher.encrypt(tenant, dumps(resource | {"id": str(identity)}))
        async with self.database.transaction(tenant) as connection:
            row = await connection.fetchrow(
                SQL.create_subscription, identity, tenant, client, pas_version, list(organizations), sealed
            )
        return self._of(row)  # type: ignore[arg-type]  # an INSERT … RETURNING has its row

    async def update(
        self, tenant: str, client: str, identity: str, organizations: Sequence[str], resource: Resource
    ) -> Subscription | None:
        """Replace the resource; None: not this client's."""
        known = _identity(identity)
        if known is None:
            return None
        sealed = self.cipher.encrypt(tenant, dumps(resource | {"id": identity}))
        async with self.database.transaction(tenant) as connection:
            row = await connection.fetchrow(SQL.update_subscription, known, tenant, client, list(organizations), sealed)
        return self._of(row) if row else None

    async def read(self, tenant: str, client: str, identity: str) -> Subscription | None:
        """None for unknown ones and for other clients' ones alike."""
        known = _identity(identity)
        if known is None:
            return None
        async with self.database.transaction(tenant) as connection:
            row = await connection.fetchrow(SQL.read_subscription, known, tenant, client)
        return self._of(row) if row else None

    async def find(self, tenant: str, identity: str) -> Subscription | None:
        """Any client's, for delivery."""
        async with self.database.transaction(tenant) as connection:
            row = await connection.fetchrow(SQL.find_subscription, uuid.UUID(identity))
        return self._of(row) if row else None

    async def owned(
        self, tenant: str, client: str, pas_version: str, identities: Sequence[str], limit: int
    ) -> Sequence[Subscription]:
        """This client's at one PAS endpoint, by id; of those named, where any are named."""
        known = [found for found in map(_identity, identities) if found is not None]
        if identities and not known:
            return ()
        async with self.database.transaction(tenant) as connection:
            rows = await connection.fetch(SQL.owned_subscriptions, tenant, client, pas_version, known, limit)
        return [self._of(row) for row in rows]

    async def told(
        self, tenant: str, client: str, identity: str, since: int, until: int, limit: int
    ) -> Sequence[Resource]:
        """Event notifications of this client's subscription as they were sent, by number."""
        known = _identity(identity)
        if known is None:
            return ()
        async with self.database.transaction(tenant) as connection:
            rows = await connection.fetch(SQL.told, known, tenant, client, since, until, limit)
        return [loads(self.cipher.decrypt(tenant, row["body"])) for row in rows]

    async def delete(self, tenant: str, client: str, identity: str) -> bool:
        """False: not this client's."""
        known = _identity(identity)
        if known is None:
            return False
        async with self.database.transaction(tenant) as connection:
            return await connection.fetchval(SQL.delete_subscription, known, tenant, client) is not None

    async def mark(self, tenant: str, identity: str, status: str, error: str = "") -> None:
        """Set the status."""
        async with self.database.transaction(tenant) as connection:
            await connection.execute(SQL.mark_subscription, uuid.UUID(identity), tenant, status, error)

    async def next_event(self, tenant: str, identity: str, key: str) -> int:
        """The event's number, without gaps; the same key gets the same number again."""
        known = uuid.UUID(identity)
        async with self.database.transaction(tenant) as connection:
            await connection.execute(SQL.lock_subscription, known)
            number = await connection.fetchval(SQL.event_number, known, key)
            if number is None:
                number = await connection.fetchval(SQL.count_event, known, tenant)
                await connection.execute(SQL.keep_event, known, tenant, key, number)
            return int(number)

    async def watching(self, tenant: str, organization: str) -> Sequence[Subscription]:
        """Active subscriptions for a sending system."""
        async with self.database.transaction(tenant) as connection:
            found = [self._of(row) for row in await connection.fetch(SQL.watching, tenant, organization)]
        return [subscription for subscription in found if subscription.status == "active"]


async def watching_client(
    connection: Connection, tenant: str, client: str, organizations: Sequence[str]
) -> Sequence[str]:
    """Ids of active subscriptions of a client, or for one of its sending systems."""
    rows = await connection.fetch(SQL.watching_client, tenant, client, list(organizations))
    return [str(row["id"]) for row in rows]


@dataclass(frozen=True, slots=True)
class PostgresIssued:
    """The Issued port."""

    database: Database
    cipher: Cipher

    async def save(self, tenant: str, client: str, resources: Sequence[Resource]) -> None:
        """Keep resources under their type and id."""
        # Two of one id in one answer would be refused; the later one stands, as when they were kept one by one.
        each = {(str(row["resourceType"]), str(row["id"])): dumps(row) for row in resources}
        async with self.database.transaction(tenant) as connection:
            await connection.execute(
                SQL.issue,
                tenant,
                client,
                [kind for kind, _ in each],
                [identity for _, identity in each],
                [hashlib.sha256(plain).hexdigest() for plain in each.values()],
                [self.cipher.encrypt(tenant, plain) for plain in each.values()],
            )

    async def read(self, tenant: str, client: str, resource_type: str, identity: str) -> Stored | None:
        """The newest version; None for unknown ones and for other clients' ones alike."""
        async with self.database.transaction(tenant) as connection:
            row = await connection.fetchrow(SQL.read_issued, tenant, client, resource_type, identity)
        if row is None:
            return None
        resource = loads(self.cipher.decrypt(tenant, row["resource"]))
        return Stored(resource=resource, version=row["version"], updated=row["updated"])


@dataclass(frozen=True, slots=True)
class PostgresUsedOnce:
    """The JtiStore port: a token id is good for one use across all processes."""

    database: Database

    async def use(self, issuer: str, jti: str, expires_at: datetime) -> bool:
        """True the first time."""
        async with self.database.transaction(SYSTEM) as connection:
            return await connection.fetchval(SQL.use_once, f"jti:{issuer}", jti, expires_at) is not None


@dataclass(frozen=True, slots=True)
class PostgresRefusals:
    """The Refusals port."""

    database: Database
    cipher: Cipher

    async def __call__(self, raw: Raw, reception: Reception, issues: Sequence[Issue]) -> None:
        """Record one refusal."""
        async with self.database.transaction(reception.tenant) as connection:
            await connection.execute(
                SQL.refuse,
                reception.tenant,
                reception.source,
                [issue.code for issue in issues],
                [issue.location for issue in issues],
                raw.size,
                self.cipher.encrypt(reception.tenant, raw.data or b""),
                reception.received_at,
            )


@dataclass(frozen=True, slots=True)
class PostgresCaseSearch:
    """The Cases port: authorizations, whatever rail they came by."""

    cases: CaseStore
    pended: Callable[[str, int, Resource, datetime], Any]
    """A4 for every requested item, for a case that has no decision yet."""

    async def candidates(self, tenant: str, keys: Sequence[tuple[str, ...]], limit: int) -> Sequence[FoundCase]:
        """Cases under any of these keys in their current state, newest first."""
        found: dict[str, None] = {}
        for kind, *parts in keys:
            for identity in await self.cases.find(tenant, kind, tuple(parts), limit):
                found.setdefault(identity)
        async with self.cases.database.transaction(tenant) as connection:
            return [await self._found(connection, identity) for identity in list(found)[:limit]]

    async def awaits(self, tenant: str, tracking_id: str, administrative_reference: str) -> bool:
        """Whether a case asked for attachments under this tracking id (and reference, where one is given)."""
        waiting = set(await self.cases.find(tenant, "attachment-control", (tracking_id,)))
        if administrative_reference:
            waiting &= set(await self.cases.find(tenant, "administrative-reference", (administrative_reference,)))
        return bool(waiting)

    async def _found(self, connection: Connection, identity: str) -> FoundCase:
        case = await self.cases.lock(connection, identity)
        stream = await events.stream(connection, self.cases.cipher, identity)
        decisions = [
            from_json(event.sealed["decision"]) for event in stream if event.type == "DecisionMade" and event.sealed
        ]
        current = standing(decisions) or (decisions[-1] if decisions else None)
        refused = current is not None and current is not decisions[-1]
        context = case.context.get("standing", case.context) if refused else case.context
        request = context["resource"] if context["reply"].get("rail") == "fhir-pas" else None
        numbers = dict.fromkeys(
            number
            for decision in decisions
            for number in (decision.authorization_number, decision.administrative_reference)
            if number
        )
        return FoundCase(
            facts=context["facts"],
            decision=current or self.pended(identity, 0, request or {}, case.received_at),
            npis=tuple(context["reply"].get("npis", ())),
            request_bundle=request,
            numbers=tuple(numbers),
        )
