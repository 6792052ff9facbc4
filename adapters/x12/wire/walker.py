"""Walks the segments of one transaction set along its guide: finds each one's place, reports faults, builds the tree.

A memo per node remembers what a text led to (place and element faults): real files repeat most of their segments.
Memos live as long as one reading, because they hold content, and are bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.x12.wire.dictionary import dictionary
from adapters.x12.wire.faults import Effect, Fault
from adapters.x12.wire.guide import LoopNode, Move, SegmentNode, moves, remaining
from adapters.x12.wire.program import Flaw, Program
from adapters.x12.wire.rules import Finding
from adapters.x12.wire.tree import Loop, Segment

MEMO_SIZE = 1000
"""Texts remembered per node; then forgotten and learnt anew."""

MAX_FAULTS = 1000
"""Faults kept per transaction set and effect; more would not help the sender and would fill the memory."""

DEFAULT_EFFECTS: Mapping[int, Effect] = {1: "reject", 2: "reject", 3: "error", 4: "reject", 5: "report", 7: "report"}
"""SNIP type → effect, where the partner's profile says nothing else."""

Entry = tuple[Move | None, tuple[Flaw, ...]]


@dataclass(eq=False, slots=True)
class Frame:
    """An open loop."""

    node: LoopNode
    loop: Loop
    counts: list[int]
    position: int
    hierarchy: str = ""
    """HL01 of this loop."""
    declared: str = ""
    """HL04 of this loop."""
    parents_child: bool = False
    erring: bool = False
    """Something in it has the effect `error`: what is below it is refused one by one."""


@dataclass(slots=True)
class Memory:
    """What one reading remembers for one program."""

    program: Program
    memos: list[dict[str, Entry]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memos = [{} for _ in self.program.guide.nodes]


class Walker:
    """One transaction set on its way. `step` per segment from the one after ST, then `finish` at SE."""

    def __init__(
        self,
        memory: Memory,
        header: Segment,
        *,
        effects: Mapping[int, Effect] = DEFAULT_EFFECTS,
        keep: bool = True,
        on_unit: Callable[[Loop], None] | None = None,
    ) -> None:
        guide = memory.program.guide
        self.program = memory.program
        self.separators = memory.program.separators
        self.memos = memory.memos
        self.effects = effects
        self.keep = keep
        self.on_unit = on_unit
        self.lean = not keep and on_unit is None
        """Nobody will read the tree: keep only what rules look at."""
        self.faults: list[Fault] = []
        self.kept: dict[str, int] = {}
        self.recent: list[Fault] = []
        """Faults since the last unit ended: those of the next one and of what introduces it."""
        self.units = 0
        self.refused: set[int] = set()
        """Numbers of units with an error of their own, or of what encloses them, that does not refuse the set."""
        self.tally: dict[str, Any] = {}
        """Sums that rules carry across units."""
        self.tree = Loop(guide.root.id)
        self.tree.items.append(header)
        self.frames = [Frame(guide.root, self.tree, [0] * len(guide.root.children), 1)]
        self.node: SegmentNode = guide.root.first
        self.memo = self.memos[0]
        self.position = 1
        self.hierarchy = 0
        for flaw in self.program.flaws(self.node, header.text):
            self._flawed(flaw, self.node.id, 1)

    def step(self, text: str, position: int) -> None:
        """Take the next segment."""
        entry = self.memo.get(text)
        if entry is None:
            entry = self._resolve(text)
        move, flaws = entry
        self.position = position
        if move is None:
            self._unexpected(text, position)
            return
        frames = self.frames
        if move.checks:
            self._missing(move.checks)
        for _ in range(move.pops):
            self._close()
        frame = frames[-1]
        counts, slot, target = frame.counts, move.slot, move.target
        counts[slot] += 1
        if target.index:
            if target.needed or not self.lean:
                frame.loop.items.append(Segment(text, self.separators, position, target.id))
        else:
            segment = Segment(text, self.separators, position, target.id)
            node = target.loop
            loop = Loop(node.id, frame.loop)
            frame.loop.items.append(loop)
            loop.items.append(segment)
            frames.append(Frame(node, loop, [0] * len(node.children), position))
            if target.id == "HL":
                self._hierarchy(segment)
        self.node = target
        self.memo = self.memos[target.number]
        if counts[slot] > move.maximum:
            code = "5" if target.index else "4"
            self._fault("segment", code, target.id, target.loop.id, expected=f"at most {move.maximum}")
        for flaw in flaws:
            self._flawed(flaw, target.id, position)

    def finish(self, position: int) -> None:
        """The transaction set ends; `position` is that of SE."""
        self.position = position
        self._missing(remaining(self.node))
        while self.frames:
            self._close()

    # -- finding the place --------------------------------------------------------------------------------------

    def _resolve(self, text: str) -> Entry:
        fields = text.split(self.separators.element, 4)
        options = moves(self.node).get(fields[0], ())
        fitting = [option for option in options if self._fits(option.target, text)]
        if len(fitting) > 1 and fields[0] == "HL":
            return self._under_parent(fitting, fields), self.program.flaws(fitting[0].target, text)
        if not fitting and fields[0] != "HL" and len({option.target.number for option in options}) == 1:
            fitting = [options[0]]
        entry: Entry = (None, ())
        if fitting:
            entry = (fitting[0], self.program.flaws(fitting[0].target, text))
            if len(self.memo) >= MEMO_SIZE:
                self.memo.clear()
            if len(text) < 512:
                self.memo[text] = entry
        return entry

    def _fits(self, node: SegmentNode, text: str) -> bool:
        if node.keys is None or node.key_at is None:
            return True
        element, component = node.key_at
        fields = text.split(self.separators.element, element + 1)
        if len(fields) <= element:
            return False
        value = fields[element]
        if component:
            value = value.split(self.separators.repetition or "\0")[0].split(self.separators.component)[0]
        return value in node.keys

    def _under_parent(self, options: list[Move], fields: list[str]) -> Move:
        """Of several levels that fit an HL, the one whose parent it names; else the nearest."""
        parent = fields[2] if len(fields) > 2 else ""
        for option in options:
            if self.frames[-1 - option.pops].hierarchy == parent:
                return option
        return options[0]

    # -- loops --------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        frame = self.frames.pop()
        node, loop = frame.node, frame.loop
        if frame.declared and frame.declared != ("1" if frame.parents_child else "0"):
            self._fault(
                "element", "7", "HL", node.id, element=4, data_element="736", expected="1 with levels below, else 0",
                position=frame.position, snip=2, effect="report",
            )  # fmt: skip
        for rule in node.rules:
            for finding in rule.findings(loop, self.tally):
                self._found(finding, frame)
        if node.unit:
            self.units += 1
            if frame.erring or any(above.erring for above in self.frames):
                self.refused.add(self.units)
            if self.on_unit is not None:
                self.on_unit(loop)
            self.recent.clear()
        elif frame.erring and self.frames:
            self.frames[-1].erring = True
        if node.transient and not self.keep and self.frames:
            above = self.frames[-1].loop
            above.items.pop()
            if self.lean:
                loop.items.clear()  # nobody holds it: no cycle is left for the collector
            if node.id not in above.dropped:
                above.dropped |= {node.id}

    def _hierarchy(self, segment: Segment) -> None:
        """HL01 counts from 1; HL02 names the enclosing level; HL04 is checked when the loop closes."""
        self.hierarchy += 1
        frame = self.frames[-1]
        frame.hierarchy, frame.declared = segment.get(1), segment.get(4)
        parent = next((above for above in reversed(self.frames[:-1]) if above.hierarchy), None)
        if frame.hierarchy and frame.hierarchy != str(self.hierarchy):
            self._level_fault(1, "628", "the next number from 1")
        if parent is not None:
            parent.parents_child = True
            if segment.get(2) and segment.get(2) != parent.hierarchy:
                self._level_fault(2, "734", "HL01 of the level above")

    def _level_fault(self, element: int, data_element: str, expected: str) -> None:
        loop = self.frames[-1].node.id
        self._fault("element", "7", "HL", loop, element=element, data_element=data_element, expected=expected)

    # -- faults ---------------------------------------------------------------------------------------------------

    def _missing(self, checks: Sequence[tuple[int, tuple[SegmentNode | LoopNode, ...]]]) -> None:
        for depth, children in checks:
            frame = self.frames[-1 - depth]
            for child in children:
                if not frame.counts[child.index]:
                    loop = child.id if isinstance(child, LoopNode) else frame.node.id
                    name = child.head if isinstance(child, LoopNode) else child.id
                    keys = child.first.keys if isinstance(child, LoopNode) else child.keys
                    wanted = f"{name} with {' or '.join(sorted(keys)[:6])}" if keys else name
                    self._fault("segment", "3", name, loop, expected=wanted)

    def _unexpected(self, text: str, position: int) -> None:
        name = text.split(self.separators.element, 1)[0]
        loop = self.frames[-1].node.id
        places = [node for node in self.program.guide.nodes if node.id == name]
        if not places:
            code = "6" if name in dictionary().segments else "1"
        else:
            open_loops = {id(frame.node) for frame in self.frames}
            code = "7" if any(id(node.loop) in open_loops and self._fits(node, text) for node in places) else "2"
        known = name if name.isalnum() and name.isascii() and 2 <= len(name) <= 3 else "???"
        self._fault("segment", code, known, loop, position=position)

    def _flawed(self, flaw: Flaw, segment: str, position: int) -> None:
        self._fault(
            "element", flaw.code, segment, self.frames[-1].node.id, position=position, element=flaw.element,
            component=flaw.component, repetition=flaw.repetition, data_element=flaw.data_element,
            expected=flaw.expected, snip=flaw.snip, value=flaw.value,
        )  # fmt: skip

    def _found(self, finding: Finding, frame: Frame) -> None:
        first = next(frame.loop.segments(), None)
        where = finding.segment or first
        position = where.position if where else frame.position
        trigger = finding.trigger
        unit = frame.loop
        self.frames.append(frame)
        self._fault(
            "element" if finding.element else "segment", finding.code, finding.name or (where.id if where else ""),
            unit.id if not finding.loop else finding.loop, position=position, element=finding.element,
            component=finding.component, data_element=finding.data_element, expected=finding.expected,
            snip=finding.snip, effect=finding.effect,
            trigger=(trigger.id, trigger.position, unit.id) if trigger else None,
        )  # fmt: skip
        self.frames.pop()

    def _fault(
        self,
        level: str,
        code: str,
        segment: str,
        loop: str,
        *,
        position: int = 0,
        snip: int = 1,
        effect: Effect | None = None,
        **rest: object,
    ) -> None:
        effect = effect or self.effects.get(snip, "reject")
        if effect == "error":
            self.frames[-1].erring = True
        kept = self.kept[effect] = self.kept.get(effect, 0) + 1
        if kept > MAX_FAULTS and len(self.recent) >= MAX_FAULTS:
            return
        fault = Fault(
            level=level,  # type: ignore[arg-type]
            code=code,
            segment=segment,
            segment_position=position or self.position,
            loop="" if loop == self.program.guide.transaction else loop,
            snip=snip,
            effect=effect,
            business_unit=self._business_unit(),
            **rest,  # type: ignore[arg-type]
        )
        if kept <= MAX_FAULTS:
            self.faults.append(fault)
        if len(self.recent) < MAX_FAULTS:
            self.recent.append(fault)

    def _business_unit(self) -> tuple[str, str] | None:
        """What names the claim or request a fault is in."""
        for frame in reversed(self.frames):
            for name, element in self.program.guide.business_units.items():
                segment = frame.loop.segment(name)
                if segment is not None and segment.get(element):
                    return f"{name}{element:02d}", segment.get(element)
        return None
