"""Walks the segments of one transaction set along its guide: finds each one's place, reports faults, builds the tree.

A memo per node remembers what a text led to (place and element faults): real files repeat most of their segments.
Memos live as long as one reading, because they hold content, and are bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.x12.wire.dictionary import dictionary
from adapters.x12.wire.faults import Effect, Fault
from adapters.x12.wire.guide import Guide, LoopNode, Move, SegmentNode, moves, remaining
from adapters.x12.wire.program import CodeSets, Flaw, Program, program
from adapters.x12.wire.rules import Finding
from adapters.x12.wire.splitter import Separators
from adapters.x12.wire.tree import Loop, Segment

MEMO_SIZE = 1000
"""Texts remembered per node; then forgotten and learnt anew."""

MEMO_TEXT = 512
"""Longest text that is remembered (characters): longer ones hardly repeat."""

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


class Memories:
    """Those of one reading, a few at a time."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, Separators], Memory] = {}

    def of(self, guide: Guide, separators: Separators, character_set: str, code_sets: CodeSets) -> Memory:
        """What is remembered for a guide under these separators."""
        key = (guide.id + guide.name, separators)
        memory = self.kept.get(key)
        if memory is None:
            if len(self.kept) >= 8:
                self.kept.clear()
            own = Program(guide, separators, character_set, code_sets) if code_sets else None
            memory = self.kept[key] = Memory(own or program(guide, separators, character_set))
        return memory


class Walker:
    """One transaction set on its way. `walk` along the segments after ST, then `finish` at SE."""

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
        self.handed_out = False
        """A unit just went out: `walk` stops, so that it is taken before the next one is built."""
        self.refused: set[int] = set()
        """Numbers of units with an error of their own, or of what encloses them, that does not refuse the set."""
        self.tally: dict[str, Any] = {}
        """Sums that rules carry across units."""
        self.tree = Loop(guide.root.id)
        self.tree.items.append(header)
        self.frames = [Frame(guide.root, self.tree, [0] * len(guide.root.children), 1)]
        self.node: SegmentNode = guide.root.first
        self.position = 1
        self.hierarchy = 0
        for flaw in self.program.flaws(self.node, header.text):
            self._flawed(flaw, self.node.id, 1)

    def walk(self, texts: Sequence[str], at: int = 0, stop: Container[str] = ()) -> int:
        """Take segments from `at` on, up to one that begins like one of `stop` or until a unit was handed out.

        Tells where it stopped. Empty texts are none. One loop for all: this is where the time of a reading goes.
        """
        frames, memos, lean, separators = self.frames, self.memos, self.lean, self.separators
        frame, node, position = frames[-1], self.node, self.position
        memo, stopped = memos[node.number], len(texts)
        for index in range(at, len(texts)):
            text = texts[index]
            entry = memo.get(text)
            if entry is None:
                if not text:
                    continue
                if text[:3] in stop:
                    stopped = index
                    break
                entry = self._resolve(node, text)
            position += 1
            move, flaws = entry
            if move is None:
                self._unexpected(text, position)
                continue
            slot, target = move.slot, move.target
            if not move.plain:
                self.position = position
                for depth, place, child in move.checks:
                    if not frames[depth].counts[place]:
                        self._absent(frames[depth], child)
                for _ in range(move.pops):
                    if frame.node.quiet and not frame.erring:
                        frames.pop()
                    else:
                        self._close()
                    frame = frames[-1]
            frame.counts[slot] = count = frame.counts[slot] + 1
            if target.index:
                if target.needed or not lean:
                    frame.loop.items.append(Segment(text, separators, position, target.id))
            else:
                frame = self._open(frame, target, Segment(text, separators, position, target.id))
            node, memo = target, memos[target.number]
            if count > move.maximum:
                code = "5" if target.index else "4"
                self._fault("segment", code, target.id, target.loop.id, position, expected=f"at most {move.maximum}")
            for flaw in flaws:
                self._flawed(flaw, target.id, position)
            if move.pops and self.handed_out:
                self.handed_out = False
                stopped = index + 1
                break
        self.node, self.position = node, position
        return stopped

    def finish(self, position: int) -> None:
        """The transaction set ends; `position` is that of SE."""
        self.position = position
        for depth, slot, child in remaining(self.node):
            if not self.frames[depth].counts[slot]:
                self._absent(self.frames[depth], child)
        while self.frames:
            self._close()

    # -- finding the place --------------------------------------------------------------------------------------

    def _resolve(self, node: SegmentNode, text: str) -> Entry:
        """The move a text leads to from a node, and what is wrong inside it; remembered."""
        name = text.split(self.separators.element, 1)[0]
        options = moves(node).get(name)
        if options is None:
            return None, ()
        if name == "HL":
            return self._level(options, text)
        first = options[0]
        if first.target.key_at is not None:
            key = self._key(text, first.target.key_at)
            for option in options:
                if option.target.keys is None or key in option.target.keys:
                    first = option
                    break
            else:  # of a single place the qualifier is wrong, not the segment
                if any(option.target is not first.target for option in options):
                    return None, ()
        entry = (first, self.program.flaws(first.target, text))
        if len(text) < MEMO_TEXT:
            memo = self.memos[node.number]
            if len(memo) >= MEMO_SIZE:
                memo.clear()
            memo[text] = entry
        return entry

    def _key(self, text: str, place: tuple[int, int]) -> str:
        """The value that tells segments with one identifier apart."""
        element, component = place
        fields = text.split(self.separators.element, element + 1)
        value = fields[element] if len(fields) > element else ""
        if component:
            value = value.split(self.separators.repetition or "\0")[0].split(self.separators.component)[0]
        return value

    def _level(self, options: Sequence[Move], text: str) -> Entry:
        """Of several levels that fit an HL, the one whose parent it names; else the nearest. Every HL is another."""
        fields = text.split(self.separators.element, 4)
        code = fields[3] if len(fields) > 3 else ""
        fitting = [option for option in options if option.target.keys is None or code in option.target.keys]
        if not fitting:
            return None, ()
        parent = fields[2]
        chosen = next((one for one in fitting if self.frames[-1 - one.pops].hierarchy == parent), fitting[0])
        return chosen, self.program.flaws(chosen.target, text)

    # -- loops --------------------------------------------------------------------------------------------------

    def _open(self, above: Frame, start: SegmentNode, segment: Segment) -> Frame:
        node, self.position = start.loop, segment.position
        loop = Loop(node.id, above.loop)
        above.loop.items.append(loop)
        loop.items.append(segment)
        frame = Frame(node, loop, [0] * len(node.children), segment.position)
        self.frames.append(frame)
        if start.id == "HL":
            self._hierarchy(frame, segment)
        return frame

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
                self.handed_out = True
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

    def _hierarchy(self, frame: Frame, segment: Segment) -> None:
        """HL01 counts from 1; HL02 names the enclosing level; HL04 is checked when the loop closes."""
        self.hierarchy += 1
        frame.hierarchy, frame.declared = segment.get(1), segment.get(4)
        if frame.hierarchy and frame.hierarchy != str(self.hierarchy):
            self._level_fault(1, "628", "the next number from 1")
        for parent in reversed(self.frames[:-1]):
            if parent.hierarchy:
                parent.parents_child = True
                if segment.get(2) and segment.get(2) != parent.hierarchy:
                    self._level_fault(2, "734", "HL01 of the level above")
                return

    def _level_fault(self, element: int, data_element: str, expected: str) -> None:
        loop = self.frames[-1].node.id
        self._fault("element", "7", "HL", loop, element=element, data_element=data_element, expected=expected)

    # -- faults ---------------------------------------------------------------------------------------------------

    def _absent(self, frame: Frame, child: SegmentNode | LoopNode) -> None:
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
            here = [node for node in places if id(node.loop) in open_loops]
            code = "7" if any(self._fits(node, text) for node in here) else "2"
        known = name if name.isalnum() and name.isascii() and 2 <= len(name) <= 3 else "???"
        self._fault("segment", code, known, loop, position=position)

    def _fits(self, node: SegmentNode, text: str) -> bool:
        return node.keys is None or node.key_at is None or self._key(text, node.key_at) in node.keys

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
        position: int = 0,
        *,
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
