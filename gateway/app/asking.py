"""Asking partners for the decisions of payers: which partner, which request, which senders."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil

from adapters.soap.outbound import CoreSender
from adapters.x12.outbound import render as render_interchange
from adapters.x12.wire import guide
from adapters.x12.wire.ports import Level, NumberAllocator
from gateway.app import asking_fhir
from gateway.app.asking_fhir import AskByFhir
from gateway.app.batch_results import Fetcher, Receive
from gateway.app.core import App, now
from gateway.app.deliveries import Seal
from gateway.core.errors import Unmappable
from gateway.core.ports import Sender
from gateway.infra.postgres import Connection
from gateway.partners import Asking, Partner
from gateway.security.secrets import secret
from gateway.store import core_batches
from gateway.store.cases import Case
from gateway.store.core_batches import CoreBatch
from gateway.store.deliveries import Deliveries
from gateway.store.x12_ledger import NumbersOn
from mappings.claim_to_pas import claim_first
from mappings.payer_278 import PAYLOAD_TYPE, question
from workflows.inputs import AskInput
from workflows.payer import Question

AT_ONCE, MOST_AT_ONCE = 8, 100
"""Messages under way to one endpoint: usually; and at most, which is what the HTTP client's pool has."""
MODES = {"core": "RealTime", "core-batch": "Batch"}
"""CORE ProcessingMode."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A NumberAllocator that remembers what it gave."""

    numbers: NumberAllocator
    last: dict[str, int] = field(default_factory=dict)

    async def allocate(self, tenant: str, ours: str, partner: str, level: Level, count: int = 1) -> int:
        """The first of `count` numbers that follow each other."""
        self.last[level] = await self.numbers.allocate(tenant, ours, partner, level, count)
        return self.last[level]


@dataclass(frozen=True, slots=True)
class Ask:
    """Renders the request of a case the way its partner is asked."""

    app: App
    by_x12: AskByX12
    by_fhir: AskByFhir

    async def __call__(self, connection: Connection, case: Case, moment: datetime) -> Question:
        """The question. Raises Unmappable, also when no partner is asked for this payer any more."""
        payer = str(case.context["facts"].get("coverage.payer") or "")
        partner = self.app.partners.asked_for(case.tenant, payer)
        if partner is None or partner.ask is None:
            raise Unmappable("no partner is asked for this payer")
        render = self.by_fhir if partner.ask.by == "fhir" else self.by_x12
        return await render(connection, case, moment, partner)


@dataclass(frozen=True, slots=True)
class AskByX12:
    """Renders the 278 request of a case for the partner that decides it."""

    seal: Seal

    async def __call__(self, connection: Connection, case: Case, moment: datetime, partner: Partner) -> Question:
        """The question. Raises Unmappable."""
        if partner.ask is None or partner.x12 is None or case.context["resource"] is None:
            raise Unmappable("no partner is asked for this payer over X12")
        bundle = claim_first(case.context["resource"])
        asked = question(bundle, now=moment, trace_assigner=partner.ask.trace_assigner)
        numbers = Taken(NumbersOn(connection))
        outbound = await render_interchange(
            guide("278_request"), asked.tree, partner.x12, numbers, tenant=case.tenant, now=moment
        )
        interchange, group = str(numbers.last["interchange"]), str(numbers.last["group"])
        attributes = outbound.attributes | transport(partner.ask, moment, PAYLOAD_TYPE)
        outbound = replace(outbound, endpoint=partner.asked_at, attributes=attributes)
        return Question(
            partner=partner.name,
            outbound=await self.seal(outbound, partner.asked_at),
            record=asked.record | {"interchange": interchange, "group": group},
            keys=asked.keys(partner.x12.sender, interchange, group),
            left_out=asked.left_out,
        )


@dataclass(frozen=True, slots=True)
class Expecting:
    """Has the results of a batch fetched (`gateway.app.batch_results`)."""

    app: App

    async def __call__(self, connection: Connection, given: AskInput, key: str) -> None:
        """Note it in the transaction that stores the receipt."""
        partner = next((one for one in self.app.partners.all if one.asked_at == given.endpoint), None)
        if partner is None or partner.ask is None or partner.ask.by != "core-batch":
            return
        moment = now()
        first = moment + timedelta(seconds=partner.ask.results.pause(0))
        await core_batches.expect(
            connection, key=key, tenant=given.tenant, endpoint=given.endpoint, sent_at=moment, next_at=first
        )


def transport(asking: Asking, moment: datetime, payload_type: str) -> dict[str, str]:
    """What a CORE envelope needs to say; nothing for a file."""
    if asking.by not in MODES:
        return {}
    return {
        "payloadType": payload_type,
        "processingMode": MODES[asking.by],
        "timeStamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def at_once(app: App, endpoint: str) -> int:
    """How many messages may be under way to an endpoint: a CORE server thinks while the next ones come at its rate."""
    waits = {f"core/{one.name}": one.per_second * one.core.timeout for one in app.partners.core if one.core is not None}
    waits |= {f"fhir/{one.name}": one.per_second * one.fhir.timeout for one in app.partners.fhir if one.fhir}
    return min(max(AT_ONCE, ceil(waits.get(endpoint, 0))), MOST_AT_ONCE)


def core_senders(app: App) -> Mapping[str, CoreSender]:
    """A sender for the CORE server of each partner that has one."""
    return {
        f"core/{partner.name}": CoreSender(partner.core, secret=secret, clock=now)
        for partner in app.partners.core
        if partner.core is not None
    }


def senders(app: App) -> Mapping[str, Sender]:
    """A sender for the CORE server, and one for the PAS server, of each partner that has one."""
    return {**core_senders(app), **asking_fhir.senders(app)}


def fetcher(app: App, receive: Receive) -> Fetcher:
    """Fetches the results of batches sent to the partners that are asked by CORE batch."""
    partners = {one.asked_at: one for one in app.partners.all if one.ask is not None and one.ask.by == "core-batch"}
    deliveries = Deliveries(app.database, app.cipher)

    async def turn(batch: CoreBatch, pause: float) -> None:
        await asyncio.sleep(await deliveries.attempt(batch.tenant, batch.key, batch.endpoint, pause))

    return Fetcher(
        batches=core_batches.CoreBatches(app.database),
        partners=partners,
        senders={endpoint: found for endpoint, found in core_senders(app).items() if endpoint in partners},
        receive=receive,
        turn=turn,
        clock=now,
    )
