"""Acknowledgements: the matrix of modes and outcomes, and what each release can say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.hl7.wire import Message, Segment, parse, read_header
from adapters.hl7.wire.acknowledgement import Answers, acknowledge, is_answer, plan, refuse, verdict_of, wanted
from adapters.hl7.wire.check import check
from adapters.hl7.wire.reply import action_for, read_reply
from adapters.hl7.wire.structures import RESPONSES
from gateway.core.errors import (
    EndpointRefused,
    GatewayError,
    InvalidMessage,
    Issue,
    LimitExceeded,
    MalformedMessage,
    MessageConflict,
    OwnError,
    UnauthorizedSender,
    Unavailable,
    UnsupportedMessage,
)

AT = datetime(2026, 3, 1, 10, 15, tzinfo=UTC)


def header(
    *, accept: str = "", application: str = "", kind: str = "ADT^A01^ADT_A01", version: str = "2.5.1", charset: str = ""
) -> Segment:
    fields = f"EHR^1.2^ISO|HOSP|GW|PAYER|20260301||{kind}|C1|P|{version}|||{accept}|{application}||{charset}"
    return read_header(f"MSH|^~\\&|{fields}".encode())


def answers(head: Segment, error: GatewayError | None = None, **more: object) -> Answers:
    numbers = iter(["A1", "A2"])
    return acknowledge(head, error, identify=lambda: next(numbers), at=AT, **more)  # type: ignore[arg-type]


def code(answer: bytes | None) -> str:
    return parse(answer).get("MSA-1") if answer else "-"


CONTENT = InvalidMessage(issues=(Issue("101", "PID[1]-3[1].1", "patient identifier missing"),))
TYPE = UnsupportedMessage(location="MSH-9")
VERSION = UnsupportedMessage(location="MSH-12")

MATRIX = {
    # MSH-15, MSH-16: good, content error, unsupported type, unsupported version; each "this connection/second phase"
    ("", ""): ("AA/-", "AE/-", "AR/-", "AR/-"),
    ("NE", "NE"): ("-/-", "-/-", "-/-", "-/-"),
    ("AL", "NE"): ("CA/-", "CE/-", "CR/-", "CR/-"),
    ("SU", "NE"): ("CA/-", "-/-", "-/-", "-/-"),
    ("ER", "NE"): ("-/-", "CE/-", "CR/-", "CR/-"),
    ("NE", "AL"): ("AA/-", "AE/-", "AR/-", "AR/-"),
    ("NE", "SU"): ("AA/-", "-/-", "-/-", "-/-"),
    ("NE", "ER"): ("-/-", "AE/-", "AR/-", "AR/-"),
    ("", "AL"): ("AA/-", "AE/-", "AR/-", "AR/-"),
    ("AL", ""): ("CA/-", "CE/-", "CR/-", "CR/-"),
    ("AL", "AL"): ("CA/AA", "CE/-", "CR/-", "CR/-"),
    ("AL", "ER"): ("CA/-", "CE/-", "CR/-", "CR/-"),
    ("ER", "AL"): ("-/AA", "CE/-", "CR/-", "CR/-"),
    ("al", "al"): ("CA/AA", "CE/-", "CR/-", "CR/-"),
}


@pytest.mark.parametrize("asked", MATRIX)
@pytest.mark.parametrize(("column", "error"), list(enumerate([None, CONTENT, TYPE, VERSION])))
def test_the_matrix(asked: tuple[str, str], column: int, error: GatewayError | None) -> None:
    given = answers(header(accept=asked[0], application=asked[1]), error)
    assert f"{code(given.immediate)}/{code(given.application)}" == MATRIX[asked][column]
    wanted_codes = [part for part in MATRIX[asked][column].split("/") if part != "-"]
    assert (given.together() or b"").count(b"\rMSA|") == len(wanted_codes)


@pytest.mark.parametrize(
    ("asked", "now", "later"), [(("", ""), b"RPA", None), (("AL", "AL"), "CA", b"RPA"), (("AL", "NE"), "CA", None)]
)
def test_a_request_is_answered_by_its_own_response(asked: tuple[str, str], now: object, later: object) -> None:
    head = header(kind="RQA^I08^RQA_I08", accept=asked[0], application=asked[1])
    given = answers(head, application=b"RPA")
    assert (given.immediate if isinstance(now, bytes) else code(given.immediate), given.application) == (now, later)
    without = answers(head)
    assert (code(without.immediate), without.application) == (now if isinstance(now, str) else "-", None)
    assert code(answers(head, CONTENT).immediate) == ("CE" if asked[0] else "AE")


def test_the_answer_goes_back_where_the_message_came_from() -> None:
    given = answers(header(accept="AL", application="AL", charset="UNICODE UTF-8"))
    assert given.immediate == (
        b"MSH|^~\\&|GW|PAYER|EHR^1.2^ISO|HOSP|20260301101500+0000||ACK^A01^ACK|A1|P|2.5.1|||NE|NE||UNICODE UTF-8\r"
        b"MSA|CA|C1\r"
    )
    assert given.application is not None
    assert parse(given.application).control_id == "A2"


def test_delimiters_and_character_set_are_the_senders() -> None:
    head = read_header("MSH$%~@&$ÉHR$HOSP$GW$P%Q$$$ADT%A08$C@S@1$P$2.5.1$$$$$$8859/1".encode("iso8859-1"))
    answer = answers(head).immediate
    assert answer is not None
    assert answer.startswith("MSH$%~@&$GW$P%Q$ÉHR$HOSP$".encode("iso8859-1"))
    read = parse(answer)
    assert (read.get("MSA-2"), read.get("MSH-5"), read.syntax.encoding) == ("C%1", "ÉHR", "iso8859-1")
    assert b"MSA$AA$C@S@1\r" in answer


@pytest.mark.parametrize(
    ("error", "letter", "condition"),
    [
        (None, "A", "0"),
        (CONTENT, "E", "101"),
        (MalformedMessage(location="segment 3"), "E", "100"),
        (MalformedMessage(location="MSH-2"), "R", "102"),
        (InvalidMessage(location="MSH-10"), "R", "101"),
        (TYPE, "R", "200"),
        (UnsupportedMessage(location="MSH-9.2"), "R", "201"),
        (UnsupportedMessage(location="MSH-11"), "R", "202"),
        (VERSION, "R", "203"),
        (UnauthorizedSender(location="MSH-3"), "R", "103"),
        (MessageConflict(location="MSH-10"), "E", "205"),
        (LimitExceeded(), "R", "207"),
        (Unavailable(), "E", "207"),
        (OwnError(), "E", "207"),
        (EndpointRefused(), "E", "207"),
    ],
)
def test_each_error_has_its_code(error: GatewayError | None, letter: str, condition: str) -> None:
    assert verdict_of(error) == (letter, condition)


def test_the_error_segment_of_release_2_5_and_later() -> None:
    answer = answers(header(), CONTENT).immediate
    assert answer is not None
    assert parse(answer).first("ERR").text == (  # type: ignore[union-attr]
        "ERR||PID^1^3^1^1|101^Required field missing^HL70357|E||||patient identifier missing"
    )


@pytest.mark.parametrize(
    ("version", "kind", "msa", "err"),
    [
        ("2.2", "ACK", "MSA|AE|C1|patient identifier missing", "ERR|PID^1^3^101&"),
        ("2.3", "ACK^A01", "MSA|AE|C1|patient identifier missing", "ERR|PID^1^3^101&"),
        (
            "2.3.1",
            "ACK^A01^ACK",
            "MSA|AE|C1|patient identifier missing",
            "ERR|PID^1^3^101&",
        ),
        ("2.4", "ACK^A01^ACK", "MSA|AE|C1|patient identifier missing", "ERR|PID^1^3^101&"),
        (
            "2.6",
            "ACK^A01^ACK",
            "MSA|AE|C1|patient identifier missing",
            "ERR||PID^1^3^1^1|101^",
        ),
        ("2.8", "ACK^A01^ACK", "MSA|AE|C1", "ERR||PID^1^3^1^1|101^"),
        (
            "",
            "ACK^A01^ACK",
            "MSA|AE|C1|patient identifier missing",
            "ERR||PID^1^3^1^1|101^",
        ),
        (
            "x.y",
            "ACK^A01^ACK",
            "MSA|AE|C1|patient identifier missing",
            "ERR||PID^1^3^1^1|101^",
        ),
    ],
)
def test_releases_differ(version: str, kind: str, msa: str, err: str) -> None:
    answer = answers(header(version=version), CONTENT).immediate
    assert answer is not None
    read = parse(answer)
    assert read.header.raw(9) == kind
    assert read.segments[1].text == msa
    assert read.segments[2].text.startswith(err)
    assert read.version == (version or "2.5.1")


def test_absurd_versions_and_control_ids_are_answered_and_refused() -> None:
    head = header(version="2." + "9" * 6_000)
    answer = answers(head, VERSION).immediate
    assert answer is not None
    assert b"MSA|AR|C1\r" in answer
    long = parse(b"MSH|^~\\&|EHR|HOSP|GW|PAYER|2026||ADT^A01|" + b"9" * 200 + b"|P|2.5.1\r")
    refusal = check(long)
    assert refusal is not None
    assert refusal.issues[0].location == "MSH-10"


def test_warnings_ride_on_a_positive_answer() -> None:
    warning = Issue("103", "PV1[1]-2[1].1", "patient class not in the table", "warning")
    ours = Issue("line-ends", "", "segments end with LF", "warning")  # no code of the table: not for the wire
    answer = answers(header(), warnings=(ours, warning)).immediate
    assert answer is not None
    assert len(parse(answer).segments) == 3
    assert "ERR||PV1^1^2^1^1|103^Table value not found^HL70357|W" in parse(answer).segments[2].text
    old = answers(header(version="2.3"), warnings=(warning,)).immediate
    assert old is not None
    assert len(parse(old).segments) == 2


MSA = parse(b"MSH|^~\\&|\rMSA|AA|X\r").first("MSA")
ACCEPT_MSA = parse(b"MSH|^~\\&|\rMSA|CA|X\r").first("MSA")


@pytest.mark.parametrize(
    ("kind", "asked", "answered", "expected"),
    [
        ("ACK", ("", ""), None, "-/-"),
        ("ACK", ("AL", "AL"), None, "-/-"),
        ("ACK^A01^ACK", ("AL", "NE"), ACCEPT_MSA, "-/-"),
        ("ACK^A01^ACK", ("AL", "NE"), MSA, "CA/-"),
        ("ACK^A01^ACK", ("", ""), MSA, "-/-"),
        ("RPA^I08^RPA_I08", ("", ""), MSA, "-/-"),
        ("RPA^I08^RPA_I08", ("AL", "AL"), MSA, "CA/-"),
        ("RPA^I08^RPA_I08", ("NE", "AL"), MSA, "-/-"),
        ("RRI^I12", ("AL", "AL"), None, "CA/-"),
    ],
)
def test_answers_are_not_answered(kind: str, asked: tuple[str, str], answered: Segment | None, expected: str) -> None:
    head = header(kind=kind, accept=asked[0], application=asked[1])
    assert is_answer(head, answered)
    given = answers(head, answered=answered)
    assert f"{code(given.immediate)}/{code(given.application)}" == expected


def test_without_a_header_the_sender_still_hears_no() -> None:
    answer = refuse(MalformedMessage("a message starts with MSH"), identify=lambda: "A1", at=AT)
    read = parse(answer)
    assert (read.code, read.get("MSA-1"), read.get("MSA-2"), read.get("ERR-3")) == ("ACK", "AR", "", "100")


def test_what_cannot_be_an_error_condition_is_not_kept() -> None:
    head = b"MSH|^~\\&|B|B|A|A|20260301101500||ACK|1|P|2.5.1\rMSA|AE|C1\r"
    errors = b"ERR||PID^1^3|207^Application error^HL70357|E\rERR||PID^1^3|555010199|E\rERR||PID^1^3|DOE JANE|E\r"
    reply = read_reply(head + errors)
    assert reply is not None
    assert reply.conditions == ("207",), "numbers of patients are kept nowhere"


def test_conditions_of_table_0155() -> None:
    assert [wanted(condition, good=True) for condition in ("AL", "NE", "ER", "SU", "??")] == [
        True,
        False,
        False,
        True,
        True,
    ]
    assert [wanted(condition, good=False) for condition in ("AL", "NE", "ER", "SU")] == [True, False, True, False]
    assert not plan(header()).enhanced


def test_the_outside_acknowledgements_are_read(corpus: dict[str, bytes]) -> None:
    expected = {"AE": ("101",), "AR": ("200",), "CA": (), "CE": ("207",), "CR": ("203",)}
    for kind, conditions in expected.items():
        reply = read_reply(corpus[f"synthetic/ACK-{kind}.hl7"])
        assert reply is not None
        assert (reply.code, reply.control_id, reply.conditions) == (kind, "RQA0001", conditions)
        assert reply.accept == kind.startswith("C")


def test_ours_are_read_like_theirs() -> None:
    for version in ("2.3", "2.5.1"):
        answer = answers(header(version=version), CONTENT).immediate
        assert answer is not None
        reply = read_reply(answer)
        assert reply is not None
        assert (reply.code, reply.control_id, reply.conditions, reply.kind) == ("AE", "C1", ("101",), "ACK")


@pytest.mark.parametrize("data", [b"", b"hello", b"MSH|^~\\&|A\r", b"MSH|^~\\&|A\rgarbage\r"])
def test_what_is_no_acknowledgement(data: bytes) -> None:
    assert read_reply(data) is None


def test_what_codes_mean_is_a_table() -> None:
    assert [action_for(code) for code in ("AA", "AE", "AR", "")] == ["complete", "fail", "retry", "retry"]
    assert action_for("AE", {"AE": "retry"}) == "retry"
    assert action_for("AE") == "fail"


def test_every_outside_message_gets_the_answer_it_asks_for(corpus: dict[str, bytes]) -> None:
    for name, data in corpus.items():
        try:
            message: Message = parse(data)
        except MalformedMessage:
            continue
        given = acknowledge(message.header, None, identify=lambda: "A1", at=AT, answered=message.first("MSA"))
        asked = plan(message.header)
        if message.code == "ACK" or message.first("MSA") is not None:
            assert code(given.immediate) in ("-", "CA"), name
        elif not asked.enhanced and message.code not in RESPONSES:
            assert code(given.immediate) == "AA", name
        for answer in (given.immediate, given.application):
            if answer is not None:
                read = parse(answer)
                assert read.get("MSA-2") == message.control_id, name
                assert read.header.raw(5) == message.header.raw(3), name
