"""The edge: HTTP (FHIR, CORE SOAP) and MLLP in. Nothing is answered positively before it is in Kafka."""

from __future__ import annotations

import asyncio

from mappings.hl7_codec import Hl7Codec

from adapters.fhir import inbound as fhir_inbound
from adapters.hl7.inbound import Listener
from adapters.hl7.settings import ListenerSettings
from gateway.app import App, fhir, now
from gateway.core.settings import host_port
from gateway.infra.http import HttpSettings, serve
from gateway.infra.telemetry import REFUSED, logger

log = logger("edge")


def mllp_settings(app: App) -> ListenerSettings:
    """The MLLP listener's settings; in the demo profile it takes senders nobody registered."""
    host, port = host_port(app.settings.mllp)
    return ListenerSettings(
        name="main",
        tenant=app.settings.tenant,
        host=host,
        port=port,
        reuse_port=app.settings.edge_processes > 1,
        unknown_partners=app.settings.profile == "demo",
        partners=app.partners.hl7,
    )


async def run(app: App, stop: asyncio.Event) -> None:
    """Serve until `stop`."""
    async with app.serving():
        client = await app.temporal()
        lane = await app.fast_lane(client)
        site = fhir_inbound.app(fhir.services(app, lane, client), fhir.settings_of(app))
        listener = Listener(mllp_settings(app), codec=Hl7Codec(), accept=app.accept, clock=now, observe=_observe)
        async with listener:
            log.info("role.ready", role="edge", address=app.settings.http, port=listener.port)
            http = HttpSettings(address=app.settings.http, reuse_port=app.settings.edge_processes > 1)
            await serve(site, http, stop)
            await fhir_inbound.drain(site, 15.0)


def _observe(name: str, fields: object) -> None:
    REFUSED.labels("mllp", name).inc()
    del fields
