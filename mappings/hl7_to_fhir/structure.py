"""Message structures as data, and the grouper that hangs each segment where it belongs.

A structure is written as in the standard's abstract syntax, without its lines:

    MSH [PATIENT_RESULT: PID PD1? [ORDER_OBSERVATION: ORC? OBR NTE* [OBSERVATION: OBX NTE*]*]+]+ DSC?

Real messages leave segments out, repeat them and put them in odd places. So placing is tolerant: a segment goes to the
next place where it fits in the innermost open group, else it starts the group again, else an outer group is tried;
what fits nowhere in order joins the innermost open group that knows its name, else the innermost open group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from gateway.core.errors import ConfigurationError

from .cursor import Cursor

_TOKEN = re.compile(r"\[([A-Z0-9_]+):|([A-Z][A-Z0-9]{2})([?*+]?)|\]([?*+]?)|\s+")


@dataclass(frozen=True, slots=True)
class Structure:
    """A group: its members in order, segments by name and groups."""

    name: str
    members: tuple[str | Structure, ...]
    repeats: bool
    many: tuple[bool, ...] = ()
    """Which members may come again."""
    places: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Segment → members that are it, or groups it can start."""
    starters: frozenset[str] = frozenset()
    """Segments that can start the group: its leading optional ones and the first it requires."""
    plans: dict[tuple[str, ...], Plan] = field(default_factory=dict, repr=False, compare=False)
    """Names of a message's segments → where they belong."""


Plan: TypeAlias = "tuple[Structure, tuple[int | Plan, ...]]"
"""A group of one message: the numbers of its segments, and the groups in it."""


@dataclass(slots=True)
class Group:
    """A group of one message."""

    structure: Structure
    children: list[Cursor | Group]

    @property
    def name(self) -> str:
        """The group's name in the structure."""
        return self.structure.name

    def cursors(self) -> Iterator[Cursor]:
        """All segments below, in order."""
        for child in self.children:
            if isinstance(child, Cursor):
                yield child
            else:
                yield from child.cursors()

    def find(self, name: str) -> Cursor | None:
        """The first segment of a name, at any depth."""
        return next((cursor for cursor in self.cursors() if cursor.name == name), None)


def _finish(name: str, members: list[tuple[str | Structure, str]], repeats: bool) -> Structure:
    places: dict[str, list[int]] = {}
    starters: set[str] = set()
    leading = True
    for index, (member, mark) in enumerate(members):
        names = {member} if isinstance(member, str) else member.starters
        for segment in names:
            places.setdefault(segment, []).append(index)
        if leading:
            starters |= names
            leading = mark in {"?", "*"}
    return Structure(
        name,
        tuple(member for member, _ in members),
        repeats,
        tuple(mark in {"*", "+"} for _, mark in members),
        {segment: tuple(indexes) for segment, indexes in places.items()},
        frozenset(starters),
    )


def parse_structure(name: str, text: str) -> Structure:
    """Compile the notation. Raises ConfigurationError when it is not well formed."""
    stack: list[tuple[str, list[tuple[str | Structure, str]]]] = [(name, [])]
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ConfigurationError("not a message structure", location=f"{name}:{place}")
        place = match.end()
        if match[1]:
            stack.append((match[1], []))
        elif match[2]:
            stack[-1][1].append((match[2], match[3]))
        elif match[4] is not None:
            group, members = stack.pop()
            if not stack:
                raise ConfigurationError("a group is closed that was never opened", location=f"{name}:{place}")
            stack[-1][1].append((_finish(group, members, match[4] in {"*", "+"}), match[4]))
    if len(stack) != 1:
        raise ConfigurationError("a group is not closed", location=name)
    return _finish(name, stack[0][1], repeats=False)


@dataclass(slots=True)
class _Open:
    """A group that is being filled: with places of segments, and groups."""

    structure: Structure
    held: list[int | _Open] = field(default_factory=list)
    position: int = -1
    """The member last filled."""

    def plan(self) -> Plan:
        return self.structure, tuple(one if isinstance(one, int) else one.plan() for one in self.held)


def _place(stack: list[_Open], name: str, segment: int) -> bool:
    """Place a segment in order; leaves the stack at its group."""
    for depth in range(len(stack) - 1, -1, -1):
        group = stack[depth]
        for index in group.structure.places.get(name, ()):
            if index > group.position or (index == group.position and group.structure.many[index]):
                del stack[depth + 1 :]
                _enter(stack, index, name, segment)
                return True
    return False


def _enter(stack: list[_Open], index: int, name: str, segment: int) -> None:
    """Put the segment at a member of the innermost group, opening groups on the way down."""
    while True:
        group = stack[-1]
        group.position = index
        member = group.structure.members[index]
        if isinstance(member, str):
            group.held.append(segment)
            return
        opened = _Open(member)
        group.held.append(opened)
        stack.append(opened)
        index = member.places[name][0]


def _plan(structure: Structure, names: Sequence[str]) -> Plan:
    """Where the segments of these names belong."""
    root = _Open(structure)
    stack = [root]
    for segment, name in enumerate(names):
        if not _place(stack, name, segment):
            home = next((open_ for open_ in reversed(stack) if name in open_.structure.members), stack[-1])
            home.held.append(segment)
    return root.plan()


_PLANS = 256
"""Kept for each structure: a feed's messages have the same segments again and again."""
_LONGEST = 60
"""Segments of a message whose plan is kept."""


def group(structure: Structure, cursors: Sequence[Cursor]) -> Group:
    """Hang the segments of a message into the tree of its structure."""
    names = tuple([cursor.name for cursor in cursors])
    plan = structure.plans.get(names)
    if plan is None:
        plan = _plan(structure, names)
        if len(names) <= _LONGEST:
            if len(structure.plans) >= _PLANS:
                structure.plans.clear()
            structure.plans[names] = plan
    return _hang(plan, cursors)


def _hang(plan: Plan, cursors: Sequence[Cursor]) -> Group:
    structure, members = plan
    return Group(structure, [cursors[one] if isinstance(one, int) else _hang(one, cursors) for one in members])
