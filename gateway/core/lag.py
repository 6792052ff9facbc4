"""What is read off a cluster about consumer groups; gateway/ops/lag.py judges it.

Times are seconds since the epoch; offsets are Kafka's: the next record to be read, or written.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """The end of a partition at a time: `offset` is the next one to be written."""

    offset: int
    at: float


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: the next offset to be read, when, and how many records were left then."""

    offset: int
    at: float
    lag: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionReading:
    """One partition as one group stands to it."""

    topic: str
    partition: int
    begin: int
    """The oldest offset that is still kept."""
    end: int
    committed: int | None
    """None: never committed."""
    commits: tuple[Commit, ...] = ()
    """The last ones, oldest first; need not be known when nothing is left to read."""
    ends: tuple[Point, ...] = ()
    """Ends at earlier times; need not be known when nothing is left to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReading:
    """One consumer group."""

    group: str
    state: str
    """Kafka's: Stable, Empty, PreparingRebalance, Dead …; `Unknown` where its members cannot be told."""
    members: int
    at: float
    partitions: tuple[PartitionReading, ...]
