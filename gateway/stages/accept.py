"""Stage one: one produce, acks=all, idempotent = accepted (promise 1).

Everything an edge reads passes here once per business message: identifiers become HMAC tokens (D4), the body is
sealed, a large body is claim-checked to the blob store, and only a confirmed produce returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.core.envelope import Envelope, Intake, Reception
from gateway.core.errors import ConfigurationError
from gateway.core.ids import receipt_id
from gateway.core.ports import Accepted, BlobStore, Cipher, Publisher

CLAIM_CHECK_BYTES = 256 * 1024
"""Bodies above this go to the blob store: Kafka's default record limit is 1 MiB, and large records delay small ones."""

Token = Callable[[str, str, tuple[str, ...]], str]
"""(tenant, kind, parts) → an opaque, stable token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptStage:
    """The accept stage, built once by app.py."""

    publisher: Publisher
    blobs: BlobStore
    cipher: Cipher
    token: Token
    routes: Mapping[str, str]
    """Topic by message type; a type's first word (`clinical`) covers `clinical.*`."""
    parked_topic: str
    count: Callable[[str, str], None] = field(default=lambda _type, _topic: None)

    async def __call__(self, intake: Intake, reception: Reception) -> Accepted:
        """Publish one business message; return once it is durable.

        Raises Unavailable when Kafka or the blob store does not confirm, ConfigurationError for a type without a topic.
        """
        envelope = self.envelope(intake, reception)
        topic = self.parked_topic if intake.parked else self.topic(intake.type)
        body = envelope.body()
        headers = envelope.headers()
        if len(body) > CLAIM_CHECK_BYTES:
            headers["ce_claimcheck"] = await self.blobs.put(envelope.tenant, body)
            body = b""
        sealed = self.cipher.encrypt(envelope.tenant, body)
        partition, offset = await self.publisher.publish(topic, key=envelope.key, headers=headers, value=sealed)
        self.count(intake.type, topic)
        return Accepted(envelope=envelope, topic=topic, partition=partition, offset=offset)

    def topic(self, message_type: str) -> str:
        """The topic of a message type."""
        topic = self.routes.get(message_type) or self.routes.get(message_type.split(".", 1)[0])
        if topic is None:
            raise ConfigurationError(f"no topic is configured for message type {message_type}")
        return topic

    def envelope(self, intake: Intake, reception: Reception) -> Envelope:
        """Tokens for identifiers, an id, a correlation id: what may be seen from outside."""
        tenant = reception.tenant
        dedupe_key = self.token(tenant, "dedupe", (reception.source, *intake.natural_key))
        identity = receipt_id(reception.received_at, tenant, dedupe_key, intake.raw.sha256)
        case_key = intake.case_key or intake.natural_key
        return Envelope(
            id=identity,
            type=intake.type,
            source=reception.source,
            tenant=tenant,
            time=reception.received_at,
            subject=self.token(tenant, "case", case_key),
            key=self.token(tenant, "order", intake.ordering_key or case_key),
            lane=self.token(tenant, "order", intake.lane) if intake.lane else "",
            dedupe_key=dedupe_key,
            format=intake.format,
            body_sha256=intake.raw.sha256,
            correlation_id=identity,
            trace_parent=reception.trace_parent,
            facts=intake.facts,
            resource=intake.resource,
            ledger=intake.ledger.summary() if intake.ledger else {},
            raw=intake.raw,
            reply=intake.reply,
            parked=intake.parked,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """The way back from Kafka: unseal, restore a claim-checked body, parse."""

    blobs: BlobStore
    cipher: Cipher

    async def __call__(self, key: str, headers: dict[str, str], value: bytes) -> Envelope:
        """The envelope of a record. Raises MalformedMessage, Unavailable."""
        return Envelope.parse(key, headers, await self._body(headers, value))

    async def outline(self, key: str, headers: dict[str, str], value: bytes) -> tuple[Envelope, bytes]:
        """The envelope of a record without its facts and resource, and its whole body, sealed; far cheaper.

        Raises MalformedMessage, Unavailable.
        """
        body = await self._body(headers, value)
        envelope = Envelope.parse(key, headers, body, read=_outline)
        return envelope, value if "ce_claimcheck" not in headers else self.cipher.encrypt(envelope.tenant, body)

    async def _body(self, headers: dict[str, str], value: bytes) -> bytes:
        tenant = headers.get("ce_tenant", "")
        claim = headers.get("ce_claimcheck")
        return await self.blobs.get(tenant, claim) if claim else self.cipher.decrypt(tenant, value)


def _outline(body: bytes) -> dict[str, Any]:
    """A body for those who ask only for its counts and size: decimals are not kept exactly, so they are left out."""
    read: dict[str, Any] = orjson.loads(body)
    raw = {name: value for name, value in read["raw"].items() if name != "base64"}
    return {"facts": {}, "resource": None, "reply": {}, "ledger": read["ledger"], "raw": raw}
