"""Batches (chapter 2.10): FHS { BHS { message } BTS } FTS, each envelope optional; and continued messages (DSC, ADD).

Messages are cut out as bytes, so that each keeps its own delimiters and character set. All or nothing: a file whose
structure is broken gives an error and no messages. Wrong counts are told as issues; the caller's policy decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.core.errors import Issue, LimitExceeded, MalformedMessage

from .build import Value, Verbatim, compose, segment, timestamp
from .message import Message, Segment, write
from .reader import LIMITS, Limits, parse, read_header

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|$)")
_NEXT = re.compile(rb"[\r\n](?:MSH|FHS|BHS|BTS|FTS)")
_NEXT_AFTER_CR = re.compile(rb"\r(?:MSH|[FB][HT]S)")
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"M\x00", b"\x00M", b"\x00\x00")
"""How messages in character sets of more than one byte a letter begin."""
_ENVELOPE = (b"FHS", b"BHS", b"BTS", b"FTS")


@dataclass(frozen=True, slots=True)
class Stream:
    """The messages of one frame or file, each as its own bytes."""

    messages: tuple[bytes, ...]
    file_header: Segment | None = None
    batch_headers: tuple[Segment, ...] = ()
    issues: tuple[Issue, ...] = ()
    """Counts that do not agree (BTS-1 messages, FTS-1 batches) and envelopes that were not closed."""

    @property
    def batched(self) -> bool:
        """Whether there was any envelope."""
        return self.file_header is not None or bool(self.batch_headers)


def lone(raw: bytes) -> bool:
    """Whether this is one message and nothing else."""
    if not raw.startswith(b"MSH"):
        return False
    # A pattern that begins with one byte is found seven times as fast as one that begins with a choice.
    return _NEXT_AFTER_CR.search(raw) is None and (raw.find(b"\n") < 0 or _NEXT.search(raw) is None)


def split(raw: bytes, *, charset: str | None = None, limit: int = 100_000) -> Stream:
    """Cut a frame or file into messages; a lone message comes back as it is.

    Raises MalformedMessage (a segment outside of any message, envelopes in the wrong order, no message at all) and
    LimitExceeded above `limit` messages.
    """
    if lone(raw):
        return Stream((raw,))
    return _Cutter(charset, limit).cut(raw)


class _Cutter:
    """One pass over the lines of a file; holds what is open."""

    def __init__(self, charset: str | None, limit: int) -> None:
        self.charset = charset
        self.limit = limit
        self.messages: list[bytes] = []
        self.current: list[bytes] = []
        self.file_header: Segment | None = None
        self.batches: list[Segment] = []
        self.issues: list[Issue] = []
        self.in_batch = False
        self.closed = False
        self.start = 0

    def cut(self, raw: bytes) -> Stream:
        """All messages, or an error."""
        if raw.startswith(_WIDE):
            raise MalformedMessage("UTF-16 or UTF-32: its bytes collide with those of the frame", location="MSH-18")
        body = raw.removeprefix(b"\xef\xbb\xbf")
        for number, match in enumerate(_LINE.finditer(body), 1):
            line = match.group()
            if line.strip():
                self._line(line.lstrip(b" \t") if not self.current else line, f"segment {number}")
        self._end_message()
        if self.in_batch:
            self.issues.append(Issue("batch-open", "BHS", "batch without BTS", "warning"))
        if self.file_header is not None and not self.closed:
            self.issues.append(Issue("file-open", "FHS", "file without FTS", "warning"))
        if not self.messages and self.file_header is None and not self.batches:
            raise MalformedMessage("a message starts with MSH", location="segment 1")
        return Stream(tuple(self.messages), self.file_header, tuple(self.batches), tuple(self.issues))

    def _line(self, line: bytes, place: str) -> None:
        name = line[:3]
        if self.closed:
            raise MalformedMessage("segment after the end of the file", location=place)
        if name == b"MSH":
            self._end_message()
            if len(self.messages) >= self.limit:
                raise LimitExceeded(f"more than {self.limit} messages", location=place)
            self.current = [line]
        elif name in _ENVELOPE:
            self._end_message()
            self._envelope(name, line, place)
        elif self.current:
            self.current.append(line)
        else:
            raise MalformedMessage("segment outside of a message", location=place)

    def _envelope(self, name: bytes, line: bytes, place: str) -> None:
        if name == b"FHS":
            if self.file_header is not None or self.batches or self.messages:
                raise MalformedMessage("file header not at the start", location=place)
            self.file_header = read_header(line, charset=self.charset)
        elif name == b"BHS":
            if self.in_batch:
                raise MalformedMessage("batch header inside a batch", location=place)
            self.batches.append(read_header(line, charset=self.charset))
            self.in_batch, self.start = True, len(self.messages)
        elif name == b"BTS":
            self._count(line, len(self.messages) - self.start, "BTS-1")
            self.in_batch, self.start = False, len(self.messages)
        else:
            self.closed = True
            self._count(line, len(self.batches) or 1, "FTS-1")

    def _count(self, line: bytes, found: int, place: str) -> None:
        header = self.batches[-1] if place == "BTS-1" and self.batches else self.file_header
        separator = (header.syntax.field if header else "|").encode()
        said = line.strip().split(separator)[1:2]
        text = said[0].strip() if said else b""
        if text and (not text.isdigit() or int(text[:9]) != found):
            self.issues.append(Issue("count", place, f"count does not agree: {found} found", "warning"))

    def _end_message(self) -> None:
        if self.current:
            self.messages.append(b"".join(self.current))
            self.current = []


def reply_batch(stream: Stream, answers: Sequence[bytes], *, control_id: str, at: datetime) -> bytes:
    """The answers to a batch as one batch, referring to the sender's (BHS-12, FHS-12)."""
    header = stream.batch_headers[0] if stream.batch_headers else stream.file_header
    if header is None:
        return b"".join(answers)
    syntax = header.syntax
    swapped: dict[int, Value] = {3: header.raw(5), 4: header.raw(6), 5: header.raw(3), 6: header.raw(4)}
    fields: dict[int, Value] = {n: Verbatim(value) for n, value in swapped.items() if isinstance(value, str)}
    fields |= {7: timestamp(at), 11: control_id, 12: Verbatim(header.raw(11))}
    opening = [segment("BHS", fields, syntax=syntax)]
    closing = [segment("BTS", {1: str(len(answers))}, syntax=syntax)]
    if stream.file_header is not None:
        file_fields = fields | {12: Verbatim(stream.file_header.raw(11))}
        opening.insert(0, segment("FHS", file_fields, syntax=syntax))
        closing.append(segment("FTS", {1: "1"}, syntax=syntax))
    return write(compose(opening)) + b"".join(answers) + write(compose(closing))


def pointer(message: Message) -> str:
    """DSC-1: the continuation pointer of an unfinished message; empty when the message is whole."""
    last = message.segments[-1]
    return last.get(1) if last.name == "DSC" else ""


def rejoin(parts: Sequence[Message], *, limits: Limits = LIMITS) -> Message:
    """One message from its fragments in order: each MSH-14 names the DSC-1 before it; ADD continues a field.

    Raises MalformedMessage when a fragment is missing or out of order, LimitExceeded when the whole is too large.
    """
    segments: list[Segment] = []
    expected = ""
    for number, part in enumerate(parts, 1):
        if part.header.get(14) != expected:
            raise MalformedMessage("continuation pointer does not match", location=f"MSH-14 of fragment {number}")
        expected = pointer(part)
        for item in part.segments[0 if number == 1 else 1 :]:
            if item.name == "ADD" and segments:
                before = segments[-1]
                tail = (before.parts[-1] + "".join(item.parts[1:2]), *item.parts[2:])
                segments[-1] = Segment(before.name, before.index, (*before.parts[:-1], *tail), before.syntax)
            elif item.name != "DSC":
                segments.append(item)
    if expected:
        raise MalformedMessage("the last fragment is missing", location="DSC-1")
    whole = write(compose(segments))
    return parse(whole, limits=limits)
