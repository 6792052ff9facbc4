"""The topic catalogue: what it may say, what the shipped one says, and what a cluster lacks of it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from gateway import registry
from gateway.core.errors import ConfigurationError
from gateway.core.topics import NAME, Catalogue, Change, Wanted, changes, parse

ROOT = Path(__file__).resolve().parents[3]
GOOD = """
version: 1
profiles: {embedded: {partitions: 6, replication: 1}, cluster: {partitions: 12, replication: 3}}
groups: {gateway.starter: starts}
topics:
  intake.thing.v1:
    {purpose: things, key: case, retention: 7d, cleanup: delete, schema: schemas/envelope.v1.json, producer: x,
     consumers: [gateway.starter], dead_letter: intake.dead.v1, lag: {warn: 10s, page: 2m}, phi: true}
  intake.dead.v1:
    {purpose: dead, key: case, retention: 90d, cleanup: delete, schema: schemas/deadletter.v1.json, producer: x,
     consumers: [], phi: true, partitions: 3, config: {segment.bytes: "1048576"}}
"""


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return parse((ROOT / "topics.yaml").read_text())


def test_a_good_one() -> None:
    wanted = parse(GOOD).wanted("cluster")
    assert wanted["intake.thing.v1"].partitions == 12
    assert wanted["intake.dead.v1"] == Wanted(
        3,
        3,
        {"cleanup.policy": "delete", "retention.ms": str(90 * 86_400_000), "segment.bytes": "1048576"},
    )
    assert parse(GOOD).consumed_by("gateway.starter") == ("intake.thing.v1",)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("intake.thing.v1", "intake.thing", "topics/intake.thing"),
        ("intake.thing.v1", "Intake.thing.v1", "topics/Intake.thing.v1"),
        ("key: case, retention: 7d", "key: mrn, retention: 7d", "key"),
        ("retention: 7d", "retention: 7 days", "retention"),
        ("retention: 7d", "retention: 7", "retention"),
        ("phi: true, partitions", "partitions", "phi"),
        ("purpose: dead", "purpose: dead, colour: red", "colour"),
        ("dead_letter: intake.dead.v1", "dead_letter: intake.nowhere.v1", "dead letter topic intake.nowhere.v1"),
        ("consumers: [gateway.starter]", "consumers: [somebody]", "unknown consumer groups somebody"),
        ("dead_letter: intake.dead.v1, ", "", "needs a dead letter topic"),
        ("lag: {warn: 10s, page: 2m}, ", "", "lag thresholds"),
        ("schemas/deadletter.v1.json", "deadletter.json", "schema"),
        ("version: 1", "version: 2", "version"),
        ("version: 1", "version: [", "not YAML"),
    ],
)
def test_a_fault_is_named(old: str, new: str, where: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(GOOD.replace(old, new, 1))
    told = str(caught.value) + " ".join(f"{issue.location} {issue.text}" for issue in caught.value.issues)
    assert where in told


@pytest.mark.parametrize("text", ["", "[]", "null", "1", "topics: 3", "\x00"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse(text)


def test_the_shipped_catalogue_covers_what_the_registry_names(shipped: Catalogue) -> None:
    assert all(re.match(NAME, name) for name in shipped.topics)
    produced = {*registry.TOPICS.values(), registry.PARKED, registry.DEAD_LETTERS, registry.EVENTS, registry.DECISIONS}
    assert produced <= set(shipped.topics)
    assert set(registry.STARTED_TOPICS) <= set(shipped.consumed_by(registry.STARTER_GROUP))
    assert set(registry.JOURNALED_TOPICS) == set(shipped.consumed_by(registry.JOURNAL_GROUP))
    assert {shipped.topics[name].dead_letter for name in registry.JOURNALED_TOPICS} == {registry.DEAD_LETTERS}


def test_the_shipped_catalogue_is_sized_for_what_is_sent(shipped: Catalogue) -> None:
    for profile in shipped.profiles:
        for want in shipped.wanted(profile).values():
            assert int(want.config["max.message.bytes"]) >= 2 * 1024 * 1024
            assert int(want.config["min.insync.replicas"]) == max(1, want.replication - 1)
    assert shipped.topics["intake.deadletter.v1"].retention > shipped.topics["intake.authorization.v1"].retention
    assert shipped.topics["intake.clinical.v1"].key == "facility"
    assert shipped.topics["intake.authorization.v1"].retention == timedelta(days=7)
    assert not any(topic.phi and topic.cleanup == "compact" for topic in shipped.topics.values())


def test_every_field_is_described(shipped: Catalogue) -> None:
    topic = next(iter(shipped.topics.values()))
    models = [type(shipped), type(topic), type(topic.lag), type(shipped.profiles["embedded"])]
    assert [name for model in models for name, field in model.model_fields.items() if not field.description] == []


WANT = Wanted(6, 1, {"retention.ms": "10", "cleanup.policy": "delete"})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, [("create", "", "6 partitions, 1 replicas", False)]),
        ({"a.b.v1": WANT}, []),
        ({"a.b.v1": replace(WANT, config={**WANT.config, "segment.ms": "1"})}, []),
        (
            {"a.b.v1": replace(WANT, config={"retention.ms": "9"})},
            [("config", "", "delete", False), ("config", "9", "10", False)],
        ),
        ({"a.b.v1": replace(WANT, partitions=3)}, [("partitions", "3", "6", True)]),
        ({"a.b.v1": replace(WANT, partitions=9)}, [("partitions", "9", "6", True)]),
        ({"a.b.v1": replace(WANT, replication=3)}, [("replication", "3", "1", True)]),
    ],
)
def test_changes(found: dict[str, Wanted], expected: list[tuple[str, str, str, bool]]) -> None:
    assert [
        (change.kind, change.before, change.after, bool(change.refused)) for change in changes({"a.b.v1": WANT}, found)
    ] == expected


def test_only_the_flag_allows_more_partitions_and_nothing_allows_fewer() -> None:
    def refused(partitions: int) -> list[Change]:
        found = {"a.b.v1": replace(WANT, partitions=partitions)}
        return [change for change in changes({"a.b.v1": WANT}, found, allow_repartition=True) if change.refused]

    assert refused(3) == []
    assert len(refused(9)) == 1


def test_topics_of_others_are_left_alone() -> None:
    assert changes({}, {"somebody.elses.v1": WANT}) == ()


def test_yaml_anchors_are_expanded(shipped: Catalogue) -> None:
    assert "<<" not in yaml.safe_load((ROOT / "topics.yaml").read_text())["topics"]["intake.claim.v1"]
    assert shipped.topics["intake.claim.v1"].producer == "gateway/stages/accept"
