"""From trees to interchanges: guide order, HL numbers, control counts, and the same checks as for what comes in.

Standard: ASC X12.5 and X12.6; ISA with fixed widths, SE01 counts ST to SE, GE01 and IEA01 count sets and groups.
HL01 runs from 1 in document order, HL02 names the enclosing level, HL04 is 1 where levels follow inside.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from adapters.x12.wire.faults import Fault
from adapters.x12.wire.guide import Guide, LoopNode, SegmentNode
from adapters.x12.wire.program import program
from adapters.x12.wire.splitter import Separators
from adapters.x12.wire.tree import LaterLoops, Loop, Segment
from adapters.x12.wire.walker import Memory, Walker
from gateway.core.errors import InvalidMessage, Issue, UnsupportedMessage

AT_ONCE = 500
"""Segments made, checked and joined together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Everything around the transaction sets. Times and control numbers come from the caller."""

    sender: str
    receiver: str
    sender_qualifier: str = "ZZ"
    receiver_qualifier: str = "ZZ"
    group_sender: str = ""
    """GS02; the interchange's sender when empty."""
    group_receiver: str = ""
    time: datetime
    interchange_number: int
    group_number: int
    usage: str = "P"
    acknowledgement_requested: bool = False
    separators: Separators = field(default_factory=Separators)
    line_ends: bool = False
    """A line feed after each segment, for people."""
    version: str = ""
    """GS08 and ST03; the guide's own identifier when empty."""


def header_text(envelope: Envelope) -> str:
    """The 105 characters of an ISA before its terminator. Raises InvalidMessage for an identifier that does not fit."""
    separators = envelope.separators
    if separators.fault():
        raise InvalidMessage("separators cannot be used", location="ISA")
    for name, value in (("ISA06", envelope.sender), ("ISA08", envelope.receiver)):
        if not 0 < len(value) <= 15 or not value.isascii():
            raise InvalidMessage("identifier must have 1 to 15 characters", location=name)
    if not 0 < envelope.interchange_number <= 999_999_999:
        raise InvalidMessage("control number must have 1 to 9 digits", location="ISA13")
    parts = [
        "ISA", "00", " " * 10, "00", " " * 10, envelope.sender_qualifier, envelope.sender.ljust(15),
        envelope.receiver_qualifier, envelope.receiver.ljust(15), envelope.time.strftime("%y%m%d"),
        envelope.time.strftime("%H%M"), separators.repetition or "U", "00501", f"{envelope.interchange_number:09d}",
        "1" if envelope.acknowledgement_requested else "0", envelope.usage, separators.component,
    ]  # fmt: skip
    return separators.element.join(parts)


@dataclass(frozen=True, slots=True)
class Group:
    """A functional group to write: GS01, GS08, its transaction set texts, and GS02 and GS03 where they differ."""

    code: str
    version: str
    sets: Sequence[str]
    sender: str = ""
    receiver: str = ""


def wrap(envelope: Envelope, groups: Sequence[Group], before: Sequence[str] = ()) -> bytes:
    """An interchange of groups; `before` are segments such as TA1.

    Each transaction set text is its segments from ST to SE, already joined with terminators.
    Raises InvalidMessage when the header cannot be written.
    """
    mark, end = envelope.separators.element, envelope.separators.segment + ("\n" if envelope.line_ends else "")
    out = [header_text(envelope), *before]
    day, clock = envelope.time.strftime("%Y%m%d"), envelope.time.strftime("%H%M")
    for at, group in enumerate(groups):
        number = str((envelope.group_number + at - 1) % 999_999_999 + 1)
        sender = group.sender or envelope.group_sender or envelope.sender
        receiver = group.receiver or envelope.group_receiver or envelope.receiver
        out.append(mark.join(["GS", group.code, sender, receiver, day, clock, number, "X", group.version]))
        out.extend(group.sets)
        out.append(mark.join(["GE", str(len(group.sets)), number]))
    out.append(mark.join(["IEA", str(len(groups)), f"{envelope.interchange_number:09d}"]))
    return (end.join(out) + end).encode("latin-1")


def join_set(segments: Sequence[str], set_id: str, number: str, version: str, envelope: Envelope) -> str:
    """A transaction set text from the segments between ST and SE."""
    mark, end = envelope.separators.element, envelope.separators.segment + ("\n" if envelope.line_ends else "")
    start = [set_id, number, version] if version else [set_id, number]
    return end.join(
        [mark.join(["ST", *start]), *segments, mark.join(["SE", str(len(segments) + 2), number])]
    )  # fmt: skip


def write(guide: Guide, trees: Loop | Iterable[Loop], envelope: Envelope, *, validate: bool = True) -> bytes:
    """An interchange with one group of the guide's transaction sets.

    Raises InvalidMessage with one issue per fault when a tree breaks its guide (balances included), or when a value
    holds a separator; UnsupportedMessage for a guide that is only read.
    """
    if guide.read_only:
        raise UnsupportedMessage("this transaction set is read, not written", location=guide.id)
    several = [trees] if isinstance(trees, Loop) else trees
    sets = [write_set(guide, tree, at, envelope, validate=validate) for at, tree in enumerate(several, 1)]
    return wrap(envelope, [Group(guide.functional_group, envelope.version or guide.id, sets)])


def write_set(guide: Guide, tree: Loop, at: int, envelope: Envelope, *, validate: bool = True) -> str:
    """The text of one transaction set, the `at`-th of its group, for `wrap`. Raises InvalidMessage as `write` does.

    Memory grows by the text alone: segments are made, checked and joined a few at a time.
    """
    number = f"{at:04d}"
    version = "" if guide.root.first.elements[2].usage == "S" else envelope.version or guide.id
    mark, end = envelope.separators.element, envelope.separators.segment + ("\n" if envelope.line_ends else "")
    start = mark.join(["ST", guide.transaction, number, *([version] if version else [])])
    walker = _checker(guide, envelope.separators, start)
    segments, parts, count = render(guide, tree, envelope.separators), [start], 0
    while some := list(islice(segments, AT_ONCE)):
        count += len(some)
        parts.append(end.join(some))
        if validate:
            walker.walk(some)
    if validate:
        walker.finish(count + 2)
        _raise_faults(walker, guide)
    return end.join([*parts, mark.join(["SE", str(count + 2), number])])


def render(guide: Guide, tree: Loop, separators: Separators) -> Iterator[str]:
    """The segments between ST and SE, in guide order, with HL numbers.

    Raises InvalidMessage for a segment or loop the guide has no place for, and for a value that holds a separator.
    """
    levels = _Levels()
    return (_text(segment, separators) for segment in _ordered(guide.root, tree, levels))


class _Levels:
    def __init__(self) -> None:
        self.count = 0


def _ordered(node: LoopNode, loop: Loop, levels: _Levels, parent: str = "") -> Iterator[Segment]:
    placed = sorted(_placed(node, loop), key=lambda pair: pair[0].group)
    level = parent
    for child, item in placed:
        if isinstance(item, Loop):
            for one in item.make() if isinstance(item, LaterLoops) else (item,):
                yield from _ordered(child, one, levels, level)  # type: ignore[arg-type]
        elif item.id == "HL":
            levels.count += 1
            level = str(levels.count)
            below = any(isinstance(other, LoopNode) and other.head == "HL" for other, _ in placed)
            used = isinstance(child, SegmentNode) and len(child.elements) > 3
            declared = ("1" if below else "0") if used or below else ""
            yield Segment.build("HL", level, parent, item.get(3), declared)
        else:
            yield item


def _placed(node: LoopNode, loop: Loop) -> Iterator[tuple[SegmentNode | LoopNode, Segment | Loop]]:
    for item in loop.items:
        if isinstance(item, Segment) and item.id == "ST" and node.parent is None:
            continue
        child = _place(node, item)
        if child is None:
            name = f"{loop.id}/{item.id}"
            raise InvalidMessage("the guide has no place for this", location=name)
        yield child, item


def _place(node: LoopNode, item: Segment | Loop) -> SegmentNode | LoopNode | None:
    if isinstance(item, Loop):
        return next((child for child in node.children if isinstance(child, LoopNode) and child.id == item.id), None)
    same = [child for child in node.children if isinstance(child, SegmentNode) and child.id == item.id]
    for child in same:
        if child.keys is None or child.key_at is None or item.get(*child.key_at) in child.keys:
            return child
    return same[0] if len(same) == 1 else None


def _text(segment: Segment, separators: Separators) -> str:
    if segment.separators == separators:
        return segment.text
    text = segment.text if segment.binary() else _folded(segment.text)
    own = {segment.separators.element, segment.separators.component, segment.separators.repetition}
    foreign = {separators.element, separators.component, separators.segment, separators.repetition} - own - {""}
    if not segment.binary() and any(mark in text for mark in foreign):
        raise InvalidMessage("a value holds a separator", location=segment.id)
    plain = Segment(text, segment.separators).rendered(separators)
    return plain if segment.binary() else plain.rstrip(separators.element)


def _folded(text: str) -> str:
    """Accents go, because the extended character set has none; what cannot be folded is left for validation."""
    if text.isascii():
        return text
    try:
        characters = text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        characters = text
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", characters) if not unicodedata.combining(letter))
    return plain.encode("ascii", "replace").decode("ascii")


def _checker(guide: Guide, separators: Separators, start: str) -> Walker:
    return Walker(Memory(program(guide, separators)), Segment(start, separators, 1), keep=False)


def _raise_faults(walker: Walker, guide: Guide) -> None:
    wrong = [fault for fault in walker.faults if fault.effect != "report"]
    if wrong:
        raise InvalidMessage(f"the {guide.transaction} breaks its guide", issues=tuple(map(_issue, wrong)))


def _issue(fault: Fault) -> Issue:
    return Issue(fault.code, f"{fault.loop}/{fault.segment} at {fault.segment_position}", fault.message)
