"""MLLP: blocks of VT … FS CR on a byte stream, read without I/O.

`feed` takes bytes as they come and gives events; how the bytes were cut never matters. What peers get wrong and what
becomes of it:

    junk before VT              skipped and counted up to `Limits.junk`; beyond it the connection must close
    FS not followed by CR       before VT or the end of the stream it ends the frame (tolerated); elsewhere it is a
                                byte of the body, and the message is refused, because its end cannot be trusted
    VT inside a frame           a new frame starts; the one before was truncated: an event, never an acknowledgement
    end of stream in a frame    truncated, never acknowledged
    larger than the limit       refused (from its header if that is readable), then the connection must close
    empty, or no MSH/FHS/BHS    refused
    0x06 or 0x15 alone          release 2 commit acknowledgement (positive, negative)

Events carry sizes and codes for logs, and the payload only where an answer needs it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.core.record import record

VT, FS, CR = b"\x0b", b"\x1c", b"\r"
_END = FS + CR
_BEGIN = VT + b"MSH"
POSITIVE = b"\x06"
"""Commit acknowledgement of release 2."""
NEGATIVE = b"\x15"
"""Negative commit acknowledgement of release 2."""
_MARK = re.compile(rb"[\x0b\x1c]")
_STARTS = (b"MSH", b"FHS", b"BHS")
_QUIET = b"\r\n\t \x1c\x00"
"""Bytes between frames that no one needs to hear of: line ends, keep-alive blanks, a doubled frame's end."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection's input."""

    frame: int = 16 * 1024 * 1024
    """Bytes of one payload: what the message parser takes."""
    junk: int = 1024
    """Bytes outside of frames: line ends and greetings are short; more means the peer does not speak MLLP."""
    head: int = 8192
    """Bytes kept of a payload that is too large: enough for its MSH, so that it can be refused by name."""


@record
class Frame:
    """A complete payload."""

    payload: bytes
    notes: tuple[str, ...] = ()
    """`missing-end` when CR after FS was missing."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A release 2 commit acknowledgement."""

    positive: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A payload that cannot be a message, or whose end cannot be trusted; to be answered negatively."""

    reason: str
    """`empty`, `no-header`, `embedded-end`, `too-large`."""
    payload: bytes
    """The payload, or its first bytes (`Limits.head`) when too large."""
    size: int
    close: bool = False
    """The stream cannot be followed any more: close after answering."""


@dataclass(frozen=True, slots=True)
class Truncated:
    """A frame that never ended. Nothing may be answered."""

    reason: str
    """`restarted` (a new VT came) or `end-of-stream`."""
    size: int


@dataclass(frozen=True, slots=True)
class Junk:
    """Bytes outside of frames: their number, and the first eight in hexadecimal (never more: it may be a message)."""

    size: int
    head: str
    close: bool = False
    """Over the limit, or the stream ended with it: an unframed peer."""


Event = Frame | Commit | Refused | Truncated | Junk


def frame(payload: bytes) -> bytes:
    """One block."""
    return VT + payload + _END


class Framer:
    """The receiving side of one connection. After an event with `close`, further bytes are dropped."""

    __slots__ = ("_body", "_closed", "_ending", "_junk", "_junk_head", "_limits", "in_frame")

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._body = bytearray()
        self.in_frame = False
        """Whether a frame has begun and not ended: the slow-peer clock runs."""
        self._ending = False  # FS came last: the next byte decides what it was
        self._junk = 0
        self._junk_head = b""
        self._closed = False

    @property
    def buffered(self) -> int:
        """Bytes held of an unfinished frame."""
        return len(self._body)

    @property
    def unframed(self) -> bool:
        """Whether bytes that matter came outside of frames since the last frame."""
        return bool(self._junk_head)

    @property
    def closed(self) -> bool:
        """Whether the stream was given up."""
        return self._closed

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes as received; give what they completed."""
        events: list[Event] = []
        if not self.in_frame and self._whole(data):
            if self._junk:
                self._between(events)
            events.append(Frame(data[1:-2]))
            return events
        position = 0
        while position < len(data) and not self._closed:
            step = self._inside if self.in_frame else self._outside
            position = step(data, position, events)
        return events

    def end(self) -> list[Event]:
        """The stream ended; give what that means. Afterwards the framer is closed."""
        events: list[Event] = []
        if self.in_frame and not self._closed:
            if self._ending:
                self._end_frame(("missing-end",), events)
            elif self._body:
                events.append(Truncated("end-of-stream", len(self._body)))
        elif self._junk_head and not self._closed:
            events.append(Junk(self._junk, self._junk_head.hex(), close=True))
        self._closed = True
        return events

    def _whole(self, data: bytes) -> bool:
        """The common case: exactly one frame in one read, one message in it, nothing odd."""
        return (
            data.startswith(_BEGIN)
            and data.find(FS) == len(data) - 2
            and data.endswith(_END)
            and data.find(VT, 1) < 0
            and len(data) - 3 <= self._limits.frame
            and not self._closed
        )

    def _outside(self, data: bytes, position: int, events: list[Event]) -> int:
        start = data.find(VT, position)
        stop = start if start >= 0 else len(data)
        self._skip(data[position:stop], events)
        if start < 0 or self._closed:
            return len(data)
        self._between(events)
        self.in_frame = True
        return start + 1

    def _skip(self, junk: bytes, events: list[Event]) -> None:
        """Count bytes outside of frames; those nobody needs to hear of do not start a report."""
        junk = junk[: self._limits.junk + 1 - self._junk]
        loud = junk if self._junk_head else junk.lstrip(_QUIET)
        self._junk += len(junk)
        self._junk_head += loud[: 8 - len(self._junk_head)]
        if self._junk > self._limits.junk:
            self._closed = True
            events.append(Junk(self._junk, self._junk_head.hex(), close=True))

    def _between(self, events: list[Event]) -> None:
        if self._junk_head:
            events.append(Junk(self._junk, self._junk_head.hex()))
        self._junk, self._junk_head = 0, b""

    def _inside(self, data: bytes, position: int, events: list[Event]) -> int:
        """Move bytes into the body up to the next VT or FS; give the position after what was used."""
        if self._ending:
            following = data[position : position + 1]
            if following in (CR, VT):
                self._end_frame(() if following == CR else ("missing-end",), events)
                return position + (following == CR)
            self._ending = False
            self._body += FS
        match = _MARK.search(data, position)
        stop = match.start() if match else len(data)
        self._body += memoryview(data)[position:stop]
        if len(self._body) > self._limits.frame:
            self._too_large(bytes(self._body), events)
            return len(data)
        if match is None:
            return stop
        if match.group() == FS:
            self._ending = True
        else:
            # VT: a new frame begins. Right after the first VT it is a doubled frame, and nothing was lost.
            if self._body:
                events.append(Truncated("restarted", len(self._body)))
            self._body.clear()
        return stop + 1

    def _end_frame(self, notes: tuple[str, ...], events: list[Event]) -> None:
        payload = bytes(self._body)
        self._body.clear()
        self.in_frame = self._ending = False
        self._finish(payload, notes, events)

    def _too_large(self, payload: bytes, events: list[Event]) -> None:
        self._body.clear()
        self.in_frame, self._closed = False, True
        limits = self._limits
        head = payload[: min(limits.head, limits.frame)]
        events.append(Refused("too-large", head, limits.frame + 1, close=True))

    def _finish(self, payload: bytes, notes: tuple[str, ...], events: list[Event]) -> None:
        size = len(payload)
        if size > self._limits.frame:
            self._too_large(payload, events)
        elif payload in (POSITIVE, NEGATIVE):
            events.append(Commit(payload == POSITIVE))
        elif FS in payload:
            events.append(Refused("embedded-end", payload, size))
        elif payload.startswith(_STARTS) or _bare(payload).startswith(_STARTS):
            events.append(Frame(payload, notes))
        else:
            events.append(Refused("no-header" if _bare(payload) else "empty", payload, size))


def _bare(payload: bytes) -> bytes:
    """The payload's first bytes after a byte order mark and blanks."""
    return payload[:1024].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")[:3]
