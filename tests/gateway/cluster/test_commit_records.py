"""Records of `__consumer_offsets`: every version, and what is none."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import MalformedMessage
from gateway.core.lag import Commit
from gateway.infra.kafka_lag import RawCommit, parse_commit, sample


def text(value: str) -> bytes:
    return struct.pack(">h", len(value.encode())) + value.encode()


def key(version: int = 1) -> bytes:
    return struct.pack(">h", version) + text("a group") + text("a.topic.v1") + struct.pack(">i", 3)


AT = struct.pack(">q", 1_700_000_000_500)
VALUES = {
    0: struct.pack(">hq", 0, 42) + text("note") + AT,
    1: struct.pack(">hq", 1, 42) + text("note") + AT + AT,
    2: struct.pack(">hq", 2, 42) + text("") + AT,
    3: struct.pack(">hqi", 3, 42, 7) + text("note") + AT,
    4: struct.pack(">hqi", 4, 42, 7) + b"\x05note" + AT + b"\x00",
}
LONG = struct.pack(">hqi", 4, 42, 7) + b"\xad\x02" + b"x" * 300 + AT + b"\x00"


@pytest.mark.parametrize("value", [*VALUES.values(), LONG])
@pytest.mark.parametrize("version", [0, 1])
def test_a_commit(version: int, value: bytes) -> None:
    assert parse_commit(key(version), value) == RawCommit("a group", "a.topic.v1", 3, 42, 1_700_000_000.5)


@pytest.mark.parametrize("value", [None, b""])
def test_a_deleted_commit(value: bytes | None) -> None:
    assert parse_commit(key(), value) == RawCommit("a group", "a.topic.v1", 3, None, 0.0)


def test_group_metadata_is_no_commit() -> None:
    assert parse_commit(key(2), b"whatever") is None


@pytest.mark.parametrize(
    ("record_key", "value"),
    [(b"", b""), (key()[:-1], VALUES[3]), (key(), VALUES[3][:-1]), (key(), b"\x00\x05" + VALUES[3][2:])],
)
def test_what_cannot_be_read_is_said(record_key: bytes, value: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_commit(record_key, value)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_nothing_else_comes_out(record_key: bytes, value: bytes) -> None:
    try:
        parse_commit(b"\x00\x01" + record_key, value)
    except MalformedMessage:
        pass


def test_one_commit_is_kept_for_each_second_and_ten_in_all() -> None:
    many = [Commit(number, number / 4, 1) for number in range(100)]
    kept = sample(many)
    assert [commit.offset for commit in kept] == [63, 67, 71, 75, 79, 83, 87, 91, 95, 99]
    assert sample([]) == []


def test_a_brokers_clock_that_steps_back_is_no_rewind() -> None:
    kept = sample([Commit(3, 100.0, 1), Commit(8, 97.5, 1), Commit(9, 99.9, 1)])
    assert [commit.offset for commit in kept] == [3, 8, 9]
