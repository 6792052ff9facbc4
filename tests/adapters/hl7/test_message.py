"""Messages: leaves by path, own delimiters, escapes, character sets, and writing what was read."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hl7.wire import (
    NULL,
    STANDARD,
    Limits,
    Message,
    Syntax,
    Verbatim,
    compose,
    escape,
    parse,
    parse_path,
    plain_text,
    read_header,
    replace,
    segment,
    timestamp,
    unescape,
    write,
)
from gateway.core.errors import GatewayError, LimitExceeded, MalformedMessage

EXAMPLES = int(os.environ.get("GATEWAY_FUZZ", "100"))
HEAD = "MSH|^~\\&|EHR|HOSP|GW|PAYER|20260301101500||ADT^A01^ADT_A01|C1|P|2.5.1"


def message(*segments: str, head: str = HEAD) -> Message:
    return parse("".join(f"{text}\r" for text in (head, *segments)).encode())


def test_leaves_by_number_and_by_path() -> None:
    read = message("PID|1||A^^^H&1.2&ISO^MR~B^^^H||DOE^JANE||", "OBX|1|NM|x||5", "OBX|2|NM|y||6")
    pid = read.first("PID")
    assert pid is not None
    assert (pid.get(3), pid.get(3, 4), pid.get(3, 4, 2), pid.get(3, repetition=2)) == ("A", "H", "1.2", "B")
    assert (pid.get(3, repetition=3), pid.get(3, 9), pid.get(3, 4, 9), pid.get(99)) == ("", "", "", "")
    assert [repetition.get(1) for repetition in pid.field(3)] == ["A", "B"]
    assert pid.field(3)[0].components == (("A",), ("",), ("",), ("H", "1.2", "ISO"), ("MR",))
    assert pid.field(6) == ()
    assert [item.get(5) for item in read.all("OBX")] == ["5", "6"]
    assert (read.get("PID-5.2"), read.get("OBX[2]-5"), read.get("PID[1]-3[2].4"), read.get("NK1-2")) == (
        "JANE",
        "6",
        "H",
        "",
    )


def test_the_header_counts_its_separator() -> None:
    header = message().header
    assert (header.get(1), header.get(2), header.get(3), header.get(9, 2), header.get(12)) == (
        "|",
        "^~\\&",
        "EHR",
        "A01",
        "2.5.1",
    )
    assert header.field(2)[0].get() == "^~\\&"
    assert header.field(2)[0].components == (("^~\\&",),)
    assert len(header) == 12


def test_each_leaf_has_one_path_and_paths_lead_back() -> None:
    read = message("PID|1||A^^^H&1.2~B||DOE\\T\\CO", 'ZPI|""||~x')
    leaves = dict(read.leaves())
    assert leaves["PID[1]-3[1].4.2"] == "1.2"
    assert leaves["PID[1]-5[1].1"] == "DOE&CO"
    assert leaves["ZPI[1]-1[1].1"] == NULL
    assert leaves["ZPI[1]-3[2].1"] == "x"
    assert "MSH[1]-2[1].1" not in leaves
    for path, value in leaves.items():
        assert read.get(path) == value
        place = parse_path(path)
        assert str(place) == path


@pytest.mark.parametrize("path", ["", "PID", "PID-", "PID-5.", "pid-5", "PID-5.1.1.1", "segment 3", "PID-5\n"])
def test_what_is_no_leaf_path_is_an_error(path: str) -> None:
    with pytest.raises(GatewayError):
        message().get(path)


def test_the_null_is_not_the_empty_value() -> None:
    read = message('PID|1||""||^""')
    assert read.get("PID-3") == NULL
    assert read.get("PID-5.2") == NULL
    assert read.get("PID-5.1") == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f"),
        (r"\X41420D0A\x", "AB\r\nx"),
        (r"\XC3A9\ ", "é "),
        (r"\XE9\ ", "é "),
        (r"\X4\ \XZZ\ ", r"\X4\ \XZZ\ "),
        (r"\Q\ \Zfoo\ \.br\ \H\b\N\ ", r"\Q\ \Zfoo\ \.br\ \H\b\N\ "),
        (r"lone \ end", r"lone \ end"),
        (r"\ b \F\ c", r"\ b | c"),
        (r"\E\F\E\ ", r"\F\ "),
        (r"\Zloc\F\ ", r"\Zloc\F\ "),
        (r"\P\ ", r"\P\ "),
        (r"\C2842\ \M2442\ ", r"\C2842\ \M2442\ "),
    ],
)
def test_unescape(text: str, value: str) -> None:
    assert unescape(text, STANDARD) == value


def test_truncation_is_escaped_only_where_it_is_in_use() -> None:
    syntax = Syntax(truncation="#")
    assert unescape(r"\P\ #", syntax) == "# #"
    assert escape("a#", syntax) == r"a\P\ ".strip()
    assert escape("a#", STANDARD) == "a#"


def test_formatted_text_as_plain_text() -> None:
    text = r"a\.br\b\H\bold\N\ \.sp+2\c\F\d\.in+4\e"
    assert plain_text(text, STANDARD) == "a\nbbold \n\nc|de"


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=40),
    st.sampled_from([STANDARD, Syntax("$", "%", "~", "@", "&", "#")]),
)
def test_any_value_survives_escaping(value: str, syntax: Syntax) -> None:
    written = escape(value, syntax)
    assert unescape(written, syntax) == value
    for character in (
        syntax.field,
        syntax.component,
        syntax.repetition,
        syntax.subcomponent,
        "\r",
        "\n",
        "\x0b",
        "\x1c",
    ):
        assert character not in written


LEAF = st.text(alphabet=st.characters(codec="utf-8"), max_size=8)
COMPONENT = LEAF | st.lists(LEAF, min_size=1, max_size=3).map(tuple)
CONTENT = LEAF | st.lists(COMPONENT, min_size=1, max_size=4).map(tuple)
FIELD = CONTENT | st.lists(CONTENT, min_size=1, max_size=3)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.dictionaries(st.integers(1, 12), FIELD, max_size=6), st.sampled_from(["|^~\\&", "$%~@&#", "#:;!,"]))
def test_what_is_built_is_read_and_written_again(fields: dict[int, object], delimiters: str) -> None:
    syntax = Syntax(*delimiters)
    head = segment("MSH", {3: "EHR", 9: ("ADT", "A01"), 10: "1"}, syntax=syntax)
    built = compose([head, segment("ZZZ", fields, syntax=syntax)])  # type: ignore[arg-type]
    data = write(built)
    read = parse(data)
    assert read.segments == built.segments
    assert write(read) == data
    for n, value in fields.items():
        for r, repetition in enumerate(value if isinstance(value, list) else [value], 1):
            for c, component in enumerate(repetition if isinstance(repetition, tuple) else [repetition], 1):
                for s, sub in enumerate(component if isinstance(component, tuple) else [component], 1):
                    assert read.segments[1].get(n, c, s, r) == sub


def test_replacing_a_field_leaves_the_others() -> None:
    pid = message("PID|1||A^^^H\\Q\\ ~B||DOE").first("PID")
    assert pid is not None
    changed = replace(pid, {5: ("ROE", "J"), 8: "F"})
    assert changed.text == "PID|1||A^^^H\\Q\\ ~B||ROE^J|||F"
    assert replace(message().header, {10: "N2"}).get(10) == "N2"


def test_verbatim_and_time() -> None:
    built = segment("NTE", {3: Verbatim(r"a\.br\b"), 4: timestamp(datetime(2026, 3, 1, 10, 15, tzinfo=UTC))})
    assert built.text == r"NTE|||a\.br\b|20260301101500+0000"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends(end: str, last: bool) -> None:
    data = (end.join([HEAD, "PID|1"]) + (end if last else "")).encode()
    read = parse(data)
    assert [item.name for item in read.segments] == ["MSH", "PID"]
    assert ("line-ends" in read.notes) == (end != "\r")
    assert write(read) == f"{HEAD}\rPID|1\r".encode()
    assert read.raw == data


def test_a_line_feed_inside_a_field_is_content() -> None:
    read = parse(f"{HEAD}\rNTE|1||first\nsecond line\rPID|1\r".encode())
    assert [item.name for item in read.segments] == ["MSH", "NTE", "PID"]
    assert read.get("NTE-3") == "first\nsecond line"


def test_blank_lines_and_byte_order_mark_are_told() -> None:
    assert parse(f"{HEAD}\r\r \rPID|1\r".encode()).notes == ("blank-lines",)
    assert parse(b"\xef\xbb\xbf" + HEAD.encode()).notes == ("byte-order-mark",)
    assert parse(b"\r\n " + HEAD.encode()).notes == ("leading-blanks",)


@pytest.mark.parametrize(
    ("data", "location"),
    [
        (b"", "segment 1"),
        (b"PID|1\r", "segment 1"),
        (b"MSH", "MSH-1"),
        (b"MSHA^~\\&", "MSH-1"),
        (b"MSH|", "MSH-2"),
        (b"MSH|^^~&|", "MSH-2"),
        (b"MSH|^~\\&#+|", "MSH-2"),
        (b"MSH|abcd|", "MSH-2"),
        (b"MSH|^~\\&|A\rnot a segment\r", "segment 2"),
        (b"MSH|^~\\&|A\rPID|1\rMSH|^~\\&|B\r", "segment 1"),
        (b"FHS|^~\\&|A\r", "segment 1"),
    ],
)
def test_what_is_no_message(data: bytes, location: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse(data)
    assert caught.value.location == location


def test_limits() -> None:
    data = f"{HEAD}\rPID|1\r".encode()
    for limits in (Limits(size=len(data) - 1), Limits(segments=1), Limits(fields=10), Limits(leaves=14)):
        with pytest.raises(LimitExceeded):
            parse(data, limits=limits)
    assert len(parse(data, limits=Limits(size=len(data), segments=2, fields=11)).segments) == 2


def test_a_short_encoding_field_leaves_delimiters_unused() -> None:
    read = parse(b"MSH|^|A\rPID|a~b&c\\F\\^d\r")
    assert read.first("PID").get(1) == "a~b&c\\F\\"  # type: ignore[union-attr]
    assert read.get("PID-1.2") == "d"


@pytest.mark.parametrize(
    ("code", "said", "structure"),
    [
        ("ADT^A08", "", "ADT_A01"),
        ("REF^I14", "REF_I14", "REF_I12"),
        ("RQA^I11", "", "RQA_I08"),
        ("ZZZ^Z01", "", "ZZZ_Z01"),
    ],
)
def test_structure_of_table_0354(code: str, said: str, structure: str) -> None:
    head = HEAD.replace("ADT^A01^ADT_A01", f"{code}^{said}" if said else code)
    assert message(head=head).structure == structure


NAME = "MÜLLER"


@pytest.mark.parametrize(
    ("declared", "codec", "default", "used", "notes"),
    [
        ("UNICODE UTF-8", "utf-8", None, "utf-8", ()),
        ("utf-8", "utf-8", None, "utf-8", ()),
        ("", "utf-8", None, "utf-8", ()),
        ("", "iso8859-1", "iso8859-1", "iso8859-1", ()),
        ("8859/1", "iso8859-1", None, "iso8859-1", ()),
        ("8859/15", "iso8859-15", None, "iso8859-15", ()),
        ("UNICODE UTF-8", "iso8859-1", None, "cp1252", ("charset-mismatch",)),
        ("ASCII", "utf-8", None, "utf-8", ("charset-mismatch",)),
        ("CNS 11643-1992", "utf-8", None, "utf-8", ("charset-unknown",)),
        ("GB 18030-2000", "gb18030", None, "gb18030", ()),
    ],
)
def test_character_sets(declared: str, codec: str, default: str | None, used: str, notes: tuple[str, ...]) -> None:
    data = f"{HEAD}||||||{declared}\rPID|1||X||{NAME}^A\r".encode(codec)
    read = parse(data, charset=default)
    assert read.get("PID-5") == NAME
    assert read.syntax.encoding == used
    assert read.notes == notes
    assert write(read) == data


def character_with(byte: bytes, codec: str) -> str:
    """The first ideograph whose encoded form holds the byte."""
    for code in range(0x4E00, 0x9FFF):
        try:
            if byte in chr(code).encode(codec).removeprefix(b"\x1b$B").removesuffix(b"\x1b(B"):
                return chr(code)
        except UnicodeEncodeError:
            continue
    raise AssertionError(codec)


@pytest.mark.parametrize(
    ("declared", "codec"), [("~ISO IR87", "iso2022_jp"), ("BIG-5", "big5"), ("GB 18030-2000", "gb18030")]
)
@pytest.mark.parametrize("byte", [b"|", b"^", b"~", b"\\"])
def test_delimiter_bytes_inside_characters_do_not_split(declared: str, codec: str, byte: bytes) -> None:
    name = character_with(byte, codec)
    data = f"{HEAD}||||||{declared}\rPID|1||X||{name}^{name}||19480405\r".encode(codec)
    read = parse(data)
    assert (read.get("PID-5.1"), read.get("PID-5.2"), read.get("PID-7")) == (name, name, "19480405")
    assert read.notes == ()
    assert write(read) == data


def test_the_header_is_read_from_broken_messages() -> None:
    header = read_header(f"{HEAD}\rbroken\x00".encode())
    assert header.get(10) == "C1"


def test_the_outside_escapes_are_written_as_they_were(outside_bytes: dict[str, bytes]) -> None:
    data = outside_bytes["synthetic/ORU-escapes.hl7"]
    read = parse(data)
    assert write(read) == data
    assert len(read.segments) == 4


def test_the_outside_names_are_the_same_in_every_character_set(outside_bytes: dict[str, bytes]) -> None:
    names = {
        (parse(outside_bytes[f"synthetic/ADT_A01-{kind}.hl7"]).get("PID-5.1"))
        for kind in ("utf8", "8859-1", "declared-utf8-but-latin1")
    }
    assert len(names) == 1
    mismatch = parse(outside_bytes["synthetic/ADT_A01-declared-utf8-but-latin1.hl7"])
    assert mismatch.notes == ("charset-mismatch",)
    japanese = parse(outside_bytes["synthetic/ADT_A01-iso-ir87.hl7"])
    assert japanese.notes == ()
    assert len(japanese.get("PID-5.1")) == 2


@pytest.fixture(scope="module")
def outside_bytes(corpus: dict[str, bytes]) -> dict[str, bytes]:
    return corpus


def test_every_outside_message_is_written_as_it_was_read(corpus: dict[str, bytes]) -> None:
    count = 0
    for name, data in corpus.items():
        try:
            read = parse(data)
        except MalformedMessage:
            continue
        body = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\r").replace(b"\n", b"\r")
        lines = [line for line in body.split(b"\r") if line.strip()]
        assert write(read) == b"".join(line + b"\r" for line in lines), name
        count += 1
    assert count >= 50
