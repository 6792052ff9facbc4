"""Senders, renderers and ways back: how a decision leaves by the rail its request came on."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import orjson

from adapters.fhir.inbound.services import Subscription
from adapters.fhir.inbound.submit import kept
from adapters.fhir.outbound import RestHookSender, Target, channel_target
from adapters.fhir.wire import FHIR_JSON, serialize
from adapters.hl7.outbound import MllpSender
from adapters.sftp.inbound import ENCRYPTED, pgp_keys, target_of
from adapters.sftp.outbound import SftpSender
from gateway.app import ehr, x12
from gateway.app.core import App, now
from gateway.app.core_later import PICKUP, PICKUPS_PER_SECOND, LeftForPickUp
from gateway.core.errors import EndpointRefused
from gateway.core.ids import new_id
from gateway.core.ports import Outbound, Sender
from gateway.infra import pgp
from gateway.infra.http import ClientSettings, client, client_transport
from gateway.infra.postgres import Connection
from gateway.partners import Partner, Partners
from gateway.security.egress import EgressPolicy, GuardedTransport, system_resolve
from gateway.security.secrets import secret
from gateway.stages.deliver import Letter
from gateway.store.cases import Case
from gateway.store.fhir_edge import PostgresIssued, PostgresSubscriptions, watching_client
from mappings import subscription_notification
from mappings.decision_to_claimresponse import render as claim_response
from mappings.fhir_to_hl7.authorization import render_answer

NOTIFY = "fhir-notify"
"""Endpoint of rest-hook notifications: `fhir-notify.<subscription id>`; one queue and one rate for all of them."""

PAS_VERSION = "2.2.1"
"""Of the PAS endpoint that takes what an EHR is asked for."""

PAS_HELD = timedelta(seconds=12)
"""How long the edge holds a `$submit` (`Settings.fast_lane_seconds`, at most); then it has said "pended"."""


def base_url(app: App, version: str) -> str:
    """The public address of our PAS endpoint."""
    return f"{app.settings.public_url.rstrip('/')}/fhir/pas/{version}"


async def ways_back(partners: Partners, connection: Connection, case: Case, lane: str) -> tuple[str, ...]:
    """Who must hear of a decision, found in the transaction that records it.

    Nobody when the caller waits for it (`lane` is fast for a run's first decision), but only as long as it does: after
    that the decision would reach nobody.
    """
    reply = case.context["reply"]
    if lane == "fast" and _waits(case.context):
        return ()
    if reply.get("rail") == "fhir-pas":
        found = await watching_client(connection, case.tenant, reply["client"], _organizations(case))
        return tuple(f"{NOTIFY}.{identity}" for identity in found)
    endpoint = ehr.way_back(partners, case) if reply.get("rail") == "fhir-r4" else str(reply.get("endpoint", ""))
    return (endpoint,) if endpoint else ()


def _waits(context: Mapping[str, Any]) -> bool:
    """Whether the caller still holds the line: till the moment its request names, or while PAS clients are held."""
    until = context["reply"].get("waitsUntil")
    received = context.get("facts", {}).get("request.receivedAt")
    if until is None and context["reply"].get("rail") == "fhir-pas" and received:
        return now() < datetime.fromisoformat(received) + PAS_HELD
    return until is None or now() < datetime.fromisoformat(until)


def _organizations(case: Case) -> list[str]:
    submitter = case.context["facts"].get("request.submitter")
    return [str(submitter)] if submitter else []


@dataclass(frozen=True, slots=True)
class Notifications:
    """Rest-hook notifications: rendering, and where they go now."""

    app: App
    subscriptions: PostgresSubscriptions
    issued: PostgresIssued

    async def render(self, letter: Letter) -> Outbound:
        """The event notification of one decision for one subscription."""
        subscription = await self._subscription(letter.tenant, letter.endpoint)
        key = f"{letter.case_id}:{letter.decision.version}"
        number = await self.subscriptions.next_event(letter.tenant, subscription.id, key)
        base = base_url(self.app, subscription.pas_version)
        response = claim_response(
            letter.context["resource"], letter.decision, version=subscription.pas_version, base_url=base
        )
        # What a notification names can be read at the address it names (id-only: it has to be).
        await self.issued.save(letter.tenant, subscription.client, kept(response))
        event = subscription_notification.Event(number=number, at=letter.decision.decided_at, response=response)
        bundle = subscription_notification.render(
            "event-notification", subscription.resource, now=now(), base_url=base, events=[event]
        )
        return self._outbound(letter.endpoint, bundle, subscription)

    async def handshake(self, tenant: str, identity: str) -> Outbound:
        """The handshake of a subscription."""
        subscription = await self._subscription(tenant, f"{NOTIFY}.{identity}")
        return self._alive("handshake", subscription, subscription.updated)

    async def heartbeat(self, tenant: str, identity: str, version: int) -> Outbound | None:
        """A heartbeat of one version of a subscription; None when that is active no more."""
        subscription = await self.subscriptions.find(tenant, identity)
        if subscription is None or subscription.version != version or subscription.status != "active":
            return None
        return self._alive("heartbeat", subscription, now())

    def _alive(self, kind: subscription_notification.Kind, subscription: Subscription, at: datetime) -> Outbound:
        """A notification without an event."""
        bundle = subscription_notification.render(
            kind,
            subscription.resource,
            now=at,
            base_url=base_url(self.app, subscription.pas_version),
            events_since_start=subscription.events,
        )
        return self._outbound(f"{NOTIFY}.{subscription.id}", bundle, subscription)

    def _outbound(self, endpoint: str, bundle: dict[str, Any], subscription: Subscription) -> Outbound:
        media_type = str(subscription.resource["channel"].get("payload") or FHIR_JSON)
        return Outbound(
            endpoint=endpoint,
            data=serialize(bundle, media_type),
            media_type=media_type,
            idempotency_key=str(uuid.uuid5(uuid.NAMESPACE_URL, orjson.dumps(bundle["id"]).decode())),
            attributes={"tenant": subscription.tenant},
        )

    async def lookup(self, outbound: Outbound) -> Target | None:
        """Address and headers of the subscription now; None when it ended."""
        identity = outbound.endpoint.split(".", 1)[1]
        found = await self.subscriptions.find(outbound.attributes["tenant"], identity)
        return channel_target(found.resource) if found is not None and found.status != "off" else None

    async def _subscription(self, tenant: str, endpoint: str) -> Subscription:
        found = await self.subscriptions.find(tenant, endpoint.split(".", 1)[1])
        if found is None or found.status == "off":
            raise EndpointRefused("the subscription has ended")
        return found


def guarded_client(app: App) -> httpx.AsyncClient:
    """The HTTP client for addresses that partners gave us: public ones only, outside the demo profile."""
    settings = ClientSettings()
    policy = EgressPolicy(demo=app.settings.profile == "demo")
    transport = GuardedTransport(client_transport(settings), policy, system_resolve)
    return client(settings, transport=transport)


def senders(app: App, notifications: Notifications) -> Mapping[str, Sender]:
    """Sender by endpoint: `sftp/<partner>`, `mllp/<partner>`, `ehr/<partner>`, `fhir-notify`."""
    found: dict[str, Sender] = {
        NOTIFY: RestHookSender(guarded_client(app), notifications.lookup),
        PICKUP: LeftForPickUp(),
        **ehr.senders(app),
    }
    for partner in app.partners.all:
        if partner.sftp is not None:
            found[f"sftp/{partner.name}"] = SftpSender(partner.sftp, target_of(partner.sftp, secret))
        if partner.mllp is not None:
            found[f"mllp/{partner.name}"] = MllpSender(
                partner.mllp, identify=lambda: new_id(now()).replace("-", "")[:20]
            )
    return found


Render = Callable[[Letter], Awaitable[Outbound]]


def renderers(app: App, notifications: Notifications) -> Mapping[str, Render]:
    """Renderer by the rail a request came on (`reply.rail`)."""
    return {
        "fhir-pas": notifications.render,
        "x12": encrypted(app.partners.sftp, x12.renderer(app)),
        "hl7v2": render_hl7,
        "fhir-r4": ehr.Write(app.partners, base_url(app, PAS_VERSION)),
    }


Seal = Callable[[Outbound, str], Awaitable[Outbound]]
"""(message, endpoint) → what is sent there."""


def sealing(partners: Iterable[Partner]) -> Seal:
    """Encrypts what goes into a drop that wants PGP; anything else stays as it is."""
    wanting = {
        f"sftp/{partner.name}": partner.sftp.pgp
        for partner in partners
        if partner.sftp is not None and partner.sftp.pgp is not None and partner.sftp.pgp.outbound
    }

    async def seal(outbound: Outbound, endpoint: str) -> Outbound:
        settings = wanting.get(endpoint)
        if settings is None:
            return outbound
        data = await asyncio.to_thread(pgp.encrypt, outbound.data, pgp_keys(settings, secret), sign=settings.sign)
        name = outbound.attributes["fileName"] + ENCRYPTED
        return replace(
            outbound,
            data=data,
            media_type="application/pgp-encrypted",
            attributes={**outbound.attributes, "fileName": name},
        )

    return seal


def encrypted(partners: Iterable[Partner], render: Render) -> Render:
    """Encrypt what goes into a drop that wants PGP, before it is stored: every resend has the same bytes (D10)."""
    seal = sealing(partners)

    async def sealed(letter: Letter) -> Outbound:
        return await seal(await render(letter), letter.endpoint)

    return sealed


async def render_hl7(letter: Letter) -> Outbound:
    """RPA or RRI for an HL7 v2 request."""
    data = render_answer(
        letter.decision,
        base64.b64decode(letter.context["raw"]),
        control_id=f"{letter.case_id[-12:]}{letter.decision.version}",
        at=letter.decision.decided_at,
        charset=letter.context["reply"].get("charset"),
    )
    return Outbound(endpoint=letter.endpoint, data=data, media_type="x-application/hl7-v2+er7", idempotency_key="")


def rates(app: App) -> Mapping[str, float]:
    """Messages per second by endpoint queue; Temporal's server keeps them for all workers together."""
    partners = {
        f"{kind}/{partner.name}": partner.per_second
        for partner in app.partners.all
        for kind in ("sftp", "mllp", "core", "fhir", "ehr")
        if getattr(partner, kind) is not None
    }
    return {NOTIFY: app.settings.notifications_per_second, PICKUP: PICKUPS_PER_SECOND, **partners}
