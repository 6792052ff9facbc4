"""Bytes to segments: chunks, separators, binary data, limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.x12.wire.splitter import BROKEN, GARBAGE, HEADER, SEGMENT, Limits, Separators, Token, split
from tests.adapters.x12.samples import claims

LIMITS, USUAL = Limits(), Separators()
CHUNKS = (1, 7, 106, 8192, 1 << 20)


def tokens(data: bytes, size: int = 1 << 20, limits: Limits = LIMITS) -> list[Token]:
    """All tokens, neighbouring garbage joined."""
    found: list[Token] = []
    for kind, offset, text in split((data[at : at + size] for at in range(0, len(data), size)), limits):
        if kind == GARBAGE and found and found[-1][0] == GARBAGE:
            kind, offset, text = GARBAGE, found[-1][1], found.pop()[2] + text
        found.append((kind, offset, text))
    return found


def interchange(*segments: str, separators: Separators = USUAL) -> bytes:
    own = {"*": separators.element, "^": separators.repetition or "U", ":": separators.component}
    head = "".join(own.get(letter, letter) for letter in claims()[:105])
    rest = separators.segment.join(text.replace("*", separators.element) for text in [*segments, "IEA*1*000000042"])
    return (head + separators.segment + rest + separators.segment).encode("latin-1")


@pytest.mark.parametrize("size", CHUNKS)
def test_chunks_make_no_difference(size: int) -> None:
    data = claims(3).encode() + b"\r\n" + claims(1).encode() + b"rest"
    assert tokens(data, size) == tokens(data)


@given(st.integers(1, 300), st.text("ISAGE*~BN0123456789\n ", max_size=200), st.text("BIN*~0123456789", max_size=200))
def test_chunks_make_no_difference_whatever_the_bytes(size: int, before: str, inside: str) -> None:
    data = before.encode() + interchange(inside)
    assert tokens(data, size) == tokens(data)


@given(
    st.lists(
        st.sampled_from("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\n\r\x1c\x1d\x1e\x1f"), min_size=4, max_size=4, unique=True
    )
)
def test_any_legal_separators_give_the_same_segments(marks: list[str]) -> None:
    separators = Separators(*marks)
    found = tokens(interchange("ST*837*0001", "SE*2*0001", separators=separators))
    assert found[0][0] == HEADER
    assert Separators.of(found[0][2]) == separators
    wanted = [text.replace("*", marks[0]) for text in ("ST*837*0001", "SE*2*0001", "IEA*1*000000042")]
    assert [text for _, _, text in found[1:]] == wanted


def test_offsets_point_into_the_file() -> None:
    data = b"\xef\xbb\xbf\r\n" + claims(2).replace("~\n", "~\r\n  ").encode()
    for _, offset, text in tokens(data):
        assert data[offset : offset + len(text)] == text.encode("latin-1")


@pytest.mark.parametrize("size", CHUNKS)
def test_binary_data_ends_by_its_length(size: int) -> None:
    content = "a~IEA*1*000000042~ISA*b"
    data = interchange(f"BIN*{len(content)}*{content}", f"BDS*B64*{len(content)}*{content}", "LX*1")
    found = [text for kind, _, text in tokens(data, size) if kind == SEGMENT]
    assert found == [f"BIN*{len(content)}*{content}", f"BDS*B64*{len(content)}*{content}", "LX*1", "IEA*1*000000042"]


@pytest.mark.parametrize("length", ["3", "9999", "x", "", "99999999999999999999"])
@pytest.mark.parametrize("size", CHUNKS)
def test_a_wrong_length_falls_back_to_the_terminator(length: str, size: int) -> None:
    found = tokens(interchange(f"BIN*{length}*abcdef", "LX*1"), size)
    assert [text for _, _, text in found[1:]] == [f"BIN*{length}*abcdef", "LX*1", "IEA*1*000000042"]


def test_empty_segments_and_white_space_are_skipped() -> None:
    found = tokens(interchange("", "LX*1", "", "", " \r\n LX*2"))
    assert [text for _, _, text in found[1:]] == ["LX*1", "LX*2", "IEA*1*000000042"]


def test_a_new_header_without_a_trailer_begins_a_new_interchange() -> None:
    other = interchange("LX*2", separators=Separators("|", ">", "^", "\n"))
    found = tokens(interchange("LX*1")[: -len("IEA*1*000000042~")] + other)
    assert [kind for kind, _, _ in found] == [HEADER, SEGMENT, HEADER, SEGMENT, SEGMENT]


@pytest.mark.parametrize("size", [106, 8192])
def test_a_segment_beyond_the_limit_ends_the_reading(size: int) -> None:
    data = interchange("MSG*" + "x" * 5000, "LX*1")
    found = tokens(data, size, Limits(max_segment=1024))
    assert found[-1][0] == (BROKEN if size == 106 else SEGMENT)
    endless = data[:2000] + b"x" * 100_000
    assert tokens(endless, size, Limits(max_segment=1024))[-1][0] == BROKEN


def test_a_large_binary_arrives_in_small_chunks_without_copying_it_each_time() -> None:
    content = "x" * 3_000_000
    found = tokens(interchange(f"BIN*{len(content)}*{content}"), 4096)
    assert len(found[1][2]) == len(content) + len("BIN*3000000*")


@pytest.mark.parametrize(
    ("separators", "code"),
    [
        (Separators("*", "*", "^", "~"), "027"),
        (Separators("*", ":", "^", "*"), "004"),
        (Separators("A", ":", "^", "~"), "026"),
        (Separators("*", ":", "^", "1"), "004"),
        (Separators("*", " ", "^", "~"), "027"),
        (Separators("*", ":", ":", "~"), "024"),
        (Separators("*", ":", "", "\n"), ""),
        (Separators("\x1d", "\x1f", "\x1e", "\x1c"), ""),
    ],
)
def test_separators_that_cannot_work(separators: Separators, code: str) -> None:
    assert separators.fault() == code
