"""Batches: every message as its own bytes, counts checked, broken files refused as a whole; continued messages."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.hl7.wire import parse
from adapters.hl7.wire.batch import pointer, rejoin, reply_batch, split
from gateway.core.errors import LimitExceeded, MalformedMessage

AT = datetime(2026, 3, 1, 10, 15, tzinfo=UTC)
ONE = b"MSH|^~\\&|EHR|HOSP|GW|PAYER|20260301||ADT^A01|C1|P|2.5.1\rPID|1||1\r"
TWO = ONE.replace(b"C1", b"C2")
FHS = b"FHS|^~\\&|EHR|HOSP|GW|PAYER|20260301||||F1\r"
BHS = b"BHS|^~\\&|EHR|HOSP|GW|PAYER|20260301||||B1\r"


@pytest.mark.parametrize(
    ("data", "messages", "issues"),
    [
        (ONE, 1, []),
        (ONE + TWO, 2, []),
        (FHS + BHS + ONE + TWO + b"BTS|2\rFTS|1\r", 2, []),
        (BHS + ONE + b"BTS|1\r", 1, []),
        (FHS + ONE + TWO + b"FTS|1\r", 2, []),
        (FHS + BHS + ONE + b"BTS|1\r" + BHS + TWO + b"BTS|1\rFTS|2\r", 2, []),
        (FHS + BHS + ONE + TWO + b"BTS|3\rFTS|2\r", 2, ["BTS-1", "FTS-1"]),
        (FHS + BHS + ONE + b"BTS|x\rFTS|\r", 1, ["BTS-1"]),
        (FHS + BHS + ONE, 1, ["BHS", "FHS"]),
        (FHS + BHS + b"BTS|0\rFTS|1\r", 0, []),
        (b"\xef\xbb\xbf" + BHS + b"\r\n\r\n" + ONE + b"BTS|1\r", 1, []),
    ],
)
def test_good_files(data: bytes, messages: int, issues: list[str]) -> None:
    stream = split(data)
    assert list(stream.messages) == [ONE, TWO][:messages]
    assert [issue.location for issue in stream.issues] == issues


@pytest.mark.parametrize(
    ("data", "location"),
    [
        (b"", "segment 1"),
        (b"\r\n", "segment 1"),
        (b"PID|1\r", "segment 1"),
        (BHS + b"EVN|A04\rBTS|1\r", "segment 2"),
        (BHS + ONE + BHS + b"PID|1\rBTS|1\r", "segment 4"),
        (ONE + FHS, "segment 3"),
        (FHS + FHS, "segment 2"),
        (FHS + ONE + b"FTS|1\r" + TWO, "segment 5"),
        (FHS + b"BTS|1\rPID|1\r", "segment 3"),
    ],
)
def test_broken_files_give_nothing(data: bytes, location: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        split(data)
    assert caught.value.location == location


@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_wide_characters_are_refused_by_name(name: str) -> None:
    data = "MSH|^~\\&|A|B|C|D|20260301||ADT^A08|1|P|2.5.1\r".encode(name)
    with pytest.raises(MalformedMessage, match="UTF-16") as caught:
        split(data)
    assert caught.value.location == "MSH-18"


def test_too_many_messages() -> None:
    with pytest.raises(LimitExceeded):
        split(ONE * 4, limit=3)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_line_ends(end: bytes) -> None:
    stream = split((BHS + ONE + TWO + b"BTS|2\r").replace(b"\r", end))
    assert [parse(message).control_id for message in stream.messages] == ["C1", "C2"]
    assert stream.issues == ()


def test_the_reply_is_a_batch_that_names_the_senders() -> None:
    stream = split(FHS + BHS + ONE + TWO + b"BTS|2\rFTS|1\r")
    reply = reply_batch(stream, [ONE, TWO], control_id="R1", at=AT)
    lines = reply.split(b"\r")
    assert lines[0] == b"FHS|^~\\&|GW|PAYER|EHR|HOSP|20260301101500+0000||||R1|F1"
    assert lines[1] == b"BHS|^~\\&|GW|PAYER|EHR|HOSP|20260301101500+0000||||R1|B1"
    assert lines[-3:] == [b"BTS|2", b"FTS|1", b""]
    again = split(reply)
    assert again.messages == (ONE, TWO)
    assert again.issues == ()
    assert reply_batch(split(ONE + TWO), [ONE, TWO], control_id="R1", at=AT) == ONE + TWO


def part(control_id: str, continued: str, *segments: str) -> bytes:
    head = f"MSH|^~\\&|EHR|HOSP|GW|PAYER|20260301||ORU^R01|{control_id}|P|2.5.1||{continued}"
    return "".join(f"{text}\r" for text in (head, *segments)).encode()


def test_continued_messages_are_rejoined() -> None:
    parts = [
        parse(part("C1", "", "PID|1||1", "OBX|1|TX|x||first", "DSC|P1|F")),
        parse(part("C2", "P1", "ADD| second", "OBX|2|TX|y||third", "DSC|P2|F")),
        parse(part("C3", "P2", "OBX|3|TX|z||fourth")),
    ]
    assert [pointer(each) for each in parts] == ["P1", "P2", ""]
    whole = rejoin(parts)
    assert [segment.name for segment in whole.segments] == ["MSH", "PID", "OBX", "OBX", "OBX"]
    assert [segment.get(5) for segment in whole.all("OBX")] == ["first second", "third", "fourth"]
    assert whole.control_id == "C1"


def test_missing_fragments_are_an_error() -> None:
    first = parse(part("C1", "", "PID|1||1", "DSC|P1|F"))
    last = parse(part("C3", "P2", "OBX|3|TX|z||fourth"))
    for parts in ([first], [first, last], [last]):
        with pytest.raises(MalformedMessage):
            rejoin(parts)


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("python-hl7/sample_batch.hl7", 1),
        ("python-hl7/sample_batch1.hl7", 2),
        ("python-hl7/sample_file.hl7", 1),
        ("python-hl7/sample_file1.hl7", 3),
        ("oie/batch01.hl7", 3),
        ("oie/batch03.hl7", 2),
        ("oie/test-hl7-batch-input.txt", 1),
        ("hapi/example_oml_o21.hl7", 13),
        ("python-hl7/sample_bad_batch.hl7", 0),
        ("python-hl7/sample_bad_batch1.hl7", 0),
        ("python-hl7/sample_bad_file.hl7", 0),
        ("python-hl7/sample_bad_file1.hl7", 0),
    ],
)
def test_outside_batches(corpus: dict[str, bytes], name: str, messages: int) -> None:
    if not messages:
        with pytest.raises(MalformedMessage):
            split(corpus[name])
        return
    stream = split(corpus[name])
    assert len(stream.messages) == messages
    assert not any(issue.code == "count" for issue in stream.issues)
    for message in stream.messages:
        assert parse(message).header.name == "MSH"
