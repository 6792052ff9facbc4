"""The topic catalogue, `topics.yaml`, as typed data, and what a cluster lacks of it. Pure.

Names: `^[a-z]+(\\.[a-z]+)+\\.v[0-9]+$`. A durable name never changes its meaning: a breaking change of the payload is
a new topic, `…v2`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from gateway.core.errors import ConfigurationError, Issue

NAME = r"^[a-z]+(\.[a-z]+)+\.v[0-9]+$"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Profile = Literal["embedded", "cluster"]


def duration(value: Any) -> Any:
    """`10s`, `5m`, `12h`, `7d` as a timedelta."""
    found = re.fullmatch(r"(\d+)([smhd])", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("a duration is a number and one of s, m, h, d: 7d")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


Duration = Annotated[timedelta, BeforeValidator(duration)]
Name = Annotated[str, StringConstraints(pattern=NAME)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lag(_Closed):
    """How far a consumer group may be behind, in time."""

    warn: Duration = Field(description="Longer than this for five minutes is a ticket.")
    page: Duration = Field(description="Longer than this for five minutes is a page.")


class Topic(_Closed):
    """One topic."""

    purpose: str = Field(description="What its records are, in one sentence.")
    key: Literal["case", "facility", "provider"] = Field(
        description="What keeps order: records of one case, one facility (its patients side by side), one provider."
    )
    partitions: int | None = Field(None, ge=1, description="Number of partitions; default: the profile's.")
    retention: Duration = Field(description="How long records are kept.")
    cleanup: Literal["delete", "compact"] = Field(description="Kafka's cleanup.policy.")
    payload: str = Field(
        alias="schema", pattern=r"^schemas/[a-z-]+\.v[0-9]+\.json$", description="Schema of the value."
    )
    producer: str = Field(description="The module that writes it.")
    consumers: tuple[str, ...] = Field(description="Consumer groups that read it.")
    dead_letter: Name | None = Field(None, description="Where a record goes that a consumer cannot handle.")
    lag: Lag | None = Field(None, description="Thresholds of its consumers' lag.")
    phi: bool = Field(description="Whether its values hold protected health information; keys and headers never do.")
    config: dict[str, str] = Field(default_factory=dict, description="Further Kafka topic settings.")


class Defaults(_Closed):
    """What a profile says about all topics."""

    partitions: int = Field(ge=1, description="Number of partitions.")
    replication: int = Field(ge=1, description="Number of replicas.")
    config: dict[str, str] = Field(default_factory=dict, description="Kafka topic settings.")


class Catalogue(_Closed):
    """The whole of topics.yaml."""

    version: Literal[1] = Field(description="Version of this file's format.")
    profiles: dict[Profile, Defaults] = Field(description="Sizes: one embedded node, or a cluster.")
    config: dict[str, str] = Field(default_factory=dict, description="Kafka settings of every topic.")
    groups: dict[str, str] = Field(description="Consumer groups and what they do.")
    topics: dict[Name, Topic] = Field(description="The topics by name.")

    @model_validator(mode="after")
    def _closed(self) -> Catalogue:
        for name, topic in self.topics.items():
            if topic.dead_letter is not None and topic.dead_letter not in self.topics:
                raise ValueError(f"{name}: dead letter topic {topic.dead_letter} is not in the catalogue")
            if unknown := sorted(set(topic.consumers) - self.groups.keys()):
                raise ValueError(f"{name}: unknown consumer groups {', '.join(unknown)}")
            if topic.consumers and (topic.dead_letter is None or topic.lag is None):
                raise ValueError(f"{name}: a consumed topic needs a dead letter topic and lag thresholds")
        return self

    def wanted(self, profile: Profile) -> dict[str, Wanted]:
        """Every topic as a cluster of this profile should have it."""
        defaults = self.profiles[profile]
        return {
            name: Wanted(
                partitions=topic.partitions or defaults.partitions,
                replication=defaults.replication,
                config=self.config
                | defaults.config
                | {
                    "cleanup.policy": topic.cleanup,
                    "retention.ms": str(int(topic.retention.total_seconds() * 1000)),
                }
                | topic.config,
            )
            for name, topic in self.topics.items()
        }

    def consumed_by(self, group: str) -> tuple[str, ...]:
        """The topics a group reads."""
        return tuple(name for name, topic in self.topics.items() if group in topic.consumers)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A topic's size and Kafka settings: as the catalogue wants it, or as a cluster has it."""

    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between catalogue and cluster."""

    topic: str
    kind: Literal["create", "config", "partitions", "replication"]
    setting: str
    before: str
    after: str
    refused: str = ""
    """Why `apply` will not do it; empty when it will."""


def parse(text: str) -> Catalogue:
    """Read topics.yaml. Raises ConfigurationError with one issue for each fault."""
    try:
        return Catalogue.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigurationError("topics.yaml is not YAML", location=f"line {mark.line + 1}" if mark else "") from error
    except ValidationError as error:
        issues = tuple(
            Issue(fault["type"], "/".join(str(step) for step in fault["loc"]) or "/", fault["msg"])
            for fault in error.errors()
        )
        raise ConfigurationError("topics.yaml is not a topic catalogue", issues=issues) from error


def changes(
    wanted: Mapping[str, Wanted], found: Mapping[str, Wanted], *, allow_repartition: bool = False
) -> tuple[Change, ...]:
    """What to change so that the cluster is as the catalogue wants it; empty when there is no drift."""
    result: list[Change] = []
    for name, want in sorted(wanted.items()):
        have = found.get(name)
        if have is None:
            size = f"{want.partitions} partitions, {want.replication} replicas"
            result.append(Change(topic=name, kind="create", setting="topic", before="", after=size))
            continue
        result += _sizes(name, want, have, allow_repartition=allow_repartition)
        for setting in sorted(want.config):
            before, after = have.config.get(setting, ""), want.config[setting]
            if before != after:
                result.append(Change(topic=name, kind="config", setting=setting, before=before, after=after))
    return tuple(result)


def _sizes(name: str, want: Wanted, have: Wanted, *, allow_repartition: bool) -> list[Change]:
    result: list[Change] = []
    if want.partitions != have.partitions:
        refused = ""
        if want.partitions < have.partitions:
            refused = "Kafka cannot take partitions away: a new topic version is needed"
        elif not allow_repartition:
            refused = "it would move keys to other partitions and break their order: --allow-repartition"
        result.append(_size(name, "partitions", have.partitions, want.partitions, refused))
    if want.replication != have.replication:
        refused = "replicas are moved with Kafka's reassignment tool"
        result.append(_size(name, "replication", have.replication, want.replication, refused))
    return result


def _size(name: str, kind: Literal["partitions", "replication"], before: int, after: int, refused: str) -> Change:
    return Change(topic=name, kind=kind, setting=kind, before=str(before), after=str(after), refused=refused)
