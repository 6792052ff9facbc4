"""Our subscriptions at payers: kept alive, and what they tell us taken in.

One subscription per payer, made when there is none, looked at again and again, made anew when it is off, in error, gone
or silent. What was only named is read; where events are missing every open case of that payer is inquired about. A
payer without subscriptions is no fault: its cases are inquired about by their own timers.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

from temporalio.client import Client

from adapters.fhir.outbound import FhirSender
from adapters.fhir.settings import PayerServer
from adapters.fhir.wire import FHIR_JSON, parse, serialize
from adapters.fhir.wire.notification import Notice, read_status
from gateway.app.asking_fhir import server_client
from gateway.app.core import App, now
from gateway.core.envelope import Reception
from gateway.core.errors import DeliveryError, EndpointRefused, GatewayError, MalformedMessage
from gateway.core.ports import Accept
from gateway.infra.telemetry import PAYER_SUBSCRIPTION, logger
from gateway.infra.temporal import inquire_now
from gateway.partners import Partner
from gateway.security.clients import fingerprint
from gateway.security.principal import Principal
from gateway.stages.ask import RESPONSE
from gateway.store.payer_watches import News, PayerWatches, Watch
from mappings import payer_pas
from mappings.payer_subscription import subscription

PATIENCE = timedelta(minutes=5)
"""A subscription that is still not active this long after it was made will not be."""
BEATS_MISSED = 3
GONE = frozenset({"HTTP 404", "HTTP 410"})
NOT_SERVED = frozenset({"HTTP 405", "HTTP 501"})
ENDED = frozenset({"off", "error", "entered-in-error"})

log = logger("payer_watch")


def watched(app: App) -> Mapping[str, Partner]:
    """Partners we are to be told by, by name."""
    return {
        partner.name: partner
        for partner in app.partners.fhir
        if partner.fhir is not None and partner.ask is not None and partner.ask.by == "fhir" and partner.fhir.subscribe
    }


def tenant_of(app: App, partner: Partner) -> str:
    """The tenant whose cases a partner's notifications are about: the only one it is asked for, else the main one."""
    tenants = partner.ask.tenants if partner.ask is not None else ()
    return tenants[0] if len(tenants) == 1 else app.settings.tenant


@dataclass(slots=True)
class Notices:
    """The PayerNotices port, and the keeper of the subscriptions behind it."""

    app: App
    accept: Accept
    client: Client
    watches: PayerWatches = field(init=False)
    partners: Mapping[str, Partner] = field(init=False)
    senders: dict[str, FhirSender] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    woken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.watches = PayerWatches(self.app.database, self.app.cipher)
        self.partners = watched(self.app)

    def sender(self, partner: str, authorization: str | None, certificates: Sequence[str]) -> Principal | None:
        """Who shows the secret, or the certificate, of our subscription at this partner."""
        known = self.partners.get(partner)
        if known is None or known.fhir is None:
            return None
        if certificates and fingerprint(certificates[0]) in known.fhir.notifier_certificates:
            method = "certificate"
        elif hmac.compare_digest((authorization or "").encode(), self._secret(known).encode()):
            method = "token"
        else:
            return None
        return Principal(tenant=tenant_of(self.app, known), client=partner, method=method)

    def _secret(self, partner: Partner) -> str:
        """What our subscription tells a payer to show: derived, so that no process has to be told it."""
        token = self.app.tokens(tenant_of(self.app, partner), "payer-notification", (partner.name,))
        return f"Bearer {token}"

    async def take(self, notice: Notice, reception: Reception) -> None:
        """Take in what a notification shows, remember what it only names. Raises Unavailable, MalformedMessage."""
        watch = Watch(tenant=reception.tenant, partner=reception.client)
        intakes = [payer_pas.answer_of(one.resource, reception) for one in notice.events if one.resource is not None]
        for intake in intakes:
            await self.accept(intake, reception)
        for one in notice.events:
            if one.resource is None and one.focus:
                await self.watches.keep_news(watch, one.focus, reception.received_at)
            elif one.resource is None:
                await self.watches.fall_behind(watch)
        known = await self.watches.find(watch.tenant, watch.partner)
        if known is not None and (not known.subscription or notice.subscription in ("", known.subscription)):
            numbers = [one.number for one in notice.events if one.number]
            await self.watches.heard(watch, numbers, notice.since_start, reception.received_at)
        self.woken.add(watch.partner)

    async def tick(self) -> None:
        """What is due now, for all partners at once; one that fails does not hold up the others."""
        await asyncio.gather(*(self._serve(partner) for partner in self.partners.values()))

    async def _serve(self, partner: Partner) -> None:
        server = partner.fhir
        if server is None:
            return
        tenant = tenant_of(self.app, partner)
        try:
            if self.due.get(partner.name, 0.0) <= monotonic():
                self.due[partner.name] = monotonic() + server.look_seconds
                watch = await self.watches.lease(tenant, partner.name, now(), server.look_seconds * 0.9)
                if watch is not None:
                    await self._look(partner, server, watch)
                self.woken.add(partner.name)
            if partner.name in self.woken:
                self.woken.discard(partner.name)
                await self._catch_up(partner, server, tenant)
        except GatewayError as error:
            log.warning("watch.failed", code=error.code, client=partner.name)

    def _sender(self, partner: Partner, server: PayerServer) -> FhirSender:
        if partner.name not in self.senders:
            self.senders[partner.name] = server_client(server, self.app.settings.profile)
        return self.senders[partner.name]

    async def _look(self, partner: Partner, server: PayerServer, watch: Watch) -> None:
        """Make our subscription where there is none; see whether the one there is still lives."""
        sender = self._sender(partner, server)
        if not watch.subscription:
            await self._make(partner, server, sender, watch)
            return
        try:
            status, events = await _status(sender, watch.subscription)
        except EndpointRefused as error:
            if error.location not in GONE:
                raise
            status, events = "off", 0
        late = status == "requested" and watch.made_at is not None and now() - watch.made_at > PATIENCE
        if status in ENDED or late or self._silent(server, watch):
            log.warning("watch.ended", status=status, client=partner.name)
            await self.watches.lost(watch, status, now())
            try:
                await sender.call("DELETE", f"Subscription/{watch.subscription}")
            except DeliveryError:
                log.info("watch.not_deleted", client=partner.name)
            await self._make(partner, server, sender, watch)
            return
        await self.watches.looked(watch, status, events, now())

    def _silent(self, server: PayerServer, watch: Watch) -> bool:
        """Whether heartbeats were to come and did not."""
        since = watch.heard_at or watch.made_at
        longest = timedelta(seconds=server.heartbeat * BEATS_MISSED)
        return bool(server.heartbeat) and since is not None and now() - since > longest

    async def _make(self, partner: Partner, server: PayerServer, sender: FhirSender, watch: Watch) -> None:
        wanted = subscription(
            version=server.version,
            organization=server.organization,
            endpoint=f"{self.app.settings.public_url.rstrip('/')}/fhir/pas/notifications/{partner.name}",
            authorization=self._secret(partner),
            heartbeat=server.heartbeat,
        )
        made = await sender.call("POST", "Subscription", serialize(wanted), {"content-type": FHIR_JSON})
        resource = parse(made.data, FHIR_JSON) if made.data else {}
        location = made.headers.get("location", "").partition("/_history")[0].rstrip("/")
        identity = str(resource.get("id") or location.rpartition("/")[2])
        if not identity:
            raise MalformedMessage("the payer does not say which subscription it has made")
        await self.watches.made(watch, identity, str(resource.get("status") or "requested"), now())
        log.info("watch.made", client=partner.name)

    async def _catch_up(self, partner: Partner, server: PayerServer, tenant: str) -> None:
        """Read what was named; inquire about every open case where something is missing."""
        watch = await self.watches.find(tenant, partner.name)
        if watch is None:
            return
        PAYER_SUBSCRIPTION.labels(partner.name).set(watch.status == "active")
        for news in await self.watches.news(watch):
            if not await self._read(self._sender(partner, server), server, watch, news):
                await self.watches.fall_behind(watch)
            await self.watches.drop_news(watch, news.digest)
        watch = await self.watches.find(tenant, partner.name) or watch
        if not watch.behind:
            return
        await self.watches.caught_up(watch)
        found = await self.watches.open_cases(watch)
        log.info("watch.behind", client=partner.name, count=len(found))
        for subject, run in found:
            await inquire_now(self.client, subject, run)

    async def _read(self, sender: FhirSender, server: PayerServer, watch: Watch, news: News) -> bool:
        """Read one resource at the payer, and nowhere else. False: it shows no decision."""
        path = news.focus.removeprefix(f"{server.base_url}/")
        reception = Reception(
            tenant=watch.tenant, source=f"fhir/{watch.partner}", received_at=news.received_at, client=watch.partner
        )
        try:
            found = await sender.call("GET", path)
            intake = payer_pas.read_answer(found.data, reception)
        except (EndpointRefused, MalformedMessage):
            return False
        if intake is None or intake.type != RESPONSE:
            return False
        await self.accept(intake, reception)
        return True


async def _status(sender: FhirSender, identity: str) -> tuple[str, int]:
    """(status, events sent) of our subscription. Raises EndpointRefused, EndpointUnavailable, MalformedMessage."""
    try:
        answered = await sender.call("GET", f"Subscription/{identity}/$status")
        status, events = read_status(parse(answered.data, FHIR_JSON))
    except EndpointRefused as error:
        if error.location not in NOT_SERVED:
            raise
        status, events = "", 0
    if not status:
        answered = await sender.call("GET", f"Subscription/{identity}")
        status = str(parse(answered.data, FHIR_JSON).get("status") or "requested")
    return status, events
