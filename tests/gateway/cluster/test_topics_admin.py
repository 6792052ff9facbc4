"""The topic catalogue against a real cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from gateway.core.errors import ConfigurationError, Unavailable
from gateway.core.topics import Catalogue, parse
from gateway.infra import topics_admin

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[3]


def catalogue(prefix: str, partitions: int = 3, retention: str = "7d") -> Catalogue:
    """A catalogue of two topics."""
    return parse(f"""
version: 1
profiles:
  embedded: {{partitions: {partitions}, replication: 1, config: {{min.insync.replicas: "1"}}}}
groups: {{}}
topics:
  {prefix}.requests.v1: &topic
    {{purpose: p, key: case, retention: {retention}, cleanup: delete, schema: schemas/envelope.v1.json,
      producer: x, consumers: [], phi: true}}
  {prefix}.state.v1: {{<<: *topic, cleanup: compact}}
""")


async def test_apply_makes_check_silent_and_changes_nothing_twice(kafka: str) -> None:
    wanted = catalogue("first").wanted("embedded")
    async with topics_admin.admin(kafka) as client:
        with pytest.raises(ConfigurationError, match=r"missing topics: first\.requests\.v1"):
            await topics_admin.require(client, wanted)
        done = await topics_admin.apply(client, wanted)
        assert [(change.topic, change.kind) for change in done] == [(name, "create") for name in sorted(wanted)]
        assert await topics_admin.plan(client, wanted) == ()
        assert await topics_admin.apply(client, wanted) == ()
        await topics_admin.require(client, wanted)
        found = await topics_admin.found(client, wanted)
        assert found["first.state.v1"].config["cleanup.policy"] == "compact"


async def test_drift_is_seen_and_corrected(kafka: str) -> None:
    wanted = catalogue("drifting").wanted("embedded")
    async with topics_admin.admin(kafka) as client:
        await topics_admin.apply(client, wanted)
        drifted = {"retention.ms": "1000", "cleanup.policy": "delete", "min.insync.replicas": "1"}
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "drifting.requests.v1", configs=drifted)])
        later = catalogue("drifting", retention="8d").wanted("embedded")
        changes = await topics_admin.plan(client, later)
        assert {change.after for change in changes} == {str(8 * 86_400_000)}
        await topics_admin.apply(client, later)
        assert await topics_admin.plan(client, later) == ()


async def test_partitions_are_added_only_with_the_flag_and_never_removed(kafka: str) -> None:
    async with topics_admin.admin(kafka) as client:
        await topics_admin.apply(client, catalogue("growing").wanted("embedded"))
        more = catalogue("growing", partitions=5, retention="9d").wanted("embedded")
        with pytest.raises(ConfigurationError, match="--allow-repartition"):
            await topics_admin.apply(client, more)
        unchanged = await topics_admin.found(client, more)
        assert {topic.config["retention.ms"] for topic in unchanged.values()} == {str(7 * 86_400_000)}
        await topics_admin.apply(client, more, allow_repartition=True)
        assert {topic.partitions for topic in (await topics_admin.found(client, more)).values()} == {5}
        fewer = catalogue("growing", partitions=2).wanted("embedded")
        with pytest.raises(ConfigurationError, match="cannot take partitions away"):
            await topics_admin.apply(client, fewer, allow_repartition=True)


async def test_what_kafka_declines_is_said(kafka: str) -> None:
    wanted = catalogue("declined").wanted("embedded")
    too_many = {name: type(want)(want.partitions, 3, want.config) for name, want in wanted.items()}
    async with topics_admin.admin(kafka) as client:
        with pytest.raises(ConfigurationError, match="InvalidReplicationFactor"):
            await topics_admin.apply(client, too_many)
        await client.create_topics([NewTopic("declined.requests.v1", 3, 1)])
        wrong = {"declined.requests.v1": type(wanted["declined.requests.v1"])(3, 1, {"retention.ms": "soon"})}
        with pytest.raises(ConfigurationError, match="InvalidConfig"):
            await topics_admin.apply(client, wrong)


async def test_a_cluster_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        async with topics_admin.admin("127.0.0.1:1"):
            pass


def test_the_command_line_and_the_shipped_catalogue(kafka: str) -> None:
    def gateway(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", "topics", *arguments, "--kafka", kafka]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    drift = gateway("check", "--json")
    assert drift.returncode == 1
    assert {change["kind"] for change in json.loads(drift.stdout)} == {"create"}
    assert gateway("plan").returncode == 0
    assert gateway("apply").returncode == 0
    assert json.loads(gateway("check", "--json").stdout) == []
    assert gateway("check").returncode == 0
    refused = gateway("plan", "--profile", "cluster")
    assert refused.returncode == 0
    assert "refused" in refused.stdout
    failed = gateway("apply", "--profile", "cluster")
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert gateway("apply", "--profile", "huge").returncode == 2
