"""What the FHIR edge is given (adapters.fhir.inbound.services.FhirServices)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml
from temporalio.client import Client

from adapters.fhir.inbound import TOKEN_PATH, Advice, FhirServices, Subscription
from adapters.fhir.settings import FhirSettings
from adapters.fhir.wire.subscription_rules import heartbeat_period
from gateway.app.core import App, now
from gateway.app.deliveries import guarded_client
from gateway.app.payer_watch import Notices
from gateway.core.envelope import Reception
from gateway.core.ports import Codec, Decide
from gateway.infra.temporal import start_notification
from gateway.security.bearer import Authenticator, DemoToken
from gateway.security.clients import ClientRegistry
from gateway.security.jwks import KeyCache, fetch_with
from gateway.security.secrets import secret
from gateway.security.smart import SigningKeys, Smart
from gateway.stages.decide import decide
from gateway.store.fhir_edge import (
    PostgresCaseSearch,
    PostgresIssued,
    PostgresRefusals,
    PostgresSubscriptions,
    PostgresUsedOnce,
)
from mappings import inquire, subscription_notification
from mappings.decision_to_claimresponse import pended, render
from mappings.fhir_codec import FhirCodec
from mappings.fhir_r4 import facts_of_bundle


def codec(operation: str, *, version: str, strict: bool, base_url: str) -> Codec:
    """The FHIR codec of an operation."""
    return FhirCodec(operation=operation, version=version, strict=strict, base_url=base_url)


@dataclass(frozen=True, slots=True)
class TemporalNotifier:
    """The Notifier port: a handshake is a small durable workflow, tried until it is accepted or given up."""

    client: Client

    async def handshake(self, subscription: Subscription) -> None:
        """Enqueue the handshake. Raises Unavailable."""
        period = heartbeat_period(subscription.resource)
        await start_notification(self.client, subscription.tenant, subscription.id, subscription.version, period)


@dataclass(frozen=True, slots=True)
class PolicyAdvice:
    """The Advise port: the rules that decide cases, asked about a draft order."""

    app: App

    async def __call__(self, tenant: str, order: dict[str, Any], prefetch: dict[str, dict[str, Any]]) -> Advice:
        """Advice on one order."""
        moment = now()
        reception = Reception(tenant=tenant, source="fhir/cds-hooks", received_at=moment)
        resources = [order, *(resource for resource in prefetch.values() if resource)]
        facts = facts_of_bundle(
            {"resourceType": "Bundle", "entry": [{"resource": row} for row in resources]}, reception
        )
        verdict = self.app.policy(facts, ruleset="prior-authorization", tenant=tenant, as_of=moment, now=moment)
        decision = decide(verdict, case_id="00000000-0000-0000-0000-000000000000", version=1, now=moment, facts=facts)
        asked = [str(row.get("question", "")) for row in decision.requested_information]
        notes = [item.note for item in decision.items if item.note]
        return Advice(
            covered="not-covered" if decision.action == "A3" else "covered",
            authorization={"NA": "no-auth", "A3": "no-auth"}.get(decision.action, "auth-needed"),
            documentation="clinical" if asked else "no-doc",
            reasons=[*notes, *asked],
        )


def settings_of(app: App) -> FhirSettings:
    """The edge's settings."""
    given = app.settings
    return FhirSettings(
        base_url=given.public_url,
        profile=given.profile,
        strict=given.strict,
        answer_seconds=given.fast_lane_seconds,
    )


def registered(app: App) -> ClientRegistry | None:
    """The registered clients, by id and by certificate. Raises ConfigurationError."""
    if app.settings.clients is None:
        return None
    return ClientRegistry.load(yaml.safe_load(app.settings.clients.read_text(encoding="utf-8")) or {})


def smart(app: App, registry: ClientRegistry | None) -> Smart | None:
    """The authorization server, where clients are registered and a signing key is set."""
    if registry is None or not app.settings.signing_key:
        return None
    url = app.settings.public_url.rstrip("/")
    return Smart(
        clients=registry,
        keys=KeyCache(fetch_with(guarded_client(app)), now),
        replay=PostgresUsedOnce(app.database),
        signing=SigningKeys.load({"s1": secret(app.settings.signing_key)}),
        issuer=url,
        audiences=[url + TOKEN_PATH],
        clock=now,
    )


def authenticator(app: App, registry: ClientRegistry | None, server: Smart | None) -> Authenticator:
    """Who may come in: registered clients; in the demo profile also the static token."""
    demo = None
    if app.settings.profile == "demo" and app.settings.bearer_token:
        token = secret(app.settings.bearer_token).decode()
        demo = DemoToken.create(app.settings.profile, token=token, tenant=app.settings.tenant)
    return Authenticator(smart=server, clients=registry, demo=demo)


def services(app: App, lane: Decide, client: Client, notices: Notices | None = None) -> FhirServices:
    """Everything the FHIR edge is given."""
    registry = registered(app)
    server = smart(app, registry)

    return FhirServices(
        authenticate=authenticator(app, registry, server),
        tokens=server,
        codecs=codec,
        accept=app.accept,
        decide=lane,
        render=render,
        pended=pended,
        render_status=subscription_notification.status_bundle,
        render_events=subscription_notification.events_bundle,
        inquiry=inquire,
        cases=PostgresCaseSearch(app.cases, pended),
        issued=PostgresIssued(app.database, app.cipher),
        subscriptions=PostgresSubscriptions(app.database, app.cipher),
        notifier=TemporalNotifier(client),
        advise=PolicyAdvice(app),
        refusals=PostgresRefusals(app.database, app.cipher),
        notices=notices,
        clock=now,
        ready=app.ready,
    )
