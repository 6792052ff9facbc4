"""The AsyncAPI 3.0 document of all topics, generated from the topic catalogue. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from gateway.core.topics import Catalogue, Profile, Topic, Wanted

KAFKA_BINDING = "0.5.0"
MESSAGES: dict[str, dict[str, Any]] = {
    "schemas/envelope.v1.json": {
        "name": "Envelope",
        "title": "A received message, normalized",
        "headers": {"$ref": "../schemas/envelope-headers.v1.json"},
        "payload": {"$ref": "../schemas/envelope.v1.json"},
    },
    "schemas/decision.v1.json": {
        "name": "Decision",
        "title": "A decision on a case",
        "headers": {"$ref": "../schemas/event-headers.v1.json"},
        "payload": {"$ref": "../schemas/decision.v1.json"},
    },
    "schemas/workflow-event.v1.json": {
        "name": "WorkflowEvent",
        "title": "An event of a case",
        "headers": {"$ref": "../schemas/event-headers.v1.json"},
        "payload": {"$ref": "../schemas/workflow-event.v1.json"},
    },
    "schemas/deadletter.v1.json": {
        "name": "DeadLetter",
        "title": "A record a consumer gave up on",
        "headers": {"$ref": "../schemas/deadletter.v1.json"},
        "payload": {"description": "The original value, byte for byte."},
    },
}
"""Message by the schema a topic names."""


def document(catalogue: Catalogue, profile: Profile = "embedded") -> dict[str, Any]:
    """The document as plain data."""
    wanted = catalogue.wanted(profile)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Authorization gateway",
            "version": str(catalogue.version),
            "description": "Generated from topics.yaml by `gateway topics asyncapi --write`. Values are sealed at "
            "rest; the schemas describe the plain values. Keys and headers hold tokens and codes only.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name, topic, wanted[name]) for name, topic in catalogue.topics.items()},
        "operations": _operations(catalogue),
        "components": {
            "messages": {
                message["name"]: {**message, "contentType": "application/json"} for message in MESSAGES.values()
            }
        },
    }


def _channel(name: str, topic: Topic, wanted: Wanted) -> dict[str, Any]:
    message = MESSAGES[topic.payload]["name"]
    channel: dict[str, Any] = {
        "address": name,
        "description": topic.purpose,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {
            "kafka": {
                "topic": name,
                "partitions": wanted.partitions,
                "replicas": wanted.replication,
                "topicConfiguration": {
                    "cleanup.policy": [topic.cleanup],
                    "retention.ms": int(wanted.config["retention.ms"]),
                    "max.message.bytes": int(wanted.config["max.message.bytes"]),
                },
                "bindingVersion": KAFKA_BINDING,
            }
        },
        "x-key": topic.key,
        "x-phi": topic.phi,
        "x-producer": topic.producer,
    }
    if topic.dead_letter is not None:
        channel["x-dead-letter"] = topic.dead_letter
    if topic.lag is not None:
        channel["x-lag-seconds"] = {
            "warn": int(topic.lag.warn.total_seconds()),
            "page": int(topic.lag.page.total_seconds()),
        }
    return channel


def _operations(catalogue: Catalogue) -> dict[str, Any]:
    operations: dict[str, Any] = {}
    for name, topic in catalogue.topics.items():
        reference = {"$ref": f"#/channels/{name}"}
        operations[f"send.{name}"] = {"action": "send", "channel": reference, "summary": f"by {topic.producer}"}
        for group in topic.consumers:
            operations[f"{group}.{name}"] = {
                "action": "receive",
                "channel": reference,
                "summary": catalogue.groups[group],
                "bindings": {
                    "kafka": {"groupId": {"type": "string", "enum": [group]}, "bindingVersion": KAFKA_BINDING}
                },
            }
    return operations


class _Plain(yaml.SafeDumper):
    """Without anchors: the file is read by people."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class names it
        return True


def text(catalogue: Catalogue) -> str:
    """The document as the file that is committed."""
    head = "# Generated from topics.yaml by `gateway topics asyncapi --write`; do not edit.\n"
    body: str = yaml.dump(document(catalogue), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
    return head + body
