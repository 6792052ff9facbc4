"""The generated contracts: fresh, well-formed, and true of what is really written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gateway.core import asyncapi, schemas
from gateway.core.envelope import Envelope, Raw
from gateway.core.ledger import Ledger
from gateway.core.ports import Decision, ItemDecision
from gateway.core.topics import parse
from gateway.ops import contracts
from gateway.stages.decide import as_json
from gateway.store.events import StoredEvent
from gateway.store.relay import Outbox
from gateway.testing import FixedClock

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


def validate(path: str, body: Any) -> None:
    """Check data against a committed schema."""
    schema = json.loads((ROOT / path).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(body)


def test_the_committed_files_are_fresh() -> None:
    assert contracts.stale(ROOT) == []
    assert contracts.fresh(ROOT)


def test_staleness_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "topics.yaml").write_text((ROOT / "topics.yaml").read_text())
    assert len(contracts.write(tmp_path)) == 1 + len(schemas.schemas())
    assert contracts.fresh(tmp_path)
    (tmp_path / "schemas" / "old.v1.json").write_text("{}")
    (tmp_path / "schemas" / "decision.v1.json").write_text("{}")
    (tmp_path / "docs" / "asyncapi.yaml").unlink()
    assert contracts.stale(tmp_path) == ["docs/asyncapi.yaml", "schemas/decision.v1.json", "schemas/old.v1.json"]


def envelope(raw: Raw, ledger: dict[str, Any], **more: Any) -> Envelope:
    return Envelope(
        id="0198",
        type="authorization.request",
        source="fhir/main",
        tenant="t",
        time=NOW,
        subject="case",
        key="key",
        dedupe_key="dedupe",
        format="fhir-r4",
        body_sha256=raw.sha256,
        correlation_id="0198",
        facts={"patient.age": 40},
        resource={"resourceType": "Bundle"},
        ledger=ledger,
        raw=raw,
        reply={},
        **more,
    )


def ledger() -> dict[str, Any]:
    found = Ledger("x@1")
    found.add("PID[1]-5", "mapped", "Patient.name")
    found.add("PID[1]-6", "ignored", "not needed")
    return found.summary()


RAW = Raw.of(b"{}", "application/fhir+json")


@pytest.mark.parametrize(
    "case",
    [
        envelope(RAW, ledger()),
        envelope(RAW, {}, parked="unmappable", causation_id="0197", trace_parent="00-0-0-00"),
        envelope(Raw(None, "application/fhir+json", RAW.sha256, 2, "blob:1"), ledger()),
    ],
)
def test_an_envelope_is_as_its_schema_says(case: Envelope) -> None:
    validate("schemas/envelope.v1.json", json.loads(case.body()))
    validate("schemas/envelope-headers.v1.json", case.headers())
    assert (ROOT / case.headers()["ce_dataschema"]).exists()


def test_a_wrong_envelope_is_refused() -> None:
    body = json.loads(envelope(RAW, ledger()).body())
    for change in ({"facts": []}, {"raw": {}}, {"extra": 1}, {"ledger": {"mapping": "x"}}):
        with pytest.raises(jsonschema.ValidationError):
            validate("schemas/envelope.v1.json", body | change)


DECISION = Decision(
    case_id="c",
    version=3,
    decided_at=NOW,
    action="A2",
    items=(ItemDecision(sequence=1, action="A2", changes={"quantity": 3}),),
    requested_information=({"fact": "f", "question": "q"},),
    reviewer={"npi": "1"},
)


class Published:
    """A publisher that remembers."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, str], Any]] = []

    async def publish(self, topic: str, *, key: str, headers: dict[str, str], value: bytes) -> tuple[int, int]:
        self.records.append((topic, headers, json.loads(value)))
        return 0, len(self.records)


class Plain:
    """No encryption."""

    def encrypt(self, tenant: str, plain: bytes) -> bytes:
        return plain

    def decrypt(self, tenant: str, sealed: bytes) -> bytes:
        return sealed


async def test_what_the_outbox_publishes_is_as_its_schemas_say() -> None:
    event = StoredEvent(
        case_id="0d9ab2f0-43f8-4c30-8f3e-2f4a9b1f2c3d",
        version=3,
        id="e",
        tenant="t",
        type="DecisionMade",
        data={"action": "A2"},
        sealed={"decision": json.loads(json.dumps(as_json(DECISION)))},
        step_id="decide",
        command_id="c",
        user_id=None,
        timestamp=FixedClock()(),
        metadata={"correlationId": "0198"},
    )
    published = Published()
    outbox = Outbox(publisher=published, cipher=Plain(), events_topic="workflow.events.v1", decisions_topic="d.d.v1")
    await outbox(None, [event])  # type: ignore[arg-type] - it does not use the connection
    (_, headers, body), (_, decision_headers, decision) = published.records
    validate("schemas/workflow-event.v1.json", body)
    validate("schemas/event-headers.v1.json", headers)
    validate("schemas/decision.v1.json", decision)
    validate("schemas/event-headers.v1.json", decision_headers)


def test_a_dead_letter_is_as_its_schema_says() -> None:
    headers = {"dlq_source_topic": "a.b.v1", "dlq_source_partition": "0", "dlq_source_offset": "12"}
    validate("schemas/deadletter.v1.json", headers | {"dlq_group": "g", "dlq_error": "malformed", "ce_id": "1"})
    with pytest.raises(jsonschema.ValidationError):
        validate("schemas/deadletter.v1.json", headers)


DOCUMENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["asyncapi", "info", "channels", "operations", "components"],
    "additionalProperties": False,
    "properties": {
        "asyncapi": {"const": "3.0.0"},
        "info": {"type": "object", "required": ["title", "version"]},
        "defaultContentType": {"type": "string"},
        "channels": {
            "type": "object",
            "propertyNames": {"pattern": r"^[A-Za-z0-9._-]+$"},
            "additionalProperties": {
                "type": "object",
                "required": ["address", "messages"],
                "patternProperties": {"^x-": {}},
                "properties": {
                    "address": {"type": "string"},
                    "description": {"type": "string"},
                    "messages": {
                        "type": "object",
                        "minProperties": 1,
                        "additionalProperties": {
                            "required": ["$ref"],
                            "additionalProperties": False,
                            "properties": {"$ref": {}},
                        },
                    },
                    "bindings": {
                        "type": "object",
                        "properties": {
                            "kafka": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {
                                    "topic": {"type": "string"},
                                    "partitions": {"type": "integer", "minimum": 1},
                                    "replicas": {"type": "integer", "minimum": 1},
                                    "topicConfiguration": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "properties": {
                                            "cleanup.policy": {"items": {"enum": ["compact", "delete"]}},
                                            "retention.ms": {"type": "integer", "minimum": -1},
                                            "max.message.bytes": {"type": "integer", "minimum": 0},
                                        },
                                    },
                                    "bindingVersion": {"enum": ["0.4.0", "0.5.0"]},
                                },
                            }
                        },
                    },
                },
                "additionalProperties": False,
            },
        },
        "operations": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["action", "channel"],
                "additionalProperties": False,
                "properties": {
                    "action": {"enum": ["send", "receive"]},
                    "channel": {"required": ["$ref"]},
                    "summary": {"type": "string"},
                    "bindings": {"type": "object"},
                },
            },
        },
        "components": {"type": "object", "required": ["messages"]},
    },
}
"""The parts of the AsyncAPI 3.0 specification that the document uses."""


def references(node: Any) -> list[str]:
    """Every `$ref` in a document."""
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for value in node for found in references(value)] if isinstance(node, list) else []


def test_the_document_is_asyncapi() -> None:
    document = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())
    jsonschema.Draft202012Validator(DOCUMENT_SCHEMA).validate(document)
    found = references(document)
    assert found
    for reference in found:
        if reference.startswith("#/"):
            place: Any = document
            for step in reference[2:].split("/"):
                place = place[step]
        else:
            assert (ROOT / "docs" / reference).resolve().exists(), reference


def test_every_topic_and_every_reader_is_in_the_document() -> None:
    catalogue = parse((ROOT / "topics.yaml").read_text())
    document = asyncapi.document(catalogue)
    assert set(document["channels"]) == set(catalogue.topics)
    receives = [name for name, operation in document["operations"].items() if operation["action"] == "receive"]
    assert len(receives) == sum(len(topic.consumers) for topic in catalogue.topics.values())
    assert set(asyncapi.MESSAGES) == {topic.payload for topic in catalogue.topics.values()}
    assert set(asyncapi.MESSAGES) <= set(schemas.schemas())
