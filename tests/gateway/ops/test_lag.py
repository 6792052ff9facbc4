"""The state machine of consumer lag: the whole truth table, and lag as time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.lag import Commit, GroupReading, PartitionReading, Point
from gateway.ops.lag import MINIMUM_SPAN, RECENT, GroupLag, Status, judge, seconds_behind, status

NOW = 1_000_000.0
BEHIND = [Point(500, NOW - 50.0), Point(900, NOW - 10.0)]
"""Ends of a busy topic."""


def commits(*rows: tuple[int, float, int]) -> tuple[Commit, ...]:
    """Commits from (offset, seconds ago, lag)."""
    return tuple(Commit(offset, NOW - ago, lag) for offset, ago, lag in rows)


TABLE = {
    # everything read: never a fault, whatever was before
    "zero lag": (commits((10, 90, 5), (20, 60, 5), (30, 30, 0)), BEHIND, 0, Status.OK),
    "zero lag after a rewind": (commits((30, 90, 5), (10, 60, 25), (35, 30, 0)), BEHIND, 0, Status.OK),
    "zero lag, silent for a day": (commits((30, 90_000, 0), (30, 86_400, 0)), BEHIND, 0, Status.OK),
    "zero lag, nothing committed": ((), (), 0, Status.OK),
    # nothing committed
    "never committed": ((), BEHIND, 7, Status.NEVER),
    # moving
    "lag falls": (commits((10, 90, 50), (20, 60, 40), (30, 30, 30)), BEHIND, 20, Status.OK),
    "lag falls once": (commits((10, 90, 50), (20, 60, 49), (30, 30, 60)), BEHIND, 70, Status.OK),
    "lag falls since the last commit": (commits((10, 90, 50), (20, 60, 50), (30, 30, 60)), BEHIND, 59, Status.OK),
    "lag was zero in the window": (commits((10, 90, 0), (20, 60, 5), (30, 30, 9)), BEHIND, 12, Status.OK),
    "offsets move, lag grows": (commits((10, 90, 5), (20, 60, 6), (30, 30, 7)), BEHIND, 8, Status.WARN),
    "offsets move, lag stays": (commits((10, 90, 5), (20, 60, 5), (30, 30, 5)), BEHIND, 5, Status.WARN),
    # standing still
    "same offset, lag grows": (commits((10, 90, 5), (10, 60, 6), (10, 30, 7)), BEHIND, 8, Status.STALL),
    "same offset, lag stays": (commits((10, 90, 5), (10, 60, 5), (10, 30, 5)), BEHIND, 5, Status.STALL),
    "same offset, lag was zero": (commits((10, 90, 0), (10, 60, 5), (10, 30, 5)), BEHIND, 5, Status.OK),
    # silent
    "silent for longer than the window": (commits((10, 190, 5), (20, 160, 4), (30, 130, 3)), BEHIND, 3, Status.STOP),
    "silent, lag was zero before": (commits((10, 190, 0), (20, 160, 0), (30, 130, 0)), BEHIND, 9, Status.STOP),
    "silent as long as the window": (commits((10, 120, 5), (20, 90, 4), (30, 60, 3)), BEHIND, 2, Status.OK),
    "one commit, just now": (commits((10, 2, 5)), BEHIND, 5, Status.OK),
    "one commit, long ago": (commits((10, MINIMUM_SPAN + 1, 5)), BEHIND, 5, Status.STOP),
    "short window, short silence": (commits((10, 22, 9), (20, 20, 5)), BEHIND, 4, Status.OK),
    "silent with a stall before": (commits((10, 190, 5), (10, 160, 5), (10, 130, 5)), BEHIND, 5, Status.STOP),
    # a slow topic: all was read until a record came just now
    "slow topic": (commits((10, 5000, 0), (11, 3000, 0)), [Point(11, NOW - 20), Point(12, NOW - 5)], 1, Status.OK),
    "slow topic, waiting too long": (
        commits((10, 5000, 0), (11, 3000, 0)),
        [Point(11, NOW - RECENT - 1), Point(12, NOW - 90)],
        1,
        Status.STOP,
    ),
    # going back
    "rewound": (commits((30, 90, 5), (10, 60, 25), (20, 30, 15)), BEHIND, 10, Status.REWIND),
    "rewound after zero lag": (commits((30, 90, 0), (10, 60, 20), (20, 30, 10)), BEHIND, 10, Status.REWIND),
    "rewound to where lag was zero": (commits((30, 90, 5), (35, 60, 0), (10, 30, 25)), BEHIND, 30, Status.REWIND),
    "rewound, then silent": (commits((30, 190, 5), (10, 160, 25), (20, 130, 15)), BEHIND, 15, Status.REWIND),
}


@pytest.mark.parametrize("case", TABLE)
def test_truth_table(case: str) -> None:
    window, ends, lag, expected = TABLE[case]
    assert status(window, ends, lag, NOW) is expected


def test_every_status_is_in_the_table() -> None:
    assert {expected for *_, expected in TABLE.values()} == set(Status)


def reading(*parts: PartitionReading, members: int = 1) -> GroupLag:
    """A judged group."""
    return judge(GroupReading(group="g", state="Stable", members=members, at=NOW, partitions=parts))


def part(number: int, committed: int | None, end: int, window: tuple[Commit, ...] = ()) -> PartitionReading:
    """A partition of topic t that begins at 5."""
    return PartitionReading(
        topic="t",
        partition=number,
        begin=5,
        end=end,
        committed=committed,
        commits=window,
        ends=(Point(5, NOW - 100), Point(end, NOW)),
    )


STALLED = commits((10, 90, 5), (10, 60, 6), (10, 30, 7))
GROWING = commits((10, 90, 5), (20, 60, 6), (30, 30, 7))


def test_a_group_is_as_bad_as_its_worst_partition() -> None:
    good = part(0, 20, 20)
    assert reading(good).verdict == "ok"
    assert reading(good, part(1, 30, 40, GROWING)).verdict == "warn"
    both = reading(good, part(1, 30, 40, GROWING), part(2, 10, 18, STALLED))
    assert (both.status, both.verdict, both.total) == (Status.STALL, "error", 18)


def test_never_committed_is_shown_as_such_and_not_as_zero() -> None:
    group = reading(part(0, None, 25))
    (found,) = group.partitions
    assert (found.status, found.committed, found.lag) == (Status.NEVER, None, 20)
    assert group.verdict == "ok"
    assert not group.abandoned


def test_a_group_without_members_that_has_work_is_abandoned() -> None:
    assert reading(part(0, 10, 20, STALLED), members=0).abandoned
    assert reading(part(0, None, 20), members=0).abandoned
    assert not reading(part(0, 20, 20), members=0).abandoned


def test_records_that_expired_unread_are_counted() -> None:
    (found,) = reading(part(0, 2, 25, GROWING)).partitions
    assert (found.lost, found.lag) == (3, 23)


STEADY = [Point(1000 - 10 * age, NOW - age) for age in (5, 10, 60, 600)]
"""Ten records a second, offset 1000 now."""


@pytest.mark.parametrize(
    ("points", "committed", "expected"),
    [
        (STEADY, 1000, 0.0),
        (STEADY, 1001, 0.0),
        (STEADY, 990, 1.0),
        (STEADY, 950, 5.0),
        (STEADY, 700, 30.0),
        (STEADY, -9000, 1000.0),  # older than every point: along the line
        ([], 990, None),  # one end alone says nothing
        ([Point(1000, NOW - 60)], 990, None),  # the end stood still
        ([Point(990, NOW - 60), Point(990, NOW - 20)], 990, 20.0),  # the record came after the quiet time
        ([Point(990, NOW - 60), Point(990, NOW - 20)], 995, 10.0),
        ([Point(980, NOW - 60), Point(960, NOW - 40), Point(990, NOW - 20)], 985, 40.0),  # a recreated topic
    ],
)
def test_lag_in_time(points: list[Point], committed: int, expected: float | None) -> None:
    assert seconds_behind(points, committed, 1000, NOW) == (None if expected is None else pytest.approx(expected))


@given(
    rate=st.floats(0.5, 500.0),
    behind=st.floats(1.0, 80_000.0),
    ages=st.sets(st.integers(1, 100_000), min_size=1, max_size=20),
)
def test_at_a_steady_rate_lag_in_time_is_right_to_a_tenth(rate: float, behind: float, ages: set[int]) -> None:
    end = int(rate * 200_000)
    points = [Point(int(end - rate * age), NOW - age) for age in ages]
    if points[0].offset == end:
        return
    found = seconds_behind(points, int(end - rate * behind), end, NOW)
    if found is not None and min(ages) * rate > 20:  # whole records: fewer carry no rate
        assert found == pytest.approx(behind, rel=0.1, abs=2 / rate)


@given(
    rows=st.lists(st.tuples(st.integers(0, 50), st.floats(0, 500), st.integers(0, 50)), max_size=10),
    ends=st.lists(st.tuples(st.integers(0, 100), st.floats(0, 500)), max_size=5),
    lag=st.integers(0, 50),
)
def test_any_window_has_a_status(rows: list[tuple[int, float, int]], ends: list[tuple[int, float]], lag: int) -> None:
    window = tuple(sorted(commits(*rows), key=lambda commit: commit.at))
    points = [Point(offset, NOW - ago) for offset, ago in ends]
    found = status(window, points, lag, NOW)
    assert (found is Status.OK) or lag > 0
    assert (found is Status.NEVER) == (not window and lag > 0)
    seconds_behind(points, 10, 10 + lag, NOW)
