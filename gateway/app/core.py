"""Connections, keys and stages, built on demand from the settings.

A role is one process: `edge` (HTTP and MLLP in), `starter` (intake topics → cases, and the message journal), `worker`
(workflows and deliveries), `sftp` (partners' drops), `relay` (event log → Kafka and read models), `monitor` (lag).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from gateway import registry
from gateway.core.envelope import Envelope
from gateway.core.errors import ConfigurationError, GatewayError
from gateway.core.ports import Cipher
from gateway.core.settings import Settings
from gateway.infra import kafka
from gateway.infra.postgres import SYSTEM, Database
from gateway.infra.telemetry import (
    DECIDE_SECONDS,
    MESSAGES,
    logger,
)
from gateway.partners import Partners
from gateway.partners import load as load_partners
from gateway.security.cipher import DerivedKeys, EnvelopeCipher
from gateway.security.secrets import key_bytes, secret
from gateway.security.tokens import Tokens
from gateway.stages.accept import AcceptStage
from gateway.stages.clock import NO_LINES, Lines
from gateway.stages.fast_lane import FastLane
from gateway.stages.start import CaseStart, Definition, StartStage
from gateway.store.blobs import PostgresBlobs
from gateway.store.cases import CaseStore

if TYPE_CHECKING:
    # Temporal and the rules take a second to import; the relay, the monitor and the SFTP poller need neither.
    from temporalio.client import Client

    from gateway.app.policies import PoliciesInForce
    from workflows.inputs import CaseInput

log = logger("app")


def now() -> datetime:
    """The clock of production."""
    return datetime.now(UTC)


def case_input(case: CaseStart, lane: str) -> CaseInput:
    """What starts a case's workflow."""
    from workflows.inputs import CaseInput

    return CaseInput(
        case_id=case.case_id,
        tenant=case.tenant,
        subject=case.subject,
        definition=case.definition.content,
        definition_hash=case.definition.hash,
        received_at=case.received_at,
        due_at=case.due_at,
        priority=case.priority,
        lane=lane,
        run=case.run,
    )


@dataclass
class App:
    """Everything a role may need, built on demand from the settings; `serving` opens what a role uses."""

    settings: Settings

    @cached_property
    def tokens(self) -> Tokens:
        """Opaque keys."""
        if not self.settings.token_key:
            raise ConfigurationError("GATEWAY_TOKEN_KEY is not set: give a secret reference env:NAME or file:PATH")
        return Tokens.load(self.settings.token_key)

    @cached_property
    def cipher(self) -> Cipher:
        """Encryption at rest."""
        if not self.settings.cipher_key:
            raise ConfigurationError("GATEWAY_CIPHER_KEY is not set: give a secret reference env:NAME or file:PATH")
        key_id = self.settings.cipher_key_id
        return EnvelopeCipher(DerivedKeys({key_id: key_bytes(self.settings.cipher_key)}, key_id))

    @cached_property
    def database(self) -> Database:
        """PostgreSQL."""
        return Database(needed(self.settings.postgres, "postgres"))

    @cached_property
    def security(self) -> kafka.KafkaSecurity:
        """How to connect to Kafka."""
        password = self.settings.kafka_password
        return kafka.KafkaSecurity(
            protocol=self.settings.kafka_security,
            username=self.settings.kafka_username,
            password=secret(password).decode() if password else None,
        )

    @cached_property
    def publisher(self) -> kafka.KafkaPublisher:
        """The one producer of this process."""
        return kafka.KafkaPublisher(needed(self.settings.kafka, "kafka"), self.security)

    @cached_property
    def blobs(self) -> PostgresBlobs:
        """Claim-checked payloads."""
        return PostgresBlobs(self.database, self.cipher)

    @cached_property
    def cases(self) -> CaseStore:
        """Inbox and cases."""
        return CaseStore(self.database, self.cipher, self.tokens, now)

    @cached_property
    def accept(self) -> AcceptStage:
        """Stage one."""
        return AcceptStage(
            publisher=self.publisher,
            blobs=self.blobs,
            cipher=self.cipher,
            token=self.tokens,
            routes=registry.TOPICS,
            parked_topic=registry.PARKED,
            count=lambda kind, topic: MESSAGES.labels(kind, topic).inc(),
        )

    @cached_property
    def partners(self) -> Partners:
        """Trading partners and hospitals."""
        return load_partners(self.settings.partners)

    @cached_property
    def lines(self) -> Lines:
        """Lines of business. Raises ConfigurationError."""
        from gateway.rules.files import read_yaml
        from mappings.facts import catalogue

        if self.settings.lines is None:
            return NO_LINES
        try:
            content = self.settings.lines.read_bytes()
        except OSError as error:
            raise ConfigurationError("the lines of business cannot be read", location="lines") from error
        return Lines.load(read_yaml(content, self.settings.lines.name), catalogue())

    @cached_property
    def policy(self) -> PoliciesInForce:
        """The rule sets in force: the store's, else those of files."""
        from gateway.app.policies import PoliciesInForce, policies
        from gateway.store.rule_store import PostgresRules
        from mappings.facts import catalogue

        return PoliciesInForce(policies(self.settings), PostgresRules(self.database), catalogue())

    async def ready(self) -> bool:
        """Whether the database answers; Kafka shows itself at each accept."""
        try:
            async with self.database.transaction(SYSTEM) as connection:
                return bool(await connection.fetchval("VALUES (true)"))
        except GatewayError:
            return False

    async def start_stage(self, client: Client) -> StartStage:
        """Stage two; registers the definitions that ship."""
        from gateway.infra import temporal
        from workflows import definitions

        found = definitions.load()
        registered: dict[str, Definition] = {}
        for name, content in found.items():
            registered[name] = await self.cases.register(
                self.settings.tenant, content, definitions.content_hash(content)
            )
        return StartStage(
            cases=self.cases,
            starter=temporal.TemporalStarter(client=client, make_input=case_input),
            definitions={kind: registered[name] for kind, name in registry.DEFINITIONS.items()},
            asking={kind: registered[name] for kind, name in registry.ASKING.items()},
            is_asked=self.is_asked,
            opening_types=registry.OPENING,
            park=self._park,
            lines=self.lines,
        )

    def is_asked(self, envelope: Envelope) -> bool:
        """Whether a partner decides for the payer this message names."""
        payer = str(envelope.facts.get("coverage.payer") or "")
        return bool(self.partners.all) and self.partners.asked_for(envelope.tenant, payer) is not None

    async def _park(self, envelope: Envelope, reason: str) -> None:
        headers = envelope.headers() | {"ce_parked": reason, "ce_causationid": envelope.id}
        sealed = self.cipher.encrypt(envelope.tenant, envelope.body())
        await self.publisher.publish(registry.PARKED, key=envelope.key, headers=headers, value=sealed)
        log.warning("message.parked", reason=reason, source=envelope.source, type=envelope.type)

    async def fast_lane(self, client: Client) -> FastLane:
        """The edge's way to a decision."""
        from gateway.infra import temporal

        start = await self.start_stage(client)
        return FastLane(
            start=start,
            cases=self.cases,
            known=self.cases,
            temporal=temporal.TemporalStarter(client=client, make_input=case_input),
            monotonic=time.monotonic,
            sleep=asyncio.sleep,
            observe=lambda outcome, seconds: DECIDE_SECONDS.labels(outcome).observe(seconds),
        )

    async def temporal(self) -> Client:
        """A Temporal client."""
        from gateway.infra import temporal

        address = needed(self.settings.temporal, "temporal")
        return await temporal.connect(address, self.settings.temporal_namespace, self.cipher)

    @asynccontextmanager
    async def serving(self, *, produces: bool = True, stores: bool = True) -> AsyncIterator[None]:
        """Open the connections a role uses; close them at its end."""
        async with AsyncExitStack() as stack:
            if stores:
                await self.database.open()
                stack.push_async_callback(self.database.close)
            if produces:
                await self.publisher.open()
                stack.push_async_callback(self.publisher.close)
            yield


def needed(value: str | None, name: str) -> str:
    if not value:
        raise ConfigurationError(f"no address for {name}: set GATEWAY_{name.upper()}, or start with `gateway run`")
    return value
