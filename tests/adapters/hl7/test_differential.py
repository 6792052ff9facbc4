"""Our reader beside python-hl7's, on the messages of others and on mutations: the same tree, or a known difference.

Known differences, each on purpose:
- we refuse lines that are no segments, a second MSH, and unusable delimiters; python-hl7 takes them as they come;
- python-hl7 strips blanks at both ends of a message, keeps blank lines and does not know LF;
- python-hl7 misreads a header that ends with MSH-2;
- where MSH-2 is short, python-hl7 adds the usual characters; for us what is not declared does not delimit.
"""

from __future__ import annotations

import os
import random

import hl7
import pytest

from adapters.hl7.wire import Segment, parse
from adapters.hl7.wire.message import HEADERS
from gateway.core.errors import GatewayError, LimitExceeded, MalformedMessage

MUTATIONS = int(os.environ.get("GATEWAY_FUZZ", "2000"))
Tree = list[tuple[str, list[object]]]

BASES = (
    "MSH|^~\\&|EHR|HOSP|GW|PAYER|20260301||ADT^A01^ADT_A01|C1|P|2.5.1\rPID|1||A^^^H&1.2&ISO^MR~B^^^H||DOE^JANE||1980|F\r"
    'OBX|1|FT|x^y||a\\F\\b\\.br\\c\\X0D\\||||||F\rZZZ|""||~x\r',
    "MSH$%~@&$EHR$HOSP$GW$P%Q$$$ADT%A08$C@S@1$P$2.5.1\rPID$1$$A%%%H&1.2\rNTE$1$$x@T@y\r",
)
TOKENS = [*'|^~\\&$%@\r\n\x00 "AZ09é漢', "MSH|", "\rPID|", "\r\r", "\\F\\", "\\X", "~~", "^^&&", "|" * 20]


def split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else [text]


def our_field(segment: Segment, n: int) -> object:
    syntax = segment.syntax
    if segment.name in HEADERS and n <= 2:
        return segment.raw(n)
    return [
        [split(component, syntax.subcomponent) for component in split(repetition, syntax.component)]
        for repetition in split(segment.raw(n), syntax.repetition)
    ]


def ours(data: bytes) -> Tree:
    return [
        (segment.name, [our_field(segment, n) for n in range(1, len(segment) + 1)]) for segment in parse(data).segments
    ]


def their_repetition(repetition: object) -> object:
    if not isinstance(repetition, hl7.Repetition):
        return [[str(repetition)]]
    return [
        [str(sub) for sub in component] if isinstance(component, hl7.Component) else [str(component)]
        for component in repetition
    ]


def theirs(text: str) -> Tree:
    tree: Tree = []
    for segment in hl7.parse(text):
        name = str(segment[0])
        fields = [
            str(segment[n]) if name in HEADERS and n <= 2 else [their_repetition(each) for each in segment[n]]
            for n in range(1, len(segment))
        ]
        tree.append((name, fields))
    return tree


def test_the_messages_of_others(corpus: dict[str, bytes]) -> None:
    compared = 0
    for name, data in corpus.items():
        try:
            message = parse(data)
        except MalformedMessage:
            continue
        text = "".join(f"{segment.text}\r" for segment in message.segments)
        if text.rstrip() != text.rstrip("\r"):
            continue  # python-hl7 strips the last field's trailing blanks
        assert ours(text.encode(message.syntax.encoding)) == theirs(text), name
        compared += 1
    assert compared >= 60


def mutate(chance: random.Random) -> str:
    text = chance.choice(BASES)
    for _ in range(chance.randrange(1, 5)):
        place = chance.randrange(len(text) + 1)
        kind = chance.randrange(3)
        cut = (0, chance.randrange(1, 5), 1)[kind]
        text = text[:place] + ("" if kind == 1 else chance.choice(TOKENS)) + text[place + cut :]
    return text


def known(text: str) -> bool:
    """Whether the trees may differ."""
    lines = text.split("\r")
    short = len(lines[0][4:].split(text[3:4], 1)[0]) < 4
    blank = any(not line.strip() for line in lines[:-1])
    bare = lines[0].count(text[3:4]) < 3
    return "\n" in text or short or bare or blank or text.strip() != text.rstrip("\r")


def test_mutations() -> None:
    chance = random.Random(20260301)
    same = refused = 0
    for _ in range(MUTATIONS):
        text = mutate(chance)
        try:
            mine = ours(text.encode())
        except GatewayError as error:
            refused += bool(error.location)
            continue
        try:
            other = theirs(text)
        except (AssertionError, hl7.ParseException):
            assert known(text), text
            continue
        assert mine == other or known(text), text
        same += mine == other
    assert same > MUTATIONS // 3
    assert refused < MUTATIONS // 2


def test_bytes_of_any_kind_end_in_a_tree_or_a_typed_error() -> None:
    chance = random.Random(7)
    for _ in range(MUTATIONS):
        data = b"MSH|^~\\&|" + chance.randbytes(chance.randrange(200))
        try:
            message = parse(data)
        except GatewayError:
            continue
        assert all(message.get(path) == value for path, value in message.leaves())


def test_long_lines_end() -> None:
    with pytest.raises(LimitExceeded):
        parse(b"MSH|^~\\&|\rOBX|" + b"a^" * 300_000)
    # Two hundred thousand empty components are no leaves; three thousand fields are too many.
    assert list(parse(b"MSH|^~\\&|\rOBX|" + b"^" * 200_000 + b"\r").leaves()) == []
    with pytest.raises(LimitExceeded):
        parse(b"MSH|^~\\&|A\r" + b"OBX|" * 3_000)
