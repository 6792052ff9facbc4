"""Where a decision goes that comes after a CAQH CORE request was answered: what the partner's profile says.

Left to be picked up, it lies among the deliveries under a place named by its client and the request's PayloadID:
rendered and stored by the deliver stage as everything that is sent, so any edge process finds it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from adapters.soap.outbound import batch_attributes
from gateway.app.core import App
from gateway.core.envelope import Intake, Reception
from gateway.core.ports import Outbound, Receipt
from gateway.store.deliveries import Deliveries

PICKUP = "core-pickup"
"""Endpoint of answers to pick up: `core-pickup.<place>`; one queue for all of them."""
PICKUPS_PER_SECOND = 1000.0
"""Nobody is called: no rate is kept."""


def place(app: App, tenant: str, client: str, payload_id: str) -> str:
    """The endpoint at which answers to one request lie. PayloadIDs are chosen by clients: none is shown."""
    return f"{PICKUP}.{app.tokens(tenant, 'pickup', (client, payload_id))}"


def way_back(app: App, reception: Reception) -> str:
    """The endpoint of later decisions on a request that came over CORE."""
    client = reception.client
    partner = next((one for one in app.partners.all if one.name == client and one.core_login is not None), None)
    later = partner.core_login.later if partner is not None and partner.core_login is not None else "pickup"
    if later == "pickup":
        return place(app, reception.tenant, client, reception.attributes["payloadId"])
    return f"{later}/{client}"


def with_way_back(app: App, intake: Intake, reception: Reception) -> Intake:
    """A message of the CORE edge that says how it is answered: on the line while its caller waits, then elsewhere."""
    reply: dict[str, Any] = {**intake.reply, "endpoint": way_back(app, reception)}
    if reception.attributes.get("processingMode") == "RealTime":
        until = reception.received_at + timedelta(seconds=app.settings.fast_lane_seconds)
        reply |= {"lane": "fast", "waitsUntil": until.isoformat()}
    return replace(intake, reply=reply)


def addressed(outbound: Outbound, endpoint: str) -> Outbound:
    """An answer as its endpoint wants it: a CORE server is sent a batch."""
    if not endpoint.startswith("core/"):
        return outbound
    return replace(outbound, attributes={**outbound.attributes, **batch_attributes(outbound.data)})


class LeftForPickUp:
    """The Sender of places: the stored delivery itself is what its client fetches."""

    async def send(self, outbound: Outbound) -> Receipt:
        """It is there."""
        return Receipt(accepted=True, reference=outbound.endpoint)


@dataclass(frozen=True, slots=True)
class PickUp:
    """The Later port of the CORE edge."""

    app: App
    deliveries: Deliveries

    async def __call__(self, tenant: str, client: str, payload_id: str) -> bytes:
        """Everything told so far on a request, interchange after interchange."""
        return b"".join(await self.deliveries.left_at(tenant, place(self.app, tenant, client, payload_id)))
