"""From bytes to segments, in constant memory.

Standard: ASC X12.5 and X12.6, control segments 00401 and 00501. ISA is 106 bytes; byte 3 is the element separator,
82 the repetition separator (from version 00402 on), 104 the component separator, 105 the segment terminator.
A segment is its identifier and elements up to the terminator; BIN and BDS carry their own length in bytes.

Bytes become text as Latin-1, so that one character is one byte and offsets stay true; `tree.Segment` decodes UTF-8.
White space between segments (line ends, blanks) and empty segments are skipped. The result does not depend on chunks.

Limits: a segment of at most `max_segment` bytes and a binary one of at most `max_binary`, because both are held in
memory. A segment beyond its limit ends the reading with a BROKEN token.
Not handled: UTF-16, and UNA/UNB (EDIFACT); both come out as GARBAGE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

HEADER, SEGMENT, BLOCK, GARBAGE, BROKEN = "header", "segment", "block", "garbage", "broken"

Token = tuple[str, int, str]
"""(kind, byte offset in the file, text). A header's text has all 106 characters, a segment's no terminator.

A block is many plain segments with their terminators: no binary data, no IEA, nothing that may be an ISA.
"""

ISA_LENGTH = 106
_ELEMENT_AT = (3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103)
_WHITE = " \t\r\n"
_BYTE_ORDER_MARK = "\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Separators:
    """The four delimiters of one interchange; `repetition` is empty where ISA11 is no separator."""

    element: str = "*"
    component: str = ":"
    repetition: str = "^"
    segment: str = "~"

    @classmethod
    def of(cls, header: str) -> Separators:
        """Read them from the 106 characters of an ISA."""
        repetition = header[82] if header[84:89] >= "00402" and not header[82].isalnum() else ""
        return cls(header[3], header[104], repetition, header[105])

    def fault(self) -> str:
        """TA105 code of what is wrong with them, or empty.

        A separator may be neither a letter, a digit nor a blank, and all must differ.
        """
        if _unfit(self.element):
            return "026"
        if _unfit(self.component) or self.component == self.element:
            return "027"
        if _unfit(self.segment) or self.segment in (self.element, self.component):
            return "004"
        if self.repetition and (
            self.repetition in (self.element, self.component, self.segment) or _unfit(self.repetition)
        ):
            return "024"
        return ""

    @property
    def white(self) -> str:
        """White space that may stand between segments: what is no separator."""
        return "".join(letter for letter in _WHITE if letter not in (self.element, self.component))


def _unfit(separator: str) -> bool:
    return separator.isalnum() or separator in " \t\0" or ord(separator) > 126


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one segment may hold, in bytes, and how many envelopes one file may have."""

    max_segment: int = 1 << 20
    max_binary: int = 1 << 26
    max_envelopes: int = 200_000
    """Interchanges, groups and transaction sets together: a report is kept of each."""


def readable(header: str) -> bool:
    """Whether 106 characters are an ISA with its separators where they belong."""
    mark = header[3:4]
    return len(header) == ISA_LENGTH and header.startswith("ISA") and all(header[at] == mark for at in _ELEMENT_AT)


def split(chunks: Iterable[bytes], limits: Limits = Limits()) -> Iterator[Token]:
    """Yield the tokens of a file of any number of interchanges, segment by segment, whatever the chunks."""
    separators = Separators()
    for kind, offset, text in blocks(chunks, limits):
        if kind == BLOCK:
            white = separators.white
            for part in text.split(separators.segment):
                segment = part.lstrip(white)
                if segment:
                    yield SEGMENT, offset + len(part) - len(segment), segment
                offset += len(part) + 1
            continue
        if kind == HEADER:
            separators = Separators.of(text)
        yield kind, offset, text


def blocks(chunks: Iterable[bytes], limits: Limits = Limits()) -> Iterator[Token]:
    """Like `split`, with neighbouring plain segments in one block: their borders depend on the chunks."""
    splitter = _Splitter(limits)
    for chunk in chunks:
        if splitter.feed(chunk):
            yield from splitter.drain(last=False)
        if splitter.broken:
            return
    splitter.feed(b"", last=True)
    yield from splitter.drain(last=True)


class _Splitter:
    """The text not yet yielded, where it begins in the file, and the separators in force."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.buffer = ""
        self.pending: list[str] = []
        self.size = 0
        self.wanted = 0
        """Length of the buffer below which looking again is useless: binary data is on its way."""
        self.offset = 0
        self.separators: Separators | None = None
        self.white = _WHITE
        self.broken = False
        self.lost = False
        """Between interchanges, in bytes that are none: white space belongs to them too."""

    def feed(self, chunk: bytes, *, last: bool = False) -> bool:
        """Take more bytes; tell whether it is time to drain."""
        if chunk:
            self.pending.append(chunk.decode("latin-1"))
            self.size += len(chunk)
        if not last and len(self.buffer) + self.size < self.wanted:
            return False
        self.buffer += "".join(self.pending)
        self.pending, self.size, self.wanted = [], 0, 0
        return True

    def drain(self, *, last: bool) -> Iterator[Token]:
        """Yield what is complete."""
        progress = True
        while self.buffer and progress and not self.broken:
            before, state = self.offset, self.separators
            if self.separators is None:
                yield from self._header(last=last)
            else:
                yield from self._segments(self.separators, last=last)
            progress = self.offset > before or self.separators is not state

    def _advance(self, count: int) -> None:
        self.buffer = self.buffer[count:]
        self.offset += count

    def _header(self, *, last: bool) -> Iterator[Token]:
        """The next ISA, or what stands before it."""
        if self.offset == 0 and self.buffer.startswith(_BYTE_ORDER_MARK):
            self._advance(3)
            return
        text = self.buffer if self.lost else self.buffer.lstrip(_WHITE + "\0\x1a")
        if len(text) < len(self.buffer):
            self._advance(len(self.buffer) - len(text))
            return
        if not last and len(text) < ISA_LENGTH and (text[:3] == "ISA"[: len(text)] or text == _BYTE_ORDER_MARK[:2]):
            return
        if not readable(text[:ISA_LENGTH]):
            yield from self._garbage(text, last=last)
            return
        separators = Separators.of(text)
        if separators.fault() in ("", "024"):
            self.separators = separators
            self.white = separators.white
        offset, self.lost = self.offset, False
        self._advance(ISA_LENGTH)
        yield HEADER, offset, text[:ISA_LENGTH]

    def _garbage(self, text: str, *, last: bool) -> Iterator[Token]:
        """Bytes that belong to no interchange, up to what may be the next ISA."""
        at = text.find("ISA", 1)
        while at >= 0 and len(text) - at >= ISA_LENGTH and not readable(text[at : at + ISA_LENGTH]):
            at = text.find("ISA", at + 1)
        end = at if at > 0 else len(text) if last else max(len(text) - 2, 1)
        offset, self.lost = self.offset, True
        self._advance(end)
        yield GARBAGE, offset, text[:end]

    def _segments(self, separators: Separators, *, last: bool) -> Iterator[Token]:
        mark, terminator = separators.element, separators.segment
        end = self.buffer.rfind(terminator) + 1
        special = [self.buffer.find(name, 0, end) for name in (f"BIN{mark}", f"BDS{mark}", f"IEA{mark}", "ISA")]
        first = min((at for at in special if at >= 0), default=-1)
        if first >= 0:  # the plain segments before it go the fast way
            end = self.buffer.rfind(terminator, 0, first) + 1
        block = self.buffer[:end]
        if first >= 0 and not block.strip(self.white + terminator):
            yield from self._careful(separators, last=last)
        elif block:
            offset = self.offset
            self._advance(end)
            yield BLOCK, offset, block
        else:
            yield from self._rest(separators, last=last)

    def _careful(self, separators: Separators, *, last: bool) -> Iterator[Token]:
        """One segment at a time: binary data by its length, the end of the interchange, a new ISA without an IEA."""
        buffer, at, mark, base = self.buffer, 0, separators.element, self.offset
        while at < len(buffer):
            start = at
            while start < len(buffer) and buffer[start] in self.white:
                start += 1
            if not last and len(buffer) - start < ISA_LENGTH and buffer.startswith("ISA", start):
                break
            if readable(buffer[start : start + ISA_LENGTH]):
                self.separators, at = None, start
                break
            end = self._end(buffer, start, separators, last=last)
            if end < 0:
                break
            if end > start:
                yield SEGMENT, base + start, buffer[start:end]
            at = end + 1
            if buffer.startswith(f"IEA{mark}", start):
                self.separators = None
                break
        if at == 0 and self.separators is not None:
            yield from self._rest(separators, last=last)
        else:
            self._advance(at)

    def _end(self, buffer: str, start: int, separators: Separators, *, last: bool) -> int:
        """Where the segment at `start` ends; -1: not here yet. A wrong BIN01 falls back to the terminator."""
        plain = buffer.find(separators.segment, start)
        if not buffer.startswith((f"BIN{separators.element}", f"BDS{separators.element}"), start):
            return plain
        end = _binary_end(buffer, start, separators.element, self.limits)
        if end < 0:
            return plain if last else -1
        if end >= len(buffer) and not last:
            self.wanted = end - start + 1
            return -1
        return end if buffer[end : end + 1] == separators.segment else plain

    def _rest(self, separators: Separators, *, last: bool) -> Iterator[Token]:
        """An unfinished segment: wait for more within the limits, or take it as it is at the end of the file."""
        text = self.buffer.lstrip(self.white)
        offset = self.offset + len(self.buffer) - len(text)
        if readable(text[:ISA_LENGTH]):
            self.separators = None
            self._advance(len(self.buffer) - len(text))
            return
        if last:
            self._advance(len(self.buffer))
            if text:
                yield SEGMENT, offset, text.rstrip(self.white)
            return
        binary = text.startswith((f"BIN{separators.element}", f"BDS{separators.element}"))
        if len(text) > (self.limits.max_binary + 64 if binary else self.limits.max_segment):
            self.broken = True
            yield BROKEN, offset, ""


def _binary_end(buffer: str, start: int, mark: str, limits: Limits) -> int:
    """Where the data of the BIN or BDS at `start` ends by its own count; -1: the count is not here yet; else 0."""
    position = start + 4
    if buffer.startswith("BDS", start):
        position = buffer.find(mark, position, position + 16) + 1
    stop = buffer.find(mark, position, position + 16) if position else -1
    if stop < 0:
        return -1 if len(buffer) - start < 36 else 0
    digits = buffer[position:stop]
    return stop + 1 + int(digits) if digits.isdecimal() and int(digits) <= limits.max_binary else 0
