"""Asking partners over FHIR (Da Vinci PAS): requests, inquiries, and the clients that carry them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from adapters.fhir.outbound import Authorize, FhirEndpoint, FhirSender
from adapters.fhir.settings import FhirServer, PayerServer
from adapters.fhir.wire import FHIR_JSON, parse, serialize
from gateway.app.core import App, now
from gateway.core.errors import ConfigurationError, Unmappable
from gateway.core.ports import Outbound, Sender
from gateway.infra.http import ClientSettings, TlsSettings, client
from gateway.infra.postgres import Connection
from gateway.partners import Partner
from gateway.security.client_auth import ClientCredentials, TokenSource
from gateway.security.secrets import secret
from gateway.stages import ask
from gateway.store import events
from gateway.store.cases import Case
from gateway.store.deliveries import Deliveries
from gateway.store.payer_watches import find_on
from mappings import attachment_to_cdex
from mappings.attachment_to_cdex import submission
from mappings.brought_documents import Parcel
from mappings.claim_to_pas import request
from mappings.payer_pas import RAIL, inquiry, numbers_of, question
from workflows.forwarding import Shipment
from workflows.inquiring import Inquiry
from workflows.keys import ask_key
from workflows.payer import Question

Element = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FixedToken:
    """A token that somebody gave us: for the demo profile only."""

    token: str

    async def header(self) -> str:
        """The Authorization header's value."""
        return f"Bearer {self.token}"

    def forget(self) -> None:
        """There is no other one."""


@dataclass(frozen=True, slots=True)
class AskByFhir:
    """Renders the PAS request of a case for the partner that decides it."""

    app: App
    deliveries: Deliveries

    async def __call__(self, connection: Connection, case: Case, moment: datetime, partner: Partner) -> Question:
        """The question. Raises Unmappable, InvalidMessage."""
        server = partner.fhir
        if server is None or case.context["resource"] is None:
            raise Unmappable("no partner is asked for this payer over FHIR")
        rendering = request(
            case.context["resource"],
            identity=f"{case.id}:{case.version + 1}",
            now=moment,
            kind=str(case.context.get("type", "")),
            version=server.version,
            sender=server.organization,
            receiver=server.payer_organization,
            whole=case.context["reply"].get("rail") == "fhir-pas",
            prior=await self._prior(connection, case, partner),
        )
        asked = question(rendering, version=server.version)
        return Question(
            partner=partner.name,
            outbound=_outbound(partner, asked.data, "Claim/$submit"),
            record=asked.record,
            keys=asked.keys(partner.name),
            left_out=asked.left_out,
            inquire=await self._pace(connection, case, partner, server),
        )

    async def _pace(
        self, connection: Connection, case: Case, partner: Partner, server: PayerServer
    ) -> tuple[float, float]:
        """Inquiries are the fallback (spec-9): soon where no subscription is active, rarely where one is."""
        watch = await find_on(connection, case.tenant, partner.name) if server.subscribe else None
        told = watch is not None and watch.status == "active"
        return (server.inquire_longest if told else server.inquire_seconds, server.inquire_longest)

    async def inquiry(
        self, connection: Connection, case: Case, stream: Sequence[events.StoredEvent], about: int, moment: datetime
    ) -> Inquiry:
        """The `$inquire` about a request of ours. Raises Unmappable."""
        partner, server, bundle = await self._asked(connection, case, stream, about)
        numbers = _numbers(stream, about)
        data = inquiry(
            bundle,
            numbers=numbers,
            identity=f"{case.id}:{case.version + 1}",
            now=moment.isoformat(timespec="milliseconds"),
            version=server.version,
        )
        return Inquiry(outbound=_outbound(partner, data, "Claim/$inquire"), by_number=bool(numbers))

    async def documents(
        self, connection: Connection, case: Case, stream: Sequence[events.StoredEvent], about: int, parcel: Parcel
    ) -> Shipment:
        """The `$submit-attachment` call that hands a parcel to who was asked at `about`. Raises Unmappable,
        InvalidMessage."""
        partner, _, bundle = await self._asked(connection, case, stream, about)
        record = next(one.sealed or {} for one in stream if one.version == about)
        made = submission(
            bundle,
            parcel,
            sequences={int(ours): int(theirs) for theirs, ours in record["sequences"].items()},
            reference=_numbers(stream, about).get("administrative-reference", ""),
        )
        outbound = _outbound(partner, serialize(made), attachment_to_cdex.PATH)
        return Shipment(outbound=outbound, record={}, carried=len(parcel.documents))

    async def _asked(
        self, connection: Connection, case: Case, stream: Sequence[events.StoredEvent], about: int
    ) -> tuple[Partner, PayerServer, Element]:
        """Who was asked by the event at `about`, and our Bundle. Raises Unmappable where that is no FHIR any more."""
        event = next((one for one in stream if one.version == about), None)
        name = event.data["partner"] if event is not None else ""
        partner = next((one for one in self.app.partners.fhir if one.name == name), None)
        if event is None or partner is None or partner.fhir is None:
            raise Unmappable("the partner is asked over FHIR no more")
        key = ask_key(case.id, about, str(event.data["endpoint"]))
        found = await self.deliveries.find_on(connection, case.tenant, key)
        if found is None or found.outbound.media_type != FHIR_JSON:
            raise Unmappable("the partner was not asked over FHIR")
        return partner, partner.fhir, parse(found.outbound.data, FHIR_JSON)

    async def _prior(self, connection: Connection, case: Case, partner: Partner) -> Element | None:
        """The newest Bundle this payer has and has answered, where the case has been stated anew since."""
        stream = await events.stream(connection, self.app.cipher, case.id)
        version = ask.continued(stream, partner.name)
        if not version:
            return None
        found = await self.deliveries.find_on(connection, case.tenant, ask_key(case.id, version, partner.asked_at))
        return parse(found.outbound.data, FHIR_JSON) if found is not None else None


def _outbound(partner: Partner, data: bytes, path: str) -> Outbound:
    return Outbound(
        endpoint=f"fhir/{partner.name}",
        data=data,
        media_type=FHIR_JSON,
        idempotency_key="",
        attributes={"path": path},
    )


def _numbers(stream: Sequence[events.StoredEvent], about: int) -> dict[str, str]:
    """The payer's newest numbers in its answers to the request of the event at `about`."""
    found: dict[str, str] = {}
    for one in stream:
        reply = (one.sealed or {}).get("reply", {}) if one.type == "MessageReceived" and one.version > about else {}
        for row in reply["answers"] if reply.get("rail") == RAIL else ():
            found |= numbers_of(row)
    return found


def server_client(server: FhirServer, profile: str) -> FhirSender:
    """The client of a partner's server, signed in as its profile says. Raises ConfigurationError."""
    addresses = [server.base_url, *([server.token_url] if server.token_url else [])]
    if profile != "demo" and (server.bearer or any(urlsplit(one).scheme != "https" for one in addresses)):
        raise ConfigurationError("a fixed token and plain http are for the demo profile only", location="fhir")
    tls = TlsSettings(certificate=server.certificate, key=server.certificate_key, authorities=server.authority)
    http = client(ClientSettings(read_seconds=server.timeout, max_connections=100, tls=tls))
    # What may have arrived is not asked again at once; what is written to one place may be written again.
    pause = server.repeat_seconds if isinstance(server, PayerServer) else None
    endpoint = FhirEndpoint(server.base_url, seconds=server.timeout, repeat_seconds=pause)
    authorize: Authorize | None = None
    if server.key:
        credentials = ClientCredentials.load(
            token_url=server.token_url,
            client_id=server.client_id,
            scope=server.scope,
            key_id=server.key_id,
            pem=secret(server.key),
        )
        authorize = TokenSource(http, credentials, now)
    elif server.bearer:
        authorize = FixedToken(secret(server.bearer).decode())
    return FhirSender(http, endpoint, authorize)


def senders(app: App) -> Mapping[str, Sender]:
    """A sender for the PAS server of each partner that has one."""
    return {
        f"fhir/{partner.name}": server_client(partner.fhir, app.settings.profile)
        for partner in app.partners.fhir
        if partner.fhir is not None
    }
