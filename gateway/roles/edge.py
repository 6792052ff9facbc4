"""The edge: HTTP (FHIR, CORE SOAP) and MLLP in. Nothing is answered positively before it is in Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from adapters.fhir import inbound as fhir_inbound
from adapters.hl7.inbound import Listener
from adapters.hl7.settings import ListenerSettings
from adapters.soap import inbound as soap_inbound
from adapters.soap.settings import SoapSettings
from gateway.app import App, fhir, hl7, hl7_inquiries, now, x12
from gateway.app.payer_watch import Notices, watched
from gateway.core.ids import new_id
from gateway.core.settings import host_port
from gateway.infra.http import HttpSettings, TlsSettings, serve
from gateway.infra.telemetry import MLLP_EVENTS, logger
from gateway.roles.periodic import every

TICK = 1.0
"""Seconds between looks at what our subscriptions at payers need; the payers themselves are asked more rarely."""

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


def http_settings(app: App) -> HttpSettings:
    """The HTTP listener's settings."""
    given = app.settings
    tls = None
    if given.tls_certificate is not None:
        tls = TlsSettings(certificate=given.tls_certificate, key=given.tls_key, authorities=given.tls_authorities)
    return HttpSettings(address=given.http, tls=tls, reuse_port=given.edge_processes > 1)


def soap_settings(app: App) -> SoapSettings:
    """The CORE SOAP edge's settings."""
    return SoapSettings(tenant=app.settings.tenant, public_url=app.settings.public_url)


async def run(app: App, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until `stop`."""
    async with app.serving(), app.policy.kept_fresh():
        client = await app.temporal()
        lane = await app.fast_lane(client)
        notices = Notices(app, app.accept, client) if watched(app) else None
        site = fhir_inbound.app(fhir.services(app, lane, client, notices), fhir.settings_of(app))
        site.router.routes.extend(soap_inbound.routes(x12.soap_services(app, lane), soap_settings(app)))
        listener = Listener(
            mllp_settings(app),
            codec=hl7.codec(app.partners, waits=app.settings.fast_lane_seconds),
            accept=app.accept,
            clock=now,
            identify=_control_id,
            observe=_observe,
            respond=hl7.responder(lane, app.settings.fast_lane_seconds),
            inquire=hl7_inquiries.inquiries(app, client),
        )
        async with listener:
            http = http_settings(app)
            keeping = asyncio.create_task(every(TICK, notices.tick)) if notices is not None else None
            await serve(site, http, stop, ready=lambda url: _ready(url, ready))
            if keeping is not None:
                keeping.cancel()
            await fhir_inbound.drain(site, 15.0)


def _ready(url: str, ready: Callable[[], None]) -> None:
    log.info("role.ready", role="edge", address=url)
    ready()


def _control_id() -> str:
    """MSH-10 of our acknowledgements: at most 20 characters before release 2.7."""
    return new_id(now()).replace("-", "")[:20]


def _observe(name: str, fields: Mapping[str, str | int]) -> None:
    """What the listener tells: counted; refused identities are logged (codes and listener names only)."""
    MLLP_EVENTS.labels(name).inc()
    if name == "hl7.security":
        log.warning("hl7.security", **fields)
