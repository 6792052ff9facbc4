"""Bytes → message: find the header, decode, split into segments and fields. Nothing deeper is split here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from gateway.core.errors import LimitExceeded, MalformedMessage

from .charsets import STATEFUL, codec_for, decode
from .message import Message, Segment
from .names import SEGMENTS
from .syntax import Syntax

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_ORDINARY = 512
"""Bytes of an ordinary header; longer ones are not remembered."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one message may hold. Beyond it: LimitExceeded, before anything large is built."""

    size: int = 16 * 1024 * 1024
    """Bytes. Embedded documents (PDF in OBX-5, base64) reach megabytes; 16 MiB is what engines of this field allow."""
    segments: int = 50_000
    """A day's results of one patient stay in the hundreds; a generous bound on objects made per message."""
    fields: int = 2_000
    """Fields of one segment. The longest standard segment has about 110; local ones add some."""
    leaves: int = 250_000
    """Delimiters of the whole message: each may begin a leaf, and each leaf costs what the mapping makes of it."""


LIMITS = Limits()


def read_header(raw: bytes, *, charset: str | None = None) -> Segment:
    """MSH (or FHS, BHS) of a message, however broken the rest may be: enough to route and to acknowledge it.

    `charset` is the codec assumed where MSH-18 is empty. Raises MalformedMessage when there is no usable header.
    """
    return _header(_strip(raw), charset)[0]


def parse(raw: bytes, *, charset: str | None = None, limits: Limits = LIMITS) -> Message:
    """Read one message (no frame around it, no batch envelope).

    `charset` is the codec assumed where MSH-18 is empty (default UTF-8). Tolerated, and told in `Message.notes`:
    `byte-order-mark`, `leading-blanks`, `line-ends` (LF or CRLF), `blank-lines`, `charset-unknown` (MSH-18 not in
    table 0211), `charset-mismatch` (the bytes are not what was declared). Raises MalformedMessage, LimitExceeded.
    """
    if len(raw) > limits.size:
        raise LimitExceeded(f"message over {limits.size} bytes")
    body = _strip(raw)
    header, understood = _header(body, charset)
    notes = [] if understood else ["charset-unknown"]
    if body is not raw and len(body) != len(raw):
        notes.append("byte-order-mark" if raw.startswith(BYTE_ORDER_MARK) else "leading-blanks")
    text, encoding = decode(body, header.syntax.encoding)
    syntax = header.syntax
    if sum(map(text.count, _delimiters(syntax))) > limits.leaves:
        raise LimitExceeded(f"more than {limits.leaves} delimiters")
    if encoding != syntax.encoding:
        notes.append("charset-mismatch")
        syntax = syntax._replace(encoding=encoding)
    if text.count("\r") + text.count("\n") > limits.segments:
        raise LimitExceeded(f"more than {limits.segments} segments")
    lines = _lines(text, syntax, notes)
    return Message(tuple(_segments(lines, syntax, limits)), raw, tuple(notes))


def _strip(raw: bytes) -> bytes:
    if raw.startswith(b"MSH"):
        return raw
    body = raw.removeprefix(BYTE_ORDER_MARK)
    return body.lstrip(_BLANK) if body[:1] in (b" ", b"\t", b"\r", b"\n") else body


def _header(body: bytes, charset: str | None) -> tuple[Segment, bool]:
    """The header segment, and whether its character set is known."""
    end = body.find(b"\r")
    line = body[:end] if end >= 0 else body
    if (feed := line.find(b"\n")) >= 0:
        line = line[:feed]
    # The edge, the batch cutter and the codec each need the header of the same message.
    return (_recent if len(line) <= _ORDINARY else _header_line)(line, charset)


def _header_line(line: bytes, charset: str | None) -> tuple[Segment, bool]:
    if line[:3] not in (b"MSH", b"FHS", b"BHS"):
        raise MalformedMessage("a message starts with MSH", location="segment 1")
    ascii_line = line.decode("latin-1")
    separator = ascii_line[3:4]
    declared = ascii_line.split(separator) if separator else [ascii_line]
    characters = declared[1] if separator else ""
    sets = declared[17].split(characters[1:2] or "~") if len(declared) > 17 and line[:3] == b"MSH" else []
    codec, understood = codec_for(sets, charset)
    syntax = _syntax(separator, characters, codec)
    if codec not in STATEFUL and line.isascii():
        return Segment(ascii_line[:3], 1, tuple(declared), syntax), understood
    text, _ = decode(line, codec)
    return Segment(text[:3], 1, tuple(text.split(separator)), syntax), understood


_recent = lru_cache(maxsize=64)(_header_line)


@lru_cache(maxsize=256)
def _syntax(separator: str, characters: str, encoding: str) -> Syntax:
    """Delimiters from MSH-1 and MSH-2, which must be distinct printable characters and no letters or digits."""
    if len(separator) != 1 or not _usable(separator):
        raise MalformedMessage("unusable field separator", location="MSH-1")
    used = separator + characters
    if not 1 <= len(characters) <= 5 or len(set(used)) != len(used) or not all(map(_usable, characters)):
        raise MalformedMessage("unusable encoding characters", location="MSH-2")
    component, repetition, escape, subcomponent, truncation = (*characters, "", "", "", "")[:5]
    return Syntax(separator, component, repetition, escape, subcomponent, truncation, encoding)


def _usable(character: str) -> bool:
    return character.isascii() and character.isprintable() and not character.isalnum() and character != " "


@lru_cache(maxsize=256)
def _delimiters(syntax: Syntax) -> tuple[str, ...]:
    found = (syntax.field, syntax.component, syntax.repetition, syntax.subcomponent)
    return tuple(character for character in found if character)


def _lines(text: str, syntax: Syntax, notes: list[str]) -> list[str]:
    """Segments as text. A line feed that no segment follows is content: some senders put them into notes."""
    if "\n" in text:
        notes.append("line-ends")
        text = text.replace("\r\n", "\r")
        if "\n" in text:
            next_segment = f"\n(?=\\s|$|[A-Z][A-Z0-9]{{2}}(?:{re.escape(syntax.field)}|[\r\n]|$))"
            text = re.sub(next_segment, "\r", text)
    if text.endswith("\r"):
        text = text[:-1]
    lines = text.split("\r")
    if "" in lines or any(map(str.isspace, lines)):
        notes.append("blank-lines")
        lines = [line for line in lines if line and not line.isspace()]
    return lines


def _segments(lines: list[str], syntax: Syntax, limits: Limits) -> list[Segment]:
    counts: dict[str, int] = {}
    segments = []
    separator = syntax.field
    for number, line in enumerate(lines, 1):
        parts = line.split(separator)
        name = parts[0]
        if name not in SEGMENTS and (len(name) != 3 or _NAME.fullmatch(name) is None):
            raise MalformedMessage("not a segment", location=f"segment {number}")
        if len(parts) > limits.fields + 1:
            raise LimitExceeded(f"more than {limits.fields} fields", location=f"segment {number}")
        index = counts.get(name, 0) + 1
        counts[name] = index
        segments.append(Segment(name, index, tuple(parts), syntax))
    if counts.get("MSH") != 1 or segments[0].name != "MSH":
        raise MalformedMessage("a message has one MSH, its first segment", location="segment 1")
    return segments
