"""Topics of a live cluster: what it has, and bringing it to what the catalogue wants.

Kafka's admin answers carry an error per resource and raise nothing: each is looked at. A changed setting is visible
with a delay: `apply` looks again until it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from gateway.core.errors import ConfigurationError, Unavailable
from gateway.core.topics import Change, Wanted, changes
from gateway.infra.kafka import KafkaSecurity

SETTLE_SECONDS = 15.0
UNKNOWN_TOPIC, ALREADY_EXISTS = 3, 36
"""Kafka's error codes that mean: not there yet; somebody else was first."""


@asynccontextmanager
async def admin(servers: str, security: KafkaSecurity | None = None) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin connection. Raises Unavailable, also for whatever fails in the block on Kafka's side."""
    client = AIOKafkaAdminClient(
        bootstrap_servers=servers, request_timeout_ms=10_000, **(security or KafkaSecurity()).options()
    )
    try:
        await client.start()
        yield client
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka does not answer ({type(error).__name__})") from error
    finally:
        await client.close()


async def found(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, Wanted]:
    """Those of the named topics that the cluster has, with their effective settings."""
    present = sorted(set(names) & set(await client.list_topics()))
    if not present:
        return {}
    described = await client.describe_topics(present)
    sizes = {
        topic["topic"]: (len(topic["partitions"]), len(topic["partitions"][0]["replicas"]))
        for topic in described
        if topic["error_code"] == 0 and topic["partitions"]
    }
    settings: dict[str, dict[str, str]] = {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in sizes]
    for answer in await client.describe_configs(resources):
        for code, _message, _kind, name, entries in (tuple(resource) for resource in answer.resources):
            _check("describing", name, code)
            settings[name] = {entry[0]: entry[1] or "" for entry in entries}
    return {name: Wanted(*size, settings[name]) for name, size in sizes.items()}


async def plan(
    client: AIOKafkaAdminClient, wanted: Mapping[str, Wanted], *, allow_repartition: bool = False
) -> tuple[Change, ...]:
    """What differs."""
    return changes(wanted, await found(client, wanted), allow_repartition=allow_repartition)


async def apply(
    client: AIOKafkaAdminClient, wanted: Mapping[str, Wanted], *, allow_repartition: bool = False
) -> tuple[Change, ...]:
    """Make the changes and wait until the cluster shows them; returns what was changed.

    Raises ConfigurationError when a change is refused (then nothing is changed) or Kafka declines one.
    """
    todo = await plan(client, wanted, allow_repartition=allow_repartition)
    if refused := [change for change in todo if change.refused]:
        first = refused[0]
        raise ConfigurationError(f"{first.topic}: {first.setting} {first.before} → {first.after}: {first.refused}")
    await _create(client, wanted, [change.topic for change in todo if change.kind == "create"])
    await _configure(client, wanted, sorted({change.topic for change in todo if change.kind == "config"}))
    for change in todo:
        if change.kind == "partitions":
            answer = await client.create_partitions({change.topic: NewPartitions(total_count=int(change.after))})
            _check_all("adding partitions to", answer.topic_errors)
    await _settle(client, wanted)
    return todo


async def _create(client: AIOKafkaAdminClient, wanted: Mapping[str, Wanted], names: Sequence[str]) -> None:
    if not names:
        return
    topics = [
        NewTopic(name, wanted[name].partitions, wanted[name].replication, topic_configs=dict(wanted[name].config))
        for name in names
    ]
    answer = await client.create_topics(topics)
    _check_all("creating", answer.topic_errors, accepted=(ALREADY_EXISTS,))


async def _configure(client: AIOKafkaAdminClient, wanted: Mapping[str, Wanted], names: Sequence[str]) -> None:
    """Set all settings of a topic: this call replaces what was set before, so drift we do not name goes too."""
    if not names:
        return
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, configs=dict(wanted[name].config)) for name in names]
    for answer in await client.alter_configs(resources):
        for code, _message, _kind, name in (tuple(resource) for resource in answer.resources):
            _check("configuring", name, code)


async def _settle(client: AIOKafkaAdminClient, wanted: Mapping[str, Wanted]) -> None:
    deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
    while left := await plan(client, wanted):
        if asyncio.get_running_loop().time() > deadline:
            raise Unavailable(f"Kafka took the changes but does not show them yet: {left[0].topic} {left[0].setting}")
        await asyncio.sleep(0.1)


async def require(client: AIOKafkaAdminClient, names: Iterable[str]) -> None:
    """Fail start-up when a topic is missing. Raises ConfigurationError naming them."""
    if missing := sorted(set(names) - set(await client.list_topics())):
        raise ConfigurationError(f"missing topics: {', '.join(missing)}; `gateway topics apply` creates them")


def _check_all(doing: str, errors: Iterable[Any], accepted: tuple[int, ...] = ()) -> None:
    for name, code, *_message in (tuple(error) for error in errors):
        if code not in accepted:
            _check(doing, name, code)


def _check(doing: str, name: str, code: int) -> None:
    if code != 0:
        raise ConfigurationError(f"{doing} {name}: Kafka declines ({for_code(code).__name__})")
