"""Forwarding documents to the payer that was asked, by the rail it was asked on: a 275, or `$submit-attachment`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from adapters.x12.outbound import render as render_interchange
from adapters.x12.wire import guide
from gateway.app.asking import Taken, transport
from gateway.app.asking_fhir import AskByFhir
from gateway.app.core import App
from gateway.app.deliveries import Seal
from gateway.core.errors import Unmappable
from gateway.infra.postgres import Connection
from gateway.partners import Partner
from gateway.store import events
from gateway.store.cases import Case
from gateway.store.x12_ledger import NumbersOn
from mappings.attachment_to_x12_275 import LONGEST, attachments, of_parcel
from mappings.brought_documents import Parcel
from mappings.claim_to_pas import claim_first
from mappings.x12_intakes import sent_key
from workflows.forwarding import Shipment
from workflows.payers_answer import numbers_known


@dataclass(frozen=True, slots=True)
class Forward:
    """Renders a parcel for the partner that was asked."""

    app: App
    seal: Seal
    by_fhir: AskByFhir

    async def __call__(
        self,
        connection: Connection,
        case: Case,
        stream: Sequence[events.StoredEvent],
        asked: events.StoredEvent,
        parcel: Parcel,
        moment: datetime,
    ) -> Shipment:
        """The shipment. Raises Unmappable, InvalidMessage; also where the partner is not asked any more."""
        partner = next((one for one in self.app.partners.all if one.name == asked.data["partner"]), None)
        if partner is None or partner.ask is None:
            raise Unmappable("the partner is asked no more")
        if partner.ask.by == "fhir":
            return await self.by_fhir.documents(connection, case, stream, asked.version, parcel)
        bundle = case.context["resource"]
        record: dict[str, Any] = asked.sealed or {}
        if partner.x12 is None or bundle is None or "trns" not in record:
            raise Unmappable("the partner was not asked over X12")
        numbers = numbers_known(case, stream, asked.version)
        return await self._by_x12(connection, case, partner, record, parcel, numbers, moment)

    async def _by_x12(
        self,
        connection: Connection,
        case: Case,
        partner: Partner,
        record: dict[str, Any],
        parcel: Parcel,
        known: dict[str, str],
        moment: datetime,
    ) -> Shipment:
        """One interchange with one 275: a refusal is of it alone. What does not fit is left for the next one.

        TRN02 is the payer's control number; where it asked without one, the trace number it knows the request by.
        """
        if partner.ask is None or partner.x12 is None:
            raise Unmappable("the partner is asked no more")
        trace = next((number for _, number in record["trns"]), record["bht"])
        number = parcel.number or (trace if parcel.solicited else parcel.senders)
        if not number:
            raise Unmappable("a document without a control number")
        trees = attachments(
            claim_first(case.context["resource"]),
            of_parcel(parcel, number),
            now=moment,
            reference=record["bht"],
            solicited=parcel.solicited,
            longest=LONGEST,
            numbers=known,
        )
        numbers = Taken(NumbersOn(connection))
        outbound = await render_interchange(
            guide("275"), trees[:1], partner.x12, numbers, tenant=case.tenant, now=moment
        )
        interchange, group = str(numbers.last["interchange"]), str(numbers.last["group"])
        attributes = outbound.attributes | transport(partner.ask, moment, partner.ask.documents_payload_type)
        outbound = replace(outbound, endpoint=partner.asked_at, attributes=attributes)
        rows = [sent_key(partner.x12.sender, kind, one) for kind, one in (("ISA13", interchange), ("GS06", group))]
        return Shipment(
            outbound=await self.seal(outbound, partner.asked_at),
            record={"interchange": interchange, "group": group},
            keys=[(kind, tuple(parts)) for kind, *parts in rows],
            carried=len(list(trees[0].loops("2000A"))),
        )
