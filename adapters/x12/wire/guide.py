"""Guides as data: one YAML table per transaction set becomes a tree of nodes, from which everything else follows.

The notation, one line per segment, loops nested by indentation:

    - UM R 1 | R=AR|HS|SC R=1|2|I S R(R,R=A|B) - S=03|U      segment, usage, maximum | its elements in order
    - 2010EA S 14 event provider:                            loop, usage, maximum, our name for it, its content
      - NM1 R 1 | …

Usage: R required, S situational, `-` not used (elements past the last one named are not used).
An element: `R=A|B` codes, `R=$name` a code set of `codes.yaml`, `S@name` a licensed list that is configuration,
`R:9-10` lengths other than the standard's, `R(…)` a composite, `S*5` at most five repetitions, `>` for any number.
The first segment of a loop starts it. Neighbours with the same segment identifier stand at one position of the
standard, so they may come in any order; otherwise order matters.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from adapters.x12.wire.dictionary import DataElement, SyntaxNote, dictionary, load_yaml
from adapters.x12.wire.rules import Rule
from gateway.core.errors import ConfigurationError

ANY_NUMBER = 1 << 30

KEYS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(
        (
            "NM1",
            "REF",
            "DTP",
            "DTM",
            "N1",
            "AMT",
            "QTY",
            "CRC",
            "PRV",
            "TRN",
            "LQ",
            "LS",
            "LE",
            "TOO",
            "NTE",
            "INS",
            "PER",
        ),
        (1, 0),
    ),
    "HL": (3, 0),
    "HI": (1, 1),
    "CTX": (1, 1),
    "SV1": (1, 1),
}
"""Where a segment says which of several nodes with its identifier it is: (element, component)."""


@dataclass(frozen=True, slots=True)
class ElementUse:
    """How a guide uses one element or component."""

    usage: str
    data: DataElement | None = None
    """None for a composite."""
    number: str = ""
    codes: frozenset[str] | None = None
    external: str = ""
    repeat: int = 1
    components: tuple[ElementUse, ...] = ()


NOT_USED = ElementUse("-")


@dataclass(eq=False, slots=True)
class SegmentNode:
    """One place in a guide where a segment may stand."""

    id: str
    usage: str
    maximum: int
    elements: tuple[ElementUse, ...]
    defined: int
    """How many elements the standard knows; more is an error of its own."""
    notes: tuple[SyntaxNote, ...]
    key_at: tuple[int, int] | None
    keys: frozenset[str] | None
    loop: LoopNode = field(repr=False)
    index: int = 0
    group: int = 0
    number: int = 0
    needed: bool = True
    """Whether a reading that only judges has to keep it: it starts a loop, or a rule looks at it."""
    known_moves: dict[str, tuple[Move, ...]] | None = field(default=None, repr=False)
    """What `moves` found: guides are large, and a file visits few of their places."""

    @property
    def starter(self) -> bool:
        """Whether it begins its loop."""
        return self.index == 0


@dataclass(eq=False, slots=True)
class LoopNode:
    """One loop of a guide; the root is the transaction set."""

    id: str
    usage: str
    maximum: int
    label: str
    parent: LoopNode | None = field(repr=False)
    children: list[SegmentNode | LoopNode] = field(default_factory=list, repr=False)
    index: int = 0
    group: int = 0
    transient: bool = False
    """Dropped once closed when a file is read piece by piece: the unit loop, and what contains it."""
    unit: bool = False
    rules: list[Rule] = field(default_factory=list)
    quiet: bool = False
    """Nothing is to be done when it closes, unless something was found in it or it is a level (HL)."""

    @property
    def first(self) -> SegmentNode:
        """The segment that starts the loop."""
        child = self.children[0]
        assert isinstance(child, SegmentNode)  # noqa: S101 - the loader saw to it
        return child

    @property
    def head(self) -> str:
        """Identifier of the segment that starts it."""
        return self.first.id


Checks = tuple[tuple[int, int, "SegmentNode | LoopNode"], ...]
"""What is required and may have been left out: (which of the open loops, -1 the innermost; place in it; node)."""


@dataclass(frozen=True, slots=True)
class Move:
    """From one segment to the next: loops to close, then the target; `checks` are what may have been left out."""

    pops: int
    target: SegmentNode
    slot: int
    """Index of the target, or of the loop it opens, among the children of the loop it lands in."""
    maximum: int
    checks: Checks
    plain: bool
    """It neither closes nor checks anything before the target."""


@dataclass(frozen=True, eq=False, slots=True)
class Guide:
    """One implementation guide."""

    id: str
    name: str
    transaction: str
    functional_group: str
    aliases: tuple[str, ...]
    when: tuple[str, int, str] | None
    """(segment, element, value) that tells guides with equal identifiers apart: BHT02 of the 278."""
    root: LoopNode
    nodes: tuple[SegmentNode, ...] = field(repr=False)
    unit: str
    """The loop handed out one by one from large files."""
    business_units: dict[str, int]
    """Segment → element that names the business unit in a 999."""
    read_only: bool = False
    hierarchical: bool = False


@cache
def code_sets() -> dict[str, frozenset[str]]:
    """Short enumerations shared by guides."""
    return {name: frozenset(str(text).split()) for name, text in load_yaml("codes.yaml").items()}


def load(name: str) -> Guide:
    """Read `guides/<name>.yaml`. Raises ConfigurationError with the line that cannot be read."""
    data = load_yaml(f"guides/{name}.yaml")
    transaction = str(data["transaction"])
    root = LoopNode(transaction, "R", 1, data["name"], None)
    st03 = "R" if data.get("st03", True) else "S"
    tree = [f"ST R 1 | R={transaction} R {st03}", *data["tree"]]
    nodes: list[SegmentNode] = []
    _grow(root, tree, nodes)
    unit = str(data.get("unit", ""))
    _mark(root, unit)
    for rule in data.get("rules", ()):
        _attach(root, rule)
    pairs: set[tuple[str, str]] = set()
    _looked_at(root, pairs)
    units = data.get("business_units", {})
    for node in nodes:
        node.needed = node.starter or node.id in units or (node.loop.id, node.id) in pairs
    when = data.get("when")
    return Guide(
        id=str(data["guide"]),
        name=data["name"],
        transaction=transaction,
        functional_group=data["group"],
        aliases=tuple(data.get("aliases", ())),
        when=(when[0], int(when[1]), str(when[2])) if when else None,
        root=root,
        nodes=tuple(nodes),
        unit=unit,
        business_units=dict(data.get("business_units", {})),
        read_only=bool(data.get("read_only", False)),
        hierarchical=any(node.id == "HL" for node in nodes),
    )


def _grow(loop: LoopNode, items: list[Any], nodes: list[SegmentNode]) -> None:
    previous, group = "", -1
    for item in items:
        child: SegmentNode | LoopNode
        if isinstance(item, str):
            child = _segment(item, loop)
            child.number = len(nodes)
            nodes.append(child)
            head = child.id
        else:
            ((title, content),) = item.items()
            name, usage, maximum, *label = str(title).split()
            child = LoopNode(name, usage, _maximum(maximum), " ".join(label), loop)
            _grow(child, content, nodes)
            head = child.head
        if head != previous:
            group += 1
        previous = head
        child.index, child.group = len(loop.children), group
        loop.children.append(child)


def _mark(loop: LoopNode, unit: str) -> bool:
    loop.unit = loop.id == unit
    inside = [_mark(child, unit) for child in loop.children if isinstance(child, LoopNode)]
    loop.transient = loop.parent is not None and (loop.unit or any(inside))
    return loop.unit or any(inside)


def _attach(loop: LoopNode, source: dict[str, Any], ancestors: frozenset[str] = frozenset()) -> None:
    if loop.id == str(source["in"]):
        loop.rules.append(Rule(source, ancestors))
    for child in loop.children:
        if isinstance(child, LoopNode):
            _attach(child, source, ancestors | {loop.id})


def _looked_at(loop: LoopNode, pairs: set[tuple[str, str]]) -> None:
    """(loop, segment) that rules read."""
    loop.quiet = not (loop.rules or loop.unit or loop.transient or loop.parent is None or loop.head == "HL")
    for rule in loop.rules:
        pairs.update((path.loops[-1] if path.loops else loop.id, path.segment) for path in rule.paths())
    for child in loop.children:
        if isinstance(child, LoopNode):
            _looked_at(child, pairs)


def _maximum(text: str) -> int:
    return ANY_NUMBER if text == ">" else int(text)


def _segment(line: str, loop: LoopNode) -> SegmentNode:
    head, _, body = line.partition("|")
    try:
        name, usage, maximum = head.split()
        definition = dictionary().segments[name]
        tokens = body.split()
        uses = tuple(_use(token, number) for token, number in zip(tokens, definition.elements, strict=False))
        if len(tokens) > len(definition.elements):
            raise ValueError("more elements than the standard has")
    except (ValueError, KeyError, IndexError) as error:
        raise ConfigurationError(f"guide line cannot be read: {line!r} ({error})") from error
    key_at = KEYS.get(name)
    return SegmentNode(
        id=name,
        usage=usage,
        maximum=_maximum(maximum),
        elements=uses,
        defined=len(definition.elements),
        notes=tuple(note for note in definition.notes if _matters(note, uses)),
        key_at=key_at,
        keys=_codes_at(uses, key_at),
        loop=loop,
    )


def _codes_at(uses: tuple[ElementUse, ...], key_at: tuple[int, int] | None) -> frozenset[str] | None:
    if key_at is None or len(uses) < key_at[0]:
        return None
    use = uses[key_at[0] - 1]
    return (use.components[key_at[1] - 1] if key_at[1] else use).codes


def _matters(note: SyntaxNote, uses: tuple[ElementUse, ...]) -> bool:
    """Whether the usages of the guide leave a syntax note anything to decide."""
    usages = [uses[at - 1].usage if at <= len(uses) else "-" for at in note.positions]
    if note.kind in "CL" and usages[0] == "-":
        return False
    return "S" in usages and not (note.kind == "R" and "R" in usages)


def _use(token: str, number: str) -> ElementUse:
    if token == "-":  # noqa: S105 - not a password
        return NOT_USED
    usage, rest = token[0], token[1:]
    if usage not in "RS":
        raise ValueError(f"usage {usage}")
    repeat = 1
    if rest.startswith(":"):
        shortest, _, longest = rest[1:].partition("-")
        data = replace(dictionary().elements[number], shortest=int(shortest), longest=int(longest))
        return ElementUse(usage, data, number)
    if "*" in rest:
        rest, _, count = rest.rpartition("*")
        repeat = _maximum(count)
    if number in dictionary().composites:
        inner = rest.strip("()").split(",") if rest else []
        numbers = dictionary().composites[number]
        if not inner:
            inner = ["R", *["S"] * (len(numbers) - 1)]
        components = tuple(_use(part, of) for part, of in zip(inner, numbers, strict=False))
        return ElementUse(usage, None, number, None, "", repeat, components)
    rest, _, external = rest.partition("@")
    codes = None
    if rest.startswith("=$"):
        codes = code_sets()[rest[2:]]
    elif rest.startswith("="):
        codes = frozenset(rest[1:].replace("_", " ").split("|"))
    elif rest:
        raise ValueError(f"element {token}")
    return ElementUse(usage, dictionary().elements[number], number, codes, external, repeat)


def moves(node: SegmentNode) -> dict[str, tuple[Move, ...]]:
    """What may follow a node: by segment identifier, nearest first. Computed once per node."""
    if node.known_moves is None:
        node.known_moves = _moves(node)
    return node.known_moves


def _moves(node: SegmentNode) -> dict[str, tuple[Move, ...]]:
    found: dict[str, list[Move]] = {}
    checks: Checks = ()
    loop: LoopNode | None = node.loop
    group, pops = node.group, 0
    while loop is not None:
        for child in loop.children[1:]:
            if child.group < group:
                continue
            target = child if isinstance(child, SegmentNode) else child.first
            before = (*checks, *_required(loop, group, child.group, pops))
            found.setdefault(target.id, []).append(
                Move(pops, target, child.index, child.maximum, before, plain=not (pops or before))
            )
        checks += _required(loop, group, ANY_NUMBER, pops)
        group, loop, pops = loop.group, loop.parent, pops + 1
    return {name: tuple(options) for name, options in found.items()}


def _required(loop: LoopNode, start: int, stop: int, pops: int) -> Checks:
    required = [child for child in loop.children[1:] if start <= child.group < stop and child.usage == "R"]
    return tuple((-1 - pops, child.index, child) for child in required)


def remaining(node: SegmentNode) -> Checks:
    """What may still be missing when the transaction set ends at a node."""
    result: Checks = ()
    loop: LoopNode | None = node.loop
    group, pops = node.group, 0
    while loop is not None:
        result += _required(loop, group, ANY_NUMBER, pops)
        group, loop, pops = loop.group, loop.parent, pops + 1
    return result
