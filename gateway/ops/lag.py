"""How far consumers are behind, and whether that is a fault: the rules of Burrow, and lag as time. Pure.

Status of a partition, from a window of its last commits (no thresholds needed):

    current lag is 0                                                             OK
    nothing committed yet                                                        NEVER
    an offset went back, even if the lag was 0 in between                        REWIND
    silent for longer than the window spans, and behind for all of that time     STOP
    lag was 0 at some commit of the window                                       OK
    offsets stand still                                                          STALL
    offsets move, the lag never falls                                            WARN
    else                                                                         OK

Two refinements of Burrow's are in: a rewind counts even after a lag of 0; and STOP is not said of a slow topic, where
the consumer had read everything until just now (an end offset of the last minutes is not above the commit).
One of ours: a window shorter than MINIMUM_SPAN counts as that long, or one commit alone would always be a STOP.

Lag as time: when was the record at the committed offset produced? Interpolated between known (end offset, time)
points, exact at a steady rate; older than all points: extrapolated along them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from gateway.core.lag import Commit, GroupReading, PartitionReading, Point

MINIMUM_SPAN = 30.0
RECENT = 100.0
"""Seconds in which a lag of 0 excuses silence: ten of Burrow's ten-second samples."""


class Status(IntEnum):
    """Burrow's states by rising severity; the numbers are what the metric shows."""

    OK = 0
    WARN = 1
    STALL = 2
    STOP = 3
    REWIND = 4
    NEVER = 5
    """Nothing was ever committed. Not a fault by itself: a new group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionLag:
    """What is known of one partition of one group."""

    topic: str
    partition: int
    begin: int
    """The oldest offset that is still kept."""
    end: int
    committed: int | None
    """None: never committed."""
    lag: int
    """Records left to read; from the oldest kept one when nothing was committed."""
    seconds: float | None
    """Age of the oldest unread record; None when it cannot be told."""
    status: Status

    @property
    def lost(self) -> int:
        """Records that retention removed before they were read."""
        return max(0, self.begin - self.committed) if self.committed is not None else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLag:
    """What is known of one consumer group."""

    group: str
    state: str
    """Kafka's: Stable, Empty, PreparingRebalance …"""
    members: int
    partitions: tuple[PartitionLag, ...]

    @property
    def status(self) -> Status:
        """Its worst partition's; a partition without commits does not count."""
        return max((part.status for part in self.partitions if part.status is not Status.NEVER), default=Status.OK)

    @property
    def verdict(self) -> str:
        """`ok`, `warn` or `error`; a partition in STALL, STOP or REWIND is an error of the group, as in Burrow."""
        return "ok" if self.status is Status.OK else "warn" if self.status is Status.WARN else "error"

    @property
    def total(self) -> int:
        """Records left to read in all partitions."""
        return sum(part.lag for part in self.partitions)

    @property
    def seconds(self) -> float | None:
        """The greatest lag in time, where it can be told."""
        return max((part.seconds for part in self.partitions if part.seconds is not None), default=None)

    @property
    def abandoned(self) -> bool:
        """Records wait and nobody is there to read them."""
        return self.members == 0 and self.total > 0 and self.state != "Unknown"


def judge(reading: GroupReading) -> GroupLag:
    """How far a group is behind, and what that means."""
    parts = tuple(_judge_partition(part, reading.at) for part in reading.partitions)
    return GroupLag(group=reading.group, state=reading.state, members=reading.members, partitions=parts)


def _judge_partition(reading: PartitionReading, now: float) -> PartitionLag:
    begun = reading.committed is not None
    position = reading.committed if reading.committed is not None else reading.begin
    lag = max(0, reading.end - position)
    seconds = seconds_behind(reading.ends, max(position, reading.begin), reading.end, now)
    return PartitionLag(
        topic=reading.topic,
        partition=reading.partition,
        begin=reading.begin,
        end=reading.end,
        committed=reading.committed,
        lag=lag,
        seconds=seconds,
        status=status(reading.commits, reading.ends, lag, now) if begun else Status.NEVER,
    )


def status(commits: Sequence[Commit], ends: Sequence[Point], lag: int, now: float) -> Status:
    """The status of a partition from its window of commits, end offsets of the last minutes and its current lag."""
    if lag <= 0:
        return Status.OK
    if not commits:
        return Status.NEVER
    if rewound(commits):
        return Status.REWIND
    if stopped(commits, now) and not recently_zero(commits[-1], ends, now):
        return Status.STOP
    if any(commit.lag <= 0 for commit in commits):
        return Status.OK
    if stalled(commits):
        return Status.STALL
    return Status.WARN if not_decreasing(commits, lag) else Status.OK


def rewound(commits: Sequence[Commit]) -> bool:
    """Whether an offset went back."""
    return any(later.offset < earlier.offset for earlier, later in pairwise(commits))


def stopped(commits: Sequence[Commit], now: float) -> bool:
    """Whether the silence since the last commit is longer than the window."""
    return now - commits[-1].at > max(commits[-1].at - commits[0].at, MINIMUM_SPAN)


def recently_zero(last: Commit, ends: Sequence[Point], now: float) -> bool:
    """Whether everything there was had been read at some time not long ago."""
    return any(end.offset <= last.offset for end in ends if now - end.at <= RECENT)


def stalled(commits: Sequence[Commit]) -> bool:
    """Whether the consumer commits the same offset again and again."""
    return len(commits) > 1 and all(commit.offset == commits[0].offset for commit in commits)


def not_decreasing(commits: Sequence[Commit], lag: int) -> bool:
    """Whether the lag never fell from one commit to the next, and not since the last."""
    lags = [commit.lag for commit in commits]
    return len(lags) > 1 and all(later >= earlier for earlier, later in pairwise([*lags, lag]))


def seconds_behind(points: Sequence[Point], committed: int, end: int, now: float) -> float | None:
    """The age in seconds of the record at `committed`: 0 when there is none, None when nothing tells.

    `points`: ends at known times. Where the end stood still, the record came after the latest of them.
    """
    if committed >= end:
        return 0.0
    known = sorted([*points, Point(end, now)], key=lambda point: (point.at, point.offset))
    known = [point for number, point in enumerate(known) if number == 0 or point.offset >= known[number - 1].offset]
    place = bisect_right([point.offset for point in known], committed)
    if place == 0:
        return _beyond(known, committed, now)
    before, after = known[place - 1], known[place]
    share = (committed - before.offset) / (after.offset - before.offset)
    return max(0.0, now - (before.at + share * (after.at - before.at)))


def _beyond(known: Sequence[Point], committed: int, now: float) -> float | None:
    """Older than every point: along the line from the oldest to the newest."""
    oldest, newest = known[0], known[-1]
    if newest.offset == oldest.offset or newest.at == oldest.at:
        return None
    per_record = (newest.at - oldest.at) / (newest.offset - oldest.offset)
    return max(0.0, now - (oldest.at - (oldest.offset - committed) * per_record))
