"""JSON Schemas of everything that travels on Kafka, generated from the types that are written there. Pure.

The values on a topic are sealed (design D13); a schema describes the plain value.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from gateway.core.ports import Decision

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class RawBody(_Wire):
    """The bytes as received: in `base64`, or at `uri` once claim-checked."""

    media_type: str
    sha256: Sha256
    size: int = Field(ge=0, description="Bytes.")
    base64: str | None = Field(None, exclude_if=lambda value: value is None)
    uri: str | None = Field(None, exclude_if=lambda value: value is None)


class FateCounts(_Wire):
    """How many fields met which fate."""

    mapped: int = Field(ge=0)
    carried: int = Field(ge=0)
    ignored: int = Field(ge=0)
    unknown: int = Field(ge=0)


class LedgerSummary(_Wire):
    """What became of each field: the mapping, the counts, and `[path, fate, target]` of what was not plainly mapped."""

    mapping: str
    counts: FateCounts
    not_mapped: list[tuple[str, Literal["carried", "ignored", "unknown"], str]]


class NoLedger(_Wire):
    """No mapping took place."""


class EnvelopeBody(_Wire):
    """The value of an intake record."""

    facts: dict[str, Any] = Field(description="The flat typed view, catalogued in mappings/facts.yaml.")
    resource: dict[str, Any] | None = Field(description="A FHIR R4 Bundle; null when there is no mapping.")
    ledger: LedgerSummary | NoLedger
    raw: RawBody
    reply: dict[str, Any] = Field(description="What the way back needs.")


class EnvelopeHeaders(BaseModel):
    """CloudEvents 1.0 attributes as Kafka headers (binary content mode), all strings."""

    model_config = ConfigDict(extra="allow")

    ce_specversion: Literal["1.0"]
    ce_id: str
    ce_type: str = Field(description="Type of message, e.g. authorization.request.")
    ce_source: str = Field(description="The endpoint that received it.")
    ce_time: datetime = Field(description="Our receipt; the legal clock starts here.")
    ce_subject: str = Field(description="Token of the case.")
    ce_dataschema: str
    ce_tenant: str
    ce_dedupekey: str = Field(description="Token of what makes a resend the same message.")
    ce_bodysha256: Sha256
    ce_format: str
    correlation_id: str
    content_type: Literal["application/json"] = Field(alias="content-type")
    ce_lane: str | None = Field(None, description="Token of the patient, where the key is the facility's.")
    ce_causationid: str | None = None
    ce_waits: Literal["true"] | None = Field(
        None, description="Its sender waits: the edge that took it opens the case."
    )
    traceparent: str | None = None
    ce_parked: str | None = Field(None, description="Reason code, on the parked topic.")
    ce_claimcheck: str | None = Field(None, description="Where the value is, when it is too large for Kafka.")


class EventHeaders(BaseModel):
    """CloudEvents attributes of what the gateway itself says."""

    model_config = ConfigDict(extra="allow")

    ce_specversion: Literal["1.0"]
    ce_id: str = Field(description="The event's id: consumers drop what they have seen.")
    ce_type: str
    ce_source: Literal["workflow"]
    ce_time: datetime
    ce_subject: str = Field(description="The case's id.")
    ce_tenant: str
    correlation_id: str
    content_type: Literal["application/json"] = Field(alias="content-type")


class DeadLetterHeaders(BaseModel):
    """What a dead letter says of itself, beside the original headers. Its value is the original one, byte for byte."""

    model_config = ConfigDict(extra="allow")

    dlq_source_topic: str
    dlq_source_partition: str = Field(pattern="^[0-9]+$")
    dlq_source_offset: str = Field(pattern="^[0-9]+$")
    dlq_group: str = Field(description="The consumer group that gave up.")
    dlq_error: str = Field(description="Error code; never a message text.")


class WorkflowEvent(_Wire):
    """One event of a case: codes and times only."""

    event_id: str
    workflow_id: str
    event_type: str
    event_data: dict[str, Any]
    step_id: str | None
    user_id: str | None
    version: int = Field(ge=1, description="Position in the case's stream.")
    timestamp: datetime
    metadata: dict[str, Any]


def _schema(name: str, title: str, model: Any) -> dict[str, Any]:
    body = TypeAdapter(model).json_schema(mode="serialization", by_alias=True)
    return {"$schema": DIALECT, "$id": f"urn:gateway:schemas:{name}"} | body | {"title": title}


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by its path in the repository."""
    table = (
        ("envelope.v1", "Envelope", EnvelopeBody),
        ("envelope-headers.v1", "Envelope headers", EnvelopeHeaders),
        ("decision.v1", "Decision", Decision),
        ("workflow-event.v1", "Workflow event", WorkflowEvent),
        ("event-headers.v1", "Event headers", EventHeaders),
        ("deadletter.v1", "Dead letter", DeadLetterHeaders),
    )
    return {f"schemas/{name}.json": _schema(name, title, model) for name, title, model in table}


def text(schema: dict[str, Any]) -> str:
    """A schema as the file that is committed."""
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode() + "\n"
