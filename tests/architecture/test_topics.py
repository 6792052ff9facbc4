"""Code and topics.yaml agree, and the live objects that talk to Kafka cannot lose a record."""

from __future__ import annotations

import ast
import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiokafka.protocol.produce import ProduceRequest_v7
from aiokafka.record.default_records import DefaultRecordBatch
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from gateway import registry
from gateway.infra import consuming, produce_line, produce_wire
from gateway.infra.kafka import KafkaPublisher
from gateway.ops import contracts
from gateway.roles import starter
from tests.architecture.tree import PRODUCTION, ROOT, python_files
from workflows import definitions

CATALOGUE = contracts.catalogue(ROOT / contracts.TOPICS)


@pytest.mark.parametrize("topic", sorted({*registry.TOPICS.values(), registry.PARKED}))
def test_every_intake_topic_is_journaled(topic: str) -> None:
    assert topic in CATALOGUE.topics
    assert topic in registry.JOURNALED_TOPICS


@pytest.mark.parametrize("topic", [registry.DEAD_LETTERS, registry.EVENTS, registry.DECISIONS])
def test_what_we_produce_to_exists(topic: str) -> None:
    assert topic in CATALOGUE.topics


def test_consumers_agree_with_the_catalogue() -> None:
    assert set(registry.STARTED_TOPICS) == set(CATALOGUE.consumed_by(registry.STARTER_GROUP))
    assert set(registry.JOURNALED_TOPICS) == set(CATALOGUE.consumed_by(registry.JOURNAL_GROUP))
    assert {CATALOGUE.topics[topic].dead_letter for topic in registry.JOURNALED_TOPICS} == {registry.DEAD_LETTERS}


@pytest.mark.parametrize("name", CATALOGUE.topics)
def test_a_producer_is_a_module_of_ours(name: str) -> None:
    for producer in CATALOGUE.topics[name].producer.split(", "):
        assert (ROOT / f"{producer}.py").exists()


def test_types_that_open_a_case_have_a_topic_and_a_definition() -> None:
    shipped = definitions.load()
    for message_type in registry.OPENING:
        assert message_type.split(".", 1)[0] in registry.TOPICS
        assert registry.definition_of(message_type) in shipped
    assert set(registry.DEFINITIONS.values()) <= shipped.keys()


def test_every_rule_set_a_definition_names_ships() -> None:
    for content in definitions.load().values():
        assert set(content["rules"]) <= registry.RULE_SETS.keys()


def test_generated_contracts_are_fresh() -> None:
    assert contracts.stale(ROOT) == []
    assert contracts.fresh(ROOT)


@pytest.fixture
def broker() -> KafkaBroker:
    """The starter's broker, attached but not connected."""

    async def handle(record: consuming.Record) -> None:
        raise AssertionError(record)

    async def sift(record: consuming.Record) -> bool:
        raise AssertionError(record)

    built, handling = consuming.build_broker("127.0.0.1:9"), starter.Handling(handle, sift)
    starter.attach(built, KafkaPublisher("127.0.0.1:9"), handling, handling, workers=2)
    return built


def topics(subscriber: Any) -> set[str]:
    return {getattr(topic, "name", topic) for topic in subscriber.topics}


def options(subscriber: Any) -> dict[str, Any]:
    """What the consumer of a subscriber will be made with."""
    return dict(subscriber._connection_args)


def test_no_subscriber_acknowledges_before_its_handler_is_done(broker: KafkaBroker) -> None:
    """The broker library's own default commits first: a crash in the handler would lose the record."""
    subscribers: list[Any] = list(broker.subscribers)
    assert len(subscribers) == 4
    for subscriber in subscribers:
        assert subscriber.ack_policy is AckPolicy.MANUAL
        assert subscriber.group_id in CATALOGUE.groups
        assert options(subscriber)["enable_auto_commit"] is False
        assert options(subscriber)["auto_offset_reset"] == "earliest"
        assert topics(subscriber) <= CATALOGUE.topics.keys()


def test_the_live_subscribers_read_what_the_catalogue_says(broker: KafkaBroker) -> None:
    read: dict[str, set[str]] = {}
    for subscriber in list[Any](broker.subscribers):
        read.setdefault(subscriber.group_id, set()).update(topics(subscriber))
    assert read == {group: set(CATALOGUE.consumed_by(group)) for group in CATALOGUE.groups}


def test_the_brokers_own_producer_is_idempotent(broker: KafkaBroker) -> None:
    connection: dict[str, Any] = dict(broker._connection_kwargs)
    assert connection["acks"] == "all"
    assert connection["enable_idempotence"] is True


def test_our_producer_is_idempotent_and_waits_for_all_replicas() -> None:
    """What it writes, read by a library that had no part in it. That it does so to a broker: tests/gateway/infra."""
    line = produce_line.Line(("topic", 0))
    waiting: asyncio.Future[tuple[int, int]] = asyncio.new_event_loop().create_future()
    line.waiting.append(produce_line.Record(waiting, b"key", b"value", [], 0.0))
    batch = line.build((4711, 3), 1_000)
    assert batch is not None
    request = ProduceRequest_v7.decode(BytesIO(produce_wire.request(1, "us", 8_000, [(line.place, batch.data)])[16:]))
    assert request.required_acks == -1
    ((_, ((_, data),)),) = request.topics
    written = DefaultRecordBatch(bytes(data))
    assert (written.producer_id, written.producer_epoch, written.base_sequence) == (4711, 3, 0)


def calls(path: Path) -> set[str]:
    """Names of what a file calls."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    called = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {func.id if isinstance(func, ast.Name) else getattr(func, "attr", "") for func in called}


def test_kafka_has_one_door() -> None:
    """So that walking these objects is walking all of them."""
    doors = {
        "AIOKafkaProducer",
        "AIOKafkaConsumer",
        "AIOKafkaClient",
        "AIOKafkaConnection",
        "DefaultRecordBatchBuilder",
        "Producer",
        "KafkaBroker",
        "subscriber",
    }
    found = {path.as_posix(): calls(path) & doors for path in python_files(*PRODUCTION)}
    assert {path: names for path, names in found.items() if names} == {
        "gateway/infra/kafka.py": {"Producer"},
        "gateway/infra/producer.py": {"AIOKafkaClient"},
        "gateway/infra/broker.py": {"AIOKafkaConnection"},
        "gateway/infra/produce_line.py": {"DefaultRecordBatchBuilder"},
        "gateway/infra/consuming.py": {"KafkaBroker", "subscriber"},
        "gateway/infra/kafka_lag.py": {"AIOKafkaConsumer"},  # reads commits without a group: it acknowledges nothing
    }
