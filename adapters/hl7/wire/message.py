"""Message → segment → field repetition → component → sub-component, split as late as a value is asked for.

A field is kept as it was written; `Segment.get` and `Repetition.get` split, pick and unescape one leaf. Numbering is
HL7's: everything counts from 1, and in MSH, FHS and BHS field 1 is the separator itself.

Paths name leaves for ledgers, errors and lookups: `PID[1]-3[2].4.2` is segment PID number 1, field 3, repetition 2,
component 4, sub-component 2; the sub-component is written only from 2 on, so each leaf has exactly one path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from gateway.core.errors import GatewayError
from gateway.core.record import record

from .charsets import encode
from .structures import structure_of
from .syntax import STANDARD, Syntax, plain_text, unescape

HEADERS = frozenset({"MSH", "FHS", "BHS"})
"""Segments whose field 1 is the field separator and field 2 the encoding characters."""

_PATH = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d+)\])?(?:-(\d+)(?:\[(\d+)\])?(?:\.(\d+)(?:\.(\d+))?)?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Path:
    """The place of one leaf; absent parts are 1 (field: 0, the whole segment)."""

    segment: str
    index: int = 1
    field: int = 0
    repetition: int = 1
    component: int = 1
    sub: int = 1

    def __str__(self) -> str:
        if not self.field:
            return f"{self.segment}[{self.index}]"
        suffix = f".{self.sub}" if self.sub > 1 else ""
        return f"{self.segment}[{self.index}]-{self.field}[{self.repetition}].{self.component}{suffix}"


@lru_cache(maxsize=4096)
def parse_path(text: str) -> Path | None:
    """Read `PID-5.1` or `PID[2]-3[2].4.2`; None when the text is no path."""
    match = _PATH.fullmatch(text)
    if match is None:
        return None
    name, *numbers = match.groups()
    index, field, repetition, component, sub = (int(number) if number else 0 for number in numbers)
    return Path(name, index or 1, field, repetition or 1, component or 1, sub or 1)


def pick(text: str, separator: str, position: int) -> str:
    """The part of a text at a position, from 1; empty when there is none."""
    if separator and separator in text:
        parts = text.split(separator)
        return parts[position - 1] if position <= len(parts) else ""
    return text if position == 1 else ""


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else [text]


@dataclass(frozen=True, slots=True)
class Repetition:
    """One repetition of a field, as written."""

    text: str
    syntax: Syntax

    def get(self, component: int = 1, sub: int = 1) -> str:
        """One leaf, unescaped; empty when absent; `NULL` is the explicit null."""
        return unescape(self._leaf(component, sub), self.syntax)

    def plain(self, component: int = 1, sub: int = 1) -> str:
        """One leaf of formatted text as plain text: formatting commands become line ends or go."""
        return plain_text(self._leaf(component, sub), self.syntax)

    def _leaf(self, component: int, sub: int) -> str:
        return pick(pick(self.text, self.syntax.component, component), self.syntax.subcomponent, sub)

    @property
    def components(self) -> tuple[tuple[str, ...], ...]:
        """All leaves, unescaped: components of sub-components."""
        return tuple(
            tuple(unescape(sub, self.syntax) for sub in _split(component, self.syntax.subcomponent))
            for component in _split(self.text, self.syntax.component)
        )


@record
class Segment:
    """One segment: its name, its number among those of its name (from 1), and its fields as written."""

    name: str
    index: int
    parts: tuple[str, ...]
    """The text split at the field separator, the name first."""
    syntax: Syntax = STANDARD

    @property
    def text(self) -> str:
        """The segment as written, without its terminator."""
        return self.syntax.field.join(self.parts)

    def __len__(self) -> int:
        """The number of the last field."""
        return len(self.parts) - (0 if self.name in HEADERS else 1)

    def raw(self, n: int) -> str:
        """Field n as written, with its delimiters and escapes; empty when absent."""
        parts = self.parts
        if self.name in HEADERS:
            n -= 1
            if not n:
                return self.syntax.field
        return parts[n] if 0 < n < len(parts) else ""

    def field(self, n: int) -> tuple[Repetition, ...]:
        """The repetitions of field n; empty when the field is absent or empty."""
        text = self.raw(n)
        if not text:
            return ()
        if n <= 2 and self.name in HEADERS:
            return (Repetition(text, _LITERAL),)
        syntax = self.syntax
        return tuple(Repetition(part, syntax) for part in _split(text, syntax.repetition))

    def get(self, n: int, component: int = 1, sub: int = 1, repetition: int = 1) -> str:
        """One leaf, unescaped; empty when absent; `NULL` is the explicit null."""
        text = self.raw(n)
        if not text or (n <= 2 and self.name in HEADERS):
            return text
        return self.leaf(text, component, sub, repetition)

    def leaf(self, text: str, component: int = 1, sub: int = 1, repetition: int = 1) -> str:
        """One leaf of a field as written, unescaped."""
        if text.isalnum():  # no delimiter is a letter or a digit
            return text if component == sub == repetition == 1 else ""
        syntax = self.syntax
        if repetition != 1 or (syntax.repetition and syntax.repetition in text):
            text = pick(text, syntax.repetition, repetition)
        if component != 1 or syntax.component in text:
            text = pick(text, syntax.component, component)
        if sub != 1 or (syntax.subcomponent and syntax.subcomponent in text):
            text = pick(text, syntax.subcomponent, sub)
        return unescape(text, syntax) if syntax.escape in text else text

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Path and unescaped value of every populated leaf. The delimiters themselves (MSH-1, MSH-2) are not data."""
        syntax = self.syntax
        first = 3 if self.name in HEADERS else 1
        for n in range(first, len(self) + 1):
            text = self.raw(n)
            if not text:
                continue
            for number, repetition in enumerate(_split(text, syntax.repetition), 1):
                start = f"{self.name}[{self.index}]-{n}[{number}]."
                for position, component in enumerate(_split(repetition, syntax.component), 1):
                    for place, sub in enumerate(_split(component, syntax.subcomponent), 1):
                        if sub:
                            suffix = f".{place}" if place > 1 else ""
                            yield f"{start}{position}{suffix}", unescape(sub, syntax)


_LITERAL = Syntax(component="", repetition="", escape="", subcomponent="")


_NONE = ("",) * 12


class Identity(NamedTuple):
    """First components of the header: who sent what, to whom."""

    sending_application: str
    sending_facility: str
    receiving_application: str
    receiving_facility: str
    time: str
    code: str
    trigger: str
    control_id: str
    version: str


@dataclass(frozen=True)
class Message:
    """One message: its segments, the bytes it came as, and what was tolerated while reading them."""

    segments: tuple[Segment, ...]
    raw: bytes = b""
    """As received, without the frame; empty for a message built here."""
    notes: tuple[str, ...] = ()
    """Codes of tolerated deviations: `charset-mismatch`, `line-ends`, `byte-order-mark` … (see `parse`)."""

    @property
    def header(self) -> Segment:
        """MSH."""
        return self.segments[0]

    @property
    def syntax(self) -> Syntax:
        """Delimiters and codec."""
        return self.segments[0].syntax

    @cached_property
    def identity(self) -> Identity:
        """What is asked for again and again of a message."""
        header = self.segments[0]
        leaf = header.leaf
        _, _, *rest = (*header.parts, *_NONE)  # MSH-3 and what follows
        sender, facility, receiver, theirs, time, _, kind, control_id, _, version, *_ = rest
        return Identity(
            leaf(sender), leaf(facility), leaf(receiver), leaf(theirs), leaf(time),
            leaf(kind), leaf(kind, 2), leaf(control_id), leaf(version),
        )  # fmt: skip

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.identity.control_id

    @property
    def code(self) -> str:
        """MSH-9.1, the message code: ADT."""
        return self.identity.code

    @property
    def trigger(self) -> str:
        """MSH-9.2, the trigger event: A01."""
        return self.identity.trigger

    @property
    def structure(self) -> str:
        """What table 0354 says of the trigger (ADT_A01), else MSH-9.3: senders often repeat the trigger there."""
        return structure_of(self.code, self.trigger, self.header.get(9, 3))

    @property
    def version(self) -> str:
        """MSH-12.1: 2.5.1."""
        return self.identity.version

    def first(self, name: str) -> Segment | None:
        """The first segment of a name."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        return None

    def all(self, name: str) -> tuple[Segment, ...]:
        """All segments of a name, in order."""
        return tuple(segment for segment in self.segments if segment.name == name)

    def get(self, path: str) -> str:
        """One leaf by path, unescaped; empty when absent. Raises GatewayError when `path` is no leaf's path."""
        place = parse_path(path)
        if place is None or not place.field:
            raise GatewayError("not the path of a leaf", location=path)
        for segment in self.segments:
            if segment.name == place.segment and segment.index == place.index:
                return segment.get(place.field, place.component, place.sub, place.repetition)
        return ""

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Path and value of every populated leaf of every segment."""
        for segment in self.segments:
            yield from segment.leaves()


def write(message: Message) -> bytes:
    """The message as bytes: its own delimiters and character set, each segment ended by a carriage return.

    Nothing below the segment is touched, so what was read is written byte by byte (line ends apart).
    """
    return encode("".join(f"{segment.text}\r" for segment in message.segments), message.syntax.encoding)
