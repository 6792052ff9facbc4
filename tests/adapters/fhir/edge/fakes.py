"""Fakes of the edge's services, and a real server around them. The stores follow the contracts in contracts.py."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import httpx
import orjson

from adapters.fhir.inbound import Advice, FhirServices, Stored, Subscription, app
from adapters.fhir.outbound import RestHookSender, channel_target
from adapters.fhir.settings import FhirSettings
from adapters.fhir.wire.subscription_rules import ended
from gateway.core.envelope import Envelope, Raw, Reception
from gateway.core.errors import DeliveryError, GatewayError, Issue
from gateway.core.ports import Codec, Decision, ItemDecision, Outbound
from gateway.infra.http import HttpSettings, serve
from gateway.security.bearer import Authenticator, DemoToken
from gateway.security.principal import Principal
from gateway.testing import FixedClock, MemoryAccept
from mappings import inquire
from mappings.decision_to_claimresponse import pended, render
from mappings.fhir_codec import FhirCodec
from mappings.subscription_notification import events_bundle, status_bundle
from mappings.subscription_notification import render as render_notification

TOKEN = "demo-token"
ACTIONS = frozenset({"A1", "A2", "A3", "A4", "A6", "C", "CT", "NA"})


@dataclass
class MemoryIssued:
    """What was issued, per client."""

    clock: Callable[[], datetime]
    rows: dict[tuple[str, str, str, str], Stored] = field(default_factory=dict)
    failure: GatewayError | None = None

    async def save(self, tenant: str, client: str, resources: Sequence[dict[str, Any]]) -> None:
        if self.failure:
            raise self.failure
        for resource in resources:
            key = (tenant, client, resource["resourceType"], resource["id"])
            before = self.rows.get(key)
            if before is None or before.resource != resource:
                version = before.version + 1 if before else 1
                self.rows[key] = Stored(resource=resource, version=version, updated=self.clock())

    async def read(self, tenant: str, client: str, resource_type: str, identity: str) -> Stored | None:
        return self.rows.get((tenant, client, resource_type, identity))


@dataclass
class MemorySubscriptions:
    """Subscriptions in memory."""

    clock: Callable[[], datetime]
    rows: dict[tuple[str, str], Subscription] = field(default_factory=dict)
    numbers: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    sent: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    """Notifications by subscription and number."""

    async def create(
        self, tenant: str, client: str, pas_version: str, organizations: Sequence[str], resource: dict[str, Any]
    ) -> Subscription:
        identity = str(uuid.uuid4())
        stored = Subscription(
            id=identity,
            tenant=tenant,
            client=client,
            pas_version=pas_version,
            organizations=tuple(organizations),
            resource={**resource, "id": identity},
            status="requested",
            version=1,
            events=0,
            updated=self.clock(),
        )
        self.rows[tenant, stored.id] = stored
        return stored

    async def update(
        self, tenant: str, client: str, identity: str, organizations: Sequence[str], resource: dict[str, Any]
    ) -> Subscription | None:
        before = await self.read(tenant, client, identity)
        if before is None:
            return None
        changed = replace(
            before,
            organizations=tuple(organizations),
            resource={**resource, "id": identity},
            status="requested",
            error="",
            version=before.version + 1,
            updated=self.clock(),
        )
        self.rows[tenant, identity] = changed
        return changed

    async def read(self, tenant: str, client: str, identity: str) -> Subscription | None:
        row = self.rows.get((tenant, identity))
        if row is None or row.client != client:
            return None
        return replace(row, status="off") if ended(row.resource, row.updated, self.clock()) else row

    async def owned(
        self, tenant: str, client: str, pas_version: str, identities: Sequence[str], limit: int
    ) -> Sequence[Subscription]:
        mine = [identity for (owner, identity), row in self.rows.items() if owner == tenant and row.client == client]
        wanted = sorted(identity for identity in mine if not identities or identity in identities)
        found = [row for identity in wanted if (row := await self.read(tenant, client, identity)) is not None]
        return [row for row in found if row.pas_version == pas_version][:limit]

    async def told(
        self, tenant: str, client: str, identity: str, since: int, until: int, limit: int
    ) -> Sequence[dict[str, Any]]:
        if await self.read(tenant, client, identity) is None:
            return ()
        sent = self.sent.get(identity, {})
        return [sent[number] for number in sorted(sent) if since <= number <= until][:limit]

    async def delete(self, tenant: str, client: str, identity: str) -> bool:
        if await self.read(tenant, client, identity) is None:
            return False
        del self.rows[tenant, identity]
        return True

    async def mark(self, tenant: str, identity: str, status: str, error: str = "") -> None:
        if (tenant, identity) in self.rows:
            self.rows[tenant, identity] = replace(self.rows[tenant, identity], status=status, error=error)

    async def next_event(self, tenant: str, identity: str, key: str) -> int:
        given = self.numbers.setdefault((tenant, identity), {})
        number = given.setdefault(key, len(given) + 1)
        self.rows[tenant, identity] = replace(self.rows[tenant, identity], events=len(given))
        return number

    async def watching(self, tenant: str, organization: str) -> Sequence[Subscription]:
        return [
            row
            for (owner, _), row in self.rows.items()
            if owner == tenant
            and row.status == "active"
            and organization in row.organizations
            and not ended(row.resource, row.updated, self.clock())
        ]


@dataclass
class DirectNotifier:
    """Sends handshakes at once, in a task; what the delivery stage does with patience."""

    subscriptions: MemorySubscriptions
    http: httpx.AsyncClient
    base_url: str
    clock: Callable[[], datetime]
    running: list[asyncio.Task[None]] = field(default_factory=list)
    failure: GatewayError | None = None

    async def handshake(self, subscription: Subscription) -> None:
        if self.failure:
            raise self.failure
        self.running.append(asyncio.create_task(self._send(subscription)))

    async def _send(self, subscription: Subscription) -> None:
        resource = {**subscription.resource, "id": subscription.id}
        base = f"{self.base_url}/fhir/pas/{subscription.pas_version}"
        bundle = render_notification("handshake", resource, now=self.clock(), base_url=base)
        outbound = Outbound(
            endpoint=f"subscription/{subscription.id}",
            data=orjson.dumps(bundle),
            media_type=resource["channel"]["payload"],
            idempotency_key=f"handshake-{subscription.id}-{subscription.version}",
        )

        async def lookup(_: Outbound) -> Any:
            return channel_target(resource)

        try:
            await RestHookSender(self.http, lookup, seconds=2).send(outbound)
            await self.subscriptions.mark(subscription.tenant, subscription.id, "active")
        except DeliveryError as error:
            await self.subscriptions.mark(subscription.tenant, subscription.id, "error", error.message)


@dataclass
class ScriptedDecide:
    """Decides each item by its service code, SVC-<action>, all others A1; SVC-SLOW sleeps, SVC-NONE is not decided."""

    clock: Callable[[], datetime]
    slow_seconds: float = 60
    failure: GatewayError | None = None
    asked: list[Envelope] = field(default_factory=list)
    finished: int = 0

    async def __call__(self, envelope: Envelope, *, timeout: float) -> Decision | None:
        self.asked.append(envelope)
        if self.failure:
            raise self.failure
        lines = envelope.facts["services"]
        if lines[0]["code"] == "SVC-SLOW":
            await asyncio.sleep(self.slow_seconds)
            self.finished += 1
        if lines[0]["code"] == "SVC-NONE":
            return None
        actions = [str(line["code"]).removeprefix("SVC-") for line in lines]
        actions = [action if action in ACTIONS else "A1" for action in actions]
        note = {"A3": "Not shown to be necessary.", "CT": "Call us."}
        items = tuple(
            ItemDecision(
                sequence=line["sequence"],
                action=action,
                note=note.get(action, ""),
                reasons=("0V",) if action == "A3" else (),
                authorization_number="AUTH1" if action in {"A1", "A6"} else "",
                changes={"quantity": 1} if action in {"A6", "A2"} else {},
            )
            for line, action in zip(lines, actions, strict=True)
        )
        return Decision(
            case_id=envelope.subject,
            version=2,
            decided_at=self.clock(),
            action=actions[0],
            items=items,
            authorization_number="AUTH1" if actions[0] in {"A1", "A6"} else "",
        )


@dataclass
class MemoryCases:
    """Cases as the inquiry mapping wants them."""

    cases: list[inquire.FoundCase] = field(default_factory=list)
    asked: list[Sequence[tuple[str, ...]]] = field(default_factory=list)
    tracking: set[str] = field(default_factory=lambda: {"ACN-1"})

    async def candidates(self, tenant: str, keys: Sequence[tuple[str, ...]], limit: int) -> Sequence[Any]:
        self.asked.append(keys)
        return self.cases[:limit]

    async def awaits(self, tenant: str, tracking_id: str, administrative_reference: str) -> bool:
        return tracking_id in self.tracking


@dataclass
class MemoryRefusals:
    """What was refused."""

    rows: list[tuple[Raw, Reception, Sequence[Issue]]] = field(default_factory=list)

    async def __call__(self, raw: Raw, reception: Reception, issues: Sequence[Issue]) -> None:
        self.rows.append((raw, reception, issues))


@dataclass
class World:
    """A running edge and all that is behind it."""

    url: str = ""
    http: httpx.AsyncClient = None  # type: ignore[assignment]
    clock: FixedClock = field(default_factory=FixedClock)
    accept: MemoryAccept = field(default_factory=MemoryAccept)
    cases: MemoryCases = field(default_factory=MemoryCases)
    refusals: MemoryRefusals = field(default_factory=MemoryRefusals)
    advice: Callable[[dict[str, Any]], Advice] = field(default=lambda _: Advice())
    decide: ScriptedDecide = field(init=False)
    issued: MemoryIssued = field(init=False)
    subscriptions: MemorySubscriptions = field(init=False)
    notifier: DirectNotifier = field(init=False)
    application: Any = None

    def __post_init__(self) -> None:
        self.decide = ScriptedDecide(self.clock)
        self.issued = MemoryIssued(self.clock)
        self.subscriptions = MemorySubscriptions(self.clock)

    async def advise(self, tenant: str, order: dict[str, Any], prefetch: dict[str, Any]) -> Advice:
        return self.advice(order)

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.http.post(path, content=content, headers={"content-type": "application/fhir+json", **headers})

    async def submit(self, bundle: Any, **headers: str) -> httpx.Response:
        return await self.post("/fhir/pas/2.2.1/Claim/$submit", bundle, **headers)


def codecs(operation: str, *, version: str, strict: bool, base_url: str) -> Codec:
    return FhirCodec(operation=operation, version=version, strict=strict, base_url=base_url)


def demo_principal(**changes: Any) -> Principal:
    given = {"tenant": "demo", "client": "demo", "scopes": frozenset({"system/*.cruds"}), **changes}
    return Principal(**{"organizations": frozenset({"1234567893"}), **given})


@asynccontextmanager
async def running(
    authenticate: Any = None, tokens: Any = None, http: HttpSettings | None = None, **settings: Any
) -> AsyncIterator[World]:
    """An edge on a free port of 127.0.0.1, ended with the test."""
    world = World()
    listener = http or HttpSettings(address="127.0.0.1:0", grace_seconds=1)
    base_url = settings.setdefault("base_url", "http://gateway.example")
    hooks = httpx.AsyncClient(trust_env=False)
    world.notifier = DirectNotifier(world.subscriptions, hooks, base_url, world.clock)
    demo = DemoToken(TOKEN, demo_principal())
    services = FhirServices(
        authenticate=authenticate or Authenticator(demo=demo),
        tokens=tokens,
        codecs=codecs,
        accept=world.accept,
        decide=world.decide,
        render=render,
        pended=pended,
        render_status=status_bundle,
        render_events=events_bundle,
        inquiry=inquire,
        cases=world.cases,
        issued=world.issued,
        subscriptions=world.subscriptions,
        notifier=world.notifier,
        advise=world.advise,
        refusals=world.refusals,
        clock=world.clock,
    )
    world.application = app(services, FhirSettings(**{"profile": "demo", **settings}))
    stop = asyncio.Event()
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(world.application, listener, stop, ready=started.set_result))
    world.url = await asyncio.wait_for(started, 20)
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=world.url, headers=headers, trust_env=False, timeout=20) as client, hooks:
        world.http = client
        try:
            yield world
        finally:
            stop.set()
            await client.aclose()
            await asyncio.wait_for(server, 30)
            await asyncio.gather(*world.notifier.running)
