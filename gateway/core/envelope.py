"""What crosses rooms: `Reception` → `Intake` → `Envelope`.

An edge receives bytes (`Raw`) under circumstances (`Reception`). A codec reads them into one `Intake` per business
message: canonical resource, facts, ledger and the keys that identify it. The accept stage turns each into an
`Envelope`: opaque keys, an id, ready for Kafka.

Wire form: CloudEvents 1.0, Kafka protocol binding, binary content mode: attributes as headers `ce_*`, the body
`{facts, resource, ledger, raw, reply}` as the value. Headers and keys are visible in every Kafka tool, so they hold
tokens only (promise 5).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import field, replace
from datetime import datetime
from typing import Any

from gateway.core.errors import MalformedMessage
from gateway.core.exact_json import dumps, loads
from gateway.core.ledger import FieldLedger
from gateway.core.record import record

SPEC_VERSION = "1.0"
SCHEMA_VERSION = "1"
"""Version of the body's JSON Schema, `schemas/envelope.v1.json`."""


@record
class Raw:
    """Bytes as received, with their media type. `uri` replaces `data` once claim-checked to the blob store."""

    data: bytes | None
    media_type: str
    sha256: str
    size: int
    uri: str | None = None

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Raw:
        """Wrap bytes; `size` is in bytes, `sha256` in hexadecimal."""
        return cls(data, media_type, hashlib.sha256(data).hexdigest(), len(data))

    def as_json(self) -> dict[str, Any]:
        """The JSON form: `base64` or `uri`."""
        body: dict[str, Any] = {"mediaType": self.media_type, "sha256": self.sha256, "size": self.size}
        if self.data is not None:
            body["base64"] = base64.b64encode(self.data).decode("ascii")
        if self.uri is not None:
            body["uri"] = self.uri
        return body

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Raw:
        """Inverse of `as_json`."""
        data = base64.b64decode(body["base64"]) if "base64" in body else None
        return cls(data, body["mediaType"], body["sha256"], body["size"], body.get("uri"))


@record(kw_only=True)
class Reception:
    """The circumstances under which bytes reached us. Never taken from the message itself."""

    tenant: str
    source: str
    """The endpoint that received it: `<protocol>/<endpoint or partner id>`, e.g. `sftp/clearinghouse-a`."""
    received_at: datetime
    """Our receipt, UTC. The legal clock starts here (promise 3)."""
    media_type: str = "application/octet-stream"
    client: str = ""
    """The authenticated sender: OAuth client id, certificate binding or partner id."""
    trace_parent: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    """What the transport said and a codec may need: file name, request id, prefer header."""


@record(kw_only=True)
class Intake:
    """One business message, read and mapped. Everything here may be PHI; only `Envelope` has opaque keys."""

    type: str
    """CloudEvents type and route: `authorization.request`, `eligibility.request`, `clinical.adt` … (registry.py)."""
    format: str
    """`fhir-r4`, `hl7v2` or `x12`."""
    natural_key: tuple[str, ...]
    """What makes a resend the same message, per source (MSH-3, MSH-4, MSH-10; ISA06, ISA08, ISA13, GS06, ST02 …)."""
    case_key: tuple[str, ...]
    """The business case it belongs to; equal keys share one workflow. Empty: no case (journal only)."""
    ordering_key: tuple[str, ...]
    """Messages with equal ordering keys stay in order: the case, or the facility for clinical feeds (D4)."""
    lane: tuple[str, ...] = ()
    """The patient within a facility: messages of different lanes may overtake each other. One without a lane (a merge)
    stands between all that came before it under its ordering key and all that comes after (decision 0070)."""
    raw: Raw
    resource: dict[str, Any] | None = None
    """The canonical form: a FHIR R4 Bundle."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The flat typed view, catalogued in mappings/facts.yaml."""
    ledger: FieldLedger | None = None
    reply: dict[str, Any] = field(default_factory=dict)
    """What the way back needs: `{"endpoint": …, "format": …, …}`; opaque to all but the mapping that renders it."""
    parked: str = ""
    """Reason code when the message is good but we cannot map it (D2); it goes to intake.parked."""


@record(kw_only=True)
class Envelope:
    """One message on Kafka. `key`, `subject` and `dedupe_key` are HMAC tokens (D4)."""

    id: str
    type: str
    source: str
    tenant: str
    time: datetime
    subject: str
    key: str
    dedupe_key: str
    format: str
    body_sha256: str
    """SHA-256 of the raw bytes: with `dedupe_key` it tells a resend from a conflict (D5)."""
    correlation_id: str
    facts: dict[str, Any]
    resource: dict[str, Any] | None
    ledger: dict[str, Any]
    raw: Raw
    reply: dict[str, Any]
    lane: str = ""
    """Token of `Intake.lane`."""
    causation_id: str | None = None
    trace_parent: str | None = None
    parked: str = ""

    def headers(self) -> dict[str, str]:
        """CloudEvents attributes as Kafka headers."""
        headers = {
            "ce_specversion": SPEC_VERSION,
            "ce_id": self.id,
            "ce_type": self.type,
            "ce_source": self.source,
            "ce_time": self.time.isoformat(),
            "ce_subject": self.subject,
            "ce_dataschema": f"schemas/envelope.v{SCHEMA_VERSION}.json",
            "ce_tenant": self.tenant,
            "ce_dedupekey": self.dedupe_key,
            "ce_bodysha256": self.body_sha256,
            "ce_format": self.format,
            "correlation_id": self.correlation_id,
            "content-type": "application/json",
        }
        if self.lane:
            headers["ce_lane"] = self.lane
        if self.reply.get("lane") == "fast" and "application" not in self.reply:
            headers["ce_waits"] = "true"  # once its case is open, nothing in the body is left to do
        if self.causation_id:
            headers["ce_causationid"] = self.causation_id
        if self.trace_parent:
            headers["traceparent"] = self.trace_parent
        if self.parked:
            headers["ce_parked"] = self.parked
        return headers

    def body(self) -> bytes:
        """The JSON value: facts, resource, ledger, raw, reply."""
        return dumps(
            {
                "facts": self.facts,
                "resource": self.resource,
                "ledger": self.ledger,
                "raw": self.raw.as_json(),
                "reply": self.reply,
            }
        )

    def with_raw(self, raw: Raw) -> Envelope:
        """The same envelope with its bytes claim-checked or restored."""
        return replace(self, raw=raw)

    @classmethod
    def parse(
        cls, key: str, headers: dict[str, str], value: bytes, *, read: Callable[[bytes], dict[str, Any]] = loads
    ) -> Envelope:
        """Inverse of `headers` and `body`.

        Raises MalformedMessage when an attribute or a part of the body is missing.
        """
        try:
            body = read(value)
            return cls(
                id=headers["ce_id"],
                type=headers["ce_type"],
                source=headers["ce_source"],
                tenant=headers["ce_tenant"],
                time=datetime.fromisoformat(headers["ce_time"]),
                subject=headers["ce_subject"],
                key=key,
                dedupe_key=headers["ce_dedupekey"],
                format=headers["ce_format"],
                body_sha256=headers["ce_bodysha256"],
                correlation_id=headers["correlation_id"],
                lane=headers.get("ce_lane", ""),
                causation_id=headers.get("ce_causationid"),
                trace_parent=headers.get("traceparent"),
                parked=headers.get("ce_parked", ""),
                facts=body["facts"],
                resource=body["resource"],
                ledger=body["ledger"],
                raw=Raw.from_json(body["raw"]),
                reply=body["reply"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedMessage(f"not an envelope: {type(error).__name__}") from error
