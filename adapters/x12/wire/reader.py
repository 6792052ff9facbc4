"""Reads a file of interchanges: envelope checks, a walker per transaction set, reports and trees as they are ready.

Standard: ASC X12.5 interchange and X12.6 functional group structure; faults as TA105, AK905 and IK502.
One pass, constant memory: in `units` and `judge` mode the parts of a transaction set are dropped once they are done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from adapters.x12.wire.events import Choose, Event, Options, Transaction, Unit
from adapters.x12.wire.guide import Guide
from adapters.x12.wire.header_checks import header_checks
from adapters.x12.wire.registry import GROUPS, choose, guides_of, version_known
from adapters.x12.wire.reports import (
    GroupReport,
    InterchangeHeader,
    InterchangeReport,
    Quarantined,
    TransactionReport,
)
from adapters.x12.wire.splitter import BLOCK, BROKEN, GARBAGE, HEADER, SEGMENT, Separators, blocks
from adapters.x12.wire.tree import Loop, Segment
from adapters.x12.wire.walker import Memories, Memory, Walker

__all__ = ["Choose", "Event", "Options", "Transaction", "Unit", "read"]

LINE_END = 4
"""Bytes of white space between two pieces that are still one piece for a person."""

PLAIN = Options()


def read(chunks: Iterable[bytes], options: Options = PLAIN, choose: Choose | None = None) -> Iterator[Event]:
    """Yield units and transactions as they end, and the report of each interchange after them.

    `choose` may give other options for each interchange (limits stay). Faults are data, never exceptions. A unit is
    yielded before its transaction set is judged: publish only what a first reading in `judge` mode accepted.
    """
    return _Reader(options, choose).run(chunks)


class _Reader:
    def __init__(self, options: Options, choose: Choose | None) -> None:
        self.options = options
        self.choose_options = choose
        self.memories = Memories()
        self.ready: list[Event] = []
        self.separators = Separators()
        self.interchange: InterchangeReport | None = None
        self.group: GroupReport | None = None
        self.guides: tuple[Guide, ...] = ()
        self.transaction: TransactionReport | None = None
        self.walker: Walker | None = None
        self.header: Segment | None = None
        self.quarantined: Quarantined | None = None
        self.ended = False
        """The interchange in hand is complete, or cannot be read further."""
        self.stopped = False
        """A limit was passed: nothing more is read."""
        self.end = 0
        """Offset behind the last token."""
        self.position = 0
        self.isa_position = 0
        self.control: dict[str, Callable[[int, str], None]] = {}
        self.envelopes = 0
        self.set_numbers: set[str] = set()
        self.group_numbers: set[str] = set()

    def run(self, chunks: Iterable[bytes]) -> Iterator[Event]:
        ready = self.ready
        for kind, offset, text in blocks(chunks, self.options.limits):
            if kind == BLOCK:
                yield from self._segments(offset, text.split(self.separators.segment))
            elif kind == SEGMENT:
                yield from self._segments(offset, [text])
            elif kind == HEADER:
                self.end = offset + len(text)
                self._isa(offset, text)
                self._limit(offset)
            elif kind == GARBAGE:
                self.end = offset + len(text)
                self._garbage(offset, len(text))
            elif kind == BROKEN:
                self._broken(offset, "a segment is longer than the limit; reading stopped")
            if ready:
                yield from ready
                ready.clear()
            if self.stopped:
                break
        self._end_interchange(self.end)
        self._flush()
        yield from ready
        ready.clear()

    def _segments(self, offset: int, parts: list[str]) -> Iterator[Event]:
        """Neighbouring segments: those of a transaction set go to its walker, the others to their handlers."""
        white, ready = self.separators.white, self.ready
        texts = [part.lstrip(white) for part in parts]
        at = done = 0
        while at < len(texts) and not self.stopped:
            walker = self.walker
            if walker is not None:
                at = walker.walk(texts, at, self.control)
                self.position = walker.position
            else:
                at = self._unguided(texts, at)
            if at < len(texts) and not ready:
                offset += sum(map(len, parts[done:at])) + at - done
                start = offset + len(parts[at]) - len(texts[at])
                self._other(start, texts[at])
                self._limit(start)
                done, at = at, at + 1
            if ready:
                yield from ready
                ready.clear()
        last = next((place for place in reversed(range(len(texts))) if texts[place]), 0)
        self.end = offset + sum(map(len, parts[done : last + 1])) + last - done

    def _unguided(self, texts: list[str], at: int) -> int:
        """The next segment to look at where no walker is; those inside a set that has no guide are only counted."""
        counting = self.transaction is not None and self.position > 1
        for place in range(at, len(texts)):
            if texts[place]:
                if not counting or texts[place][:3] in self.control:
                    return place
                self.position += 1
        return len(texts)

    # -- interchange --------------------------------------------------------------------------------------------

    def _isa(self, offset: int, text: str) -> None:
        self._end_interchange(offset)
        self._flush()
        separators = self.separators = Separators.of(text)
        report = InterchangeReport(InterchangeHeader.parse(text), separators, offset)
        self.interchange, self.ended, self.isa_position = report, False, 1
        self.group_numbers.clear()
        self.envelopes += 1
        if self.choose_options is not None:
            self.options = self.choose_options(report.header)
            self.memories = Memories()
        mark = separators.element
        self.control = {
            f"GS{mark}": self._gs, f"ST{mark}": self._st, f"SE{mark}": self._se, f"GE{mark}": self._ge,
            "IEA": self._iea, "TA1": self._ta1, "ISB": self._skip, "ISE": self._skip,
        }  # fmt: skip
        code = separators.fault()
        if code:
            report.refuse(code, "ISA", element={"027": 16, "024": 11}.get(code, 0))
            self.ended = code != "024"
            return
        for code, element, good in header_checks(report.header, self.options.usage):
            if not good:
                report.refuse(code, "ISA", 1, element)

    def _other(self, offset: int, text: str) -> None:
        """A segment that no walker took."""
        handler = self.control.get(text[:3])
        if handler is not None and self.separators.element not in text[2:4] and len(text) > 3:
            handler = None  # IEAX*…
        if handler is None and self.walker is not None:
            self.walker.walk([text])
            self.position = self.walker.position
            return
        self.isa_position += 1
        if self.interchange is None:
            self._garbage(offset, len(text) + 1)
        elif handler is not None:
            handler(offset, text)
        elif self.transaction is not None:
            self.position += 1
            self._begin_walk(text)
        elif not self.ended:
            self.interchange.refuse("022", _name(text), self.isa_position)

    def _limit(self, offset: int) -> None:
        if self.envelopes > self.options.limits.max_envelopes:
            self._broken(offset, "more envelopes than the limit; reading stopped")
            self.stopped = True

    def _garbage(self, offset: int, length: int) -> None:
        report = self.interchange
        if report is not None and report.separators.fault() not in ("", "024"):
            return  # the rest of an interchange whose separators cannot be used
        self._end_interchange(offset)
        before = self.quarantined
        if before is not None and offset - before.offset - before.length <= LINE_END:
            self.quarantined = Quarantined(before.offset, offset + length - before.offset, before.reason)
            return
        self._flush()
        self.quarantined = Quarantined(offset, length, "bytes outside of an interchange")

    def _flush(self) -> None:
        if self.quarantined is not None:
            self.ready.append(self.quarantined)
            self.quarantined = None

    def _broken(self, offset: int, reason: str) -> None:
        if self.interchange is not None:
            self.interchange.refuse("024", "", self.isa_position)
            self.ended = True
        self._end_interchange(offset)
        self.ready.append(Quarantined(offset, 0, reason))

    def _iea(self, offset: int, text: str) -> None:
        report = self.interchange
        if report is None:
            return
        self._end_group()
        fields = self._fields(text)
        if _count(fields[1]) != len(report.groups):
            report.refuse("021", "IEA", self.isa_position, 1)
        if fields[2].strip() != report.header.control_number:
            report.refuse("001", "IEA", self.isa_position, 2)
        report.length = offset + len(text) + 1 - report.offset
        self.ended = True
        self._end_interchange()

    def _end_interchange(self, end: int = 0) -> None:
        """`end` is the offset behind an interchange that has no IEA."""
        report = self.interchange
        if report is None:
            return
        report.length = report.length or end - report.offset
        self._end_group()
        if not self.ended:
            report.refuse("023", "IEA", self.isa_position)
        report.settle()
        self.interchange, self.control = None, {}
        self.ready.append(report)

    def _ta1(self, offset: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        if self.interchange is not None:
            self.interchange.told(self._fields(text, 6))

    def _skip(self, offset: int, text: str) -> None:
        """ISB and ISE, grade of service: no effect here."""

    # -- functional group ---------------------------------------------------------------------------------------

    def _gs(self, offset: int, text: str) -> None:
        report = self.interchange
        if report is None:
            return
        self._end_group()
        fields = self._fields(text, 9)
        group = GroupReport(fields[1], fields[2], fields[3], fields[6], fields[8], offset)
        if len(group.group) != 2 or not group.group.isalnum() or not group.group.isascii():
            report.refuse("024", "GS", self.isa_position, 1)
        self.guides = guides_of(group.group, group.version)
        known_groups = {code for codes in GROUPS.values() for code in codes}
        if not self.guides and group.group != "FA":
            group.codes.append("1" if version_known(group.version) or group.group not in known_groups else "2")
        if not group.control_number.isdecimal() or len(group.control_number) > 9:
            group.codes.append("6")
        elif group.control_number in self.group_numbers:
            group.codes.append("19")
        self.group_numbers.add(group.control_number)
        self.set_numbers.clear()
        self.envelopes += 1
        report.groups.append(group)
        self.group = group

    def _ge(self, offset: int, text: str) -> None:  # noqa: ARG002
        self._end_transaction(missing=True)
        group = self.group
        if group is None:
            self._misplaced("GE")
            return
        fields = self._fields(text)
        group.declared = fields[1]
        if fields[2] != group.control_number:
            group.codes.append("4")
        if _count(fields[1]) != len(group.transactions):
            group.codes.append("5")
        self.group = None

    def _end_group(self) -> None:
        """A group that is still open has no GE."""
        self._end_transaction(missing=True)
        if self.group is not None:
            self.group.codes.append("3")
        self.group = None

    def _misplaced(self, name: str) -> None:
        if self.interchange is not None:
            self.interchange.refuse("022", name, self.isa_position)

    # -- transaction set ----------------------------------------------------------------------------------------

    def _st(self, offset: int, text: str) -> None:
        self._end_transaction(missing=True)
        group = self.group
        if group is None:
            self._misplaced("ST")
            return
        fields = self._fields(text, 4)
        report = TransactionReport(fields[1], fields[2], fields[3], "", offset, len(group.transactions) + 1)
        if not 4 <= len(fields[2]) <= 9 or not fields[2].isalnum():
            report.codes.append("7")
        elif fields[2] in self.set_numbers:
            report.codes.append("23")
        self.set_numbers.add(fields[2])
        self.envelopes += 1
        group.transactions.append(report)
        self.transaction, self.position = report, 1
        self.header = Segment(text, self.separators, 1)
        if self.guides and not any(one.transaction == fields[1] for one in self.guides):
            report.codes.append("1" if fields[1] in GROUPS else "6")
        elif fields[3] and group.version != fields[3]:
            report.codes.append("I6")

    def _begin_walk(self, text: str) -> None:
        """The second segment tells which guide it is; from there a walker takes over."""
        report, group, header = self.transaction, self.group, self.header
        if report is None or group is None or header is None:
            return
        fields = tuple(text.split(self.separators.element))
        guide = choose(self.guides, report.set_id, fields)
        if self.options.mode == "control" or guide is None or set(report.codes) & {"1", "6"}:
            return
        report.guide = guide.id
        self.walker = Walker(
            self._memory(guide),
            header,
            effects=self.options.effects,
            keep=self.options.mode == "trees",
            on_unit=self._unit if self.options.mode == "units" else None,
        )
        self.walker.walk([text])

    def _unit(self, loop: Loop) -> None:
        walker, report = self.walker, self.transaction
        if walker is not None and report is not None and self.group is not None and self.interchange is not None:
            guide, number = walker.program.guide, walker.units
            place = (self.interchange.header, self.group, report)
            self.ready.append(Unit(loop, guide, *place, number, tuple(walker.recent), number in walker.refused))

    def _se(self, offset: int, text: str) -> None:  # noqa: ARG002
        report = self.transaction
        if report is None:
            self._misplaced("SE")
            return
        self.position += 1
        fields = self._fields(text)
        if _count(fields[1]) != self.position:
            report.codes.append("4")
        if fields[2] != report.control_number:
            report.codes.append("3")
        self._end_transaction(missing=False)

    def _end_transaction(self, *, missing: bool) -> None:
        report, walker = self.transaction, self.walker
        if report is None:
            return
        if missing:
            report.codes.append("2")
            self.position += 1
        report.segments = self.position
        if walker is not None:
            walker.finish(self.position)
            report.faults = sorted(walker.faults, key=lambda fault: fault.segment_position)
            report.units, report.refused_units = walker.units, frozenset(walker.refused)
            if self.options.mode == "trees" and self.interchange is not None and self.group is not None:
                self.ready.append(
                    Transaction(walker.tree, walker.program.guide, self.interchange.header, self.group, report)
                )
        elif not report.codes and self.guides and self.options.mode != "control":
            self._empty(report)
        self.transaction = self.walker = self.header = None

    def _empty(self, report: TransactionReport) -> None:
        """ST directly followed by SE: let a walker say what is missing."""
        guide = choose(self.guides, report.set_id, ())
        if guide is not None and self.header is not None:
            report.guide = guide.id
            walker = Walker(self._memory(guide), self.header, effects=self.options.effects)
            walker.finish(self.position)
            report.faults = walker.faults

    # -- tools --------------------------------------------------------------------------------------------------

    def _fields(self, text: str, count: int = 3) -> list[str]:
        fields = text.split(self.separators.element)
        return [*fields, *[""] * (count - len(fields))]

    def _memory(self, guide: Guide) -> Memory:
        return self.memories.of(guide, self.separators, self.options.character_set, self.options.code_sets)


def _count(text: str) -> int:
    """A control count; -1 when it is none."""
    return int(text) if len(text) <= 10 and text.isascii() and text.isdecimal() else -1


def _name(text: str) -> str:
    name = text[:3].rstrip("*|")
    return name if name.isalnum() and name.isascii() else "???"
