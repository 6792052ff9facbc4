"""The framer: what comes out never depends on how the bytes were cut."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hl7.wire.mllp import (
    CR,
    FS,
    VT,
    Commit,
    Event,
    Frame,
    Framer,
    Junk,
    Limits,
    Refused,
    Truncated,
    frame,
)

EXAMPLES = int(os.environ.get("GATEWAY_FUZZ", "100"))
A = b"MSH|^~\\&|A|B|C|D|20260301||ADT^A08|M1|P|2.5.1\rPID|1||1\r"
B = A.replace(b"M1", b"M2")

CASES: dict[str, tuple[bytes, list[Event]]] = {
    "one": (frame(A), [Frame(A)]),
    "two": (frame(A) + frame(B), [Frame(A), Frame(B)]),
    "blanks before": (b"\r\n  " + frame(A), [Frame(A)]),
    "junk before": (b"HELO " + frame(A), [Junk(5, b"HELO ".hex()), Frame(A)]),
    "junk longer than told": (b"0123456789" + frame(A), [Junk(10, b"01234567".hex()), Frame(A)]),
    "no CR, then VT": (VT + A + FS + frame(B), [Frame(A, ("missing-end",)), Frame(B)]),
    "no CR, then end": (VT + A + FS, [Frame(A, ("missing-end",))]),
    "FS in body": (frame(b"MSH|a\x1cb\r"), [Refused("embedded-end", b"MSH|a\x1cb\r", 8)]),
    "FS FS CR": (frame(A + FS), [Refused("embedded-end", A + FS, len(A) + 1)]),
    "VT in body": (frame(b"MSH|a\x0bb\r"), [Truncated("restarted", 5), Refused("no-header", b"b\r", 2)]),
    "no end, then VT": (VT + A + frame(B), [Truncated("restarted", len(A)), Frame(B)]),
    "doubled": (VT + frame(A) + FS + CR, [Frame(A)]),
    "empty": (frame(b""), [Refused("empty", b"", 0)]),
    "blank": (frame(b"\r\n"), [Refused("empty", b"\r\n", 2)]),
    "end in frame": (VT + A, [Truncated("end-of-stream", len(A))]),
    "lone VT at end": (VT, []),
    "nothing": (b"", []),
    "unframed": (A, [Junk(len(A), A[:8].hex(), close=True)]),
    "byte order mark": (frame(b"\xef\xbb\xbf" + A), [Frame(b"\xef\xbb\xbf" + A)]),
    "not HL7": (frame(b"GET / HTTP/1.1\r\n\r\n"), [Refused("no-header", b"GET / HTTP/1.1\r\n\r\n", 18)]),
    "batch": (frame(b"FHS|^~\\&\r" + A), [Frame(b"FHS|^~\\&\r" + A)]),
    "commit": (frame(b"\x06"), [Commit(positive=True)]),
    "commit refused": (frame(b"\x15"), [Commit(positive=False)]),
    "resynchronised": (frame(b"x") + b"yyy" + frame(A), [Refused("no-header", b"x", 1), Junk(3, "797979"), Frame(A)]),
}


def run(chunks: list[bytes], limits: Limits | None = None) -> list[Event]:
    framer = Framer(limits)
    events = [event for chunk in chunks for event in framer.feed(chunk)]
    return events + framer.end()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(borders)]


@pytest.mark.parametrize("name", CASES)
def test_each_case_whole_and_byte_by_byte(name: str) -> None:
    data, expected = CASES[name]
    assert run([data]) == expected
    assert run([bytes([byte]) for byte in data]) == expected


@pytest.mark.parametrize("name", CASES)
def test_each_case_cut_once_and_twice_everywhere(name: str) -> None:
    data, expected = CASES[name]
    for first in range(len(data) + 1):
        assert run(cut(data, [first])) == expected
        assert run(cut(data, [first, first + 1])) == expected


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.lists(st.sampled_from([VT, FS, CR, FS + CR, b"MSH|", b"x", b"\n", b"\x06", b"\x15", b"abcdefgh"]), max_size=30),
    st.lists(st.integers(0, 200), max_size=3),
)
def test_any_bytes_give_the_same_events_however_cut(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    for limits in (None, Limits(frame=30, junk=9, head=12)):
        whole = run([data], limits)
        assert run(cut(data, places), limits) == whole
        assert run([bytes([byte]) for byte in data], limits) == whole


def test_a_frame_over_the_limit_is_refused_by_its_head_and_closes() -> None:
    limits = Limits(frame=100, head=40)
    long = A + b"x" * 100
    events = run([frame(long) + frame(B)], limits)
    assert events == [Refused("too-large", long[:40], 101, close=True)]
    assert run([frame(A)], Limits(frame=len(A))) == [Frame(A)]
    assert run([frame(A)], Limits(frame=len(A) - 1)) == [Refused("too-large", A[:-1], len(A), close=True)]


def test_the_limit_holds_before_the_end_of_the_frame() -> None:
    framer = Framer(Limits(frame=1_000))
    assert framer.feed(VT + b"x" * 900) == []
    assert framer.buffered == 900
    assert framer.feed(b"x" * 200) == [Refused("too-large", b"x" * 1_000, 1_001, close=True)]
    assert framer.buffered == 0
    assert framer.feed(frame(A)) == []


def test_junk_over_the_limit_closes() -> None:
    framer = Framer()
    events = framer.feed(b"x" * 2_000)
    assert events == [Junk(1_025, "78" * 8, close=True)]
    assert framer.closed
    assert framer.feed(frame(A)) == []
    assert framer.end() == []


def test_many_lone_frame_ends_take_linear_time() -> None:
    # Each FS is looked at once: a megabyte of them must not take a square of anything.
    data = VT + FS * 1_000_000 + CR
    (event,) = Framer().feed(data)
    assert isinstance(event, Refused)
    assert event.size == 999_999


def test_the_outside_framing_cases(outside: Path) -> None:
    cases = json.loads((outside / "synthetic" / "mllp_frames.json").read_text())
    assert len(cases) == 22
    for case in cases:
        chunks = [bytes.fromhex(chunk) for chunk in case["chunks_hex"]]
        data = b"".join(chunks)
        expected = run(chunks)
        _check(case["name"], case["expect"], expected)
        assert run([bytes([byte]) for byte in data]) == expected
        for first in range(len(data) + 1):
            assert run(cut(data, [first, first * 7 + 1, first * 13 + 5])) == expected, case["name"]


def _check(name: str, expect: list[str], events: list[Event]) -> None:
    """The listed result, in the file's own words."""
    frames = [event.payload for event in events if isinstance(event, Frame)]
    refused = [event for event in events if isinstance(event, Refused)]
    reasons = {event.reason for event in refused}
    for word in expect:
        match word:
            case "M1" | "M2":
                assert any(f"|{word}|".encode() in payload for payload in frames), name
            case "M2 or reject":
                assert b"|M2|" in frames[0], name  # in the same frame as M1: the batch reader cuts it out
            case "batch:M1,M2":
                assert frames[0].startswith(b"FHS"), name
            case "reject:M1":
                assert not frames, name
                assert b"|M1|" in refused[0].payload, name
            case "reject":
                assert not frames, name
                assert refused, name
            case "reject:empty":
                assert reasons == {"empty"}, name
            case "reject:no-MSH":
                assert reasons == {"no-header"}, name
            case "truncated" | "incomplete-at-eof":
                assert any(isinstance(event, Truncated) for event in events), name
            case "protocol-error":
                assert isinstance(events[-1], Junk), name
                assert events[-1].close, name
            case "transport-ack":
                assert events == [Commit(positive=True)], name
            case "empty-or-ignored":
                assert len(frames) == 1, name
            case _:
                pytest.fail(f"unknown expectation {word}")
    if "M1" not in expect and "batch:M1,M2" not in expect and "truncated" not in expect:
        assert not frames, name
