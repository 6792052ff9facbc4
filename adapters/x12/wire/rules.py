"""Rules between segments, as data in the guides: situations (SNIP 4) and balances (SNIP 3, Decimal).

    - {in: 2300, balance: CLM02, equals: [+2400/SV102]}
    - {in: 2000B, when: [SBR02 = 18], never: 2000C, need: [2010BA/N3, 2010BA/DMG]}
    - {in: 2300, when: [2000B/SBR01 = P], need: HI}
    - {in: 2400, count: LX01}                                   numbers from 1 within the enclosing loop

A path is loops down from the rule's loop (or up, by the name of an enclosing loop), then segment, element, component:
`2320/CAS03`, `DTP(435)` (qualifier), `UM04-1`. Conditions: `PATH`, `not PATH`, `PATH = A|B`, `PATH != A|B`, all must
hold. A balance's terms carry a sign; elements may be listed as `CAS03+06+09`. Missing numbers count as zero, but a
balance is only looked at when its own element is there and, with `if`, when that path exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

from adapters.x12.wire.faults import Effect
from adapters.x12.wire.tree import Loop, Segment

_PATH = re.compile(
    r"(?P<loops>(?:[0-9]{3,4}[A-Z]{0,2}/)*)(?P<segment>[A-Z][A-Z0-9]{1,2}?)"
    r"(?P<elements>\d\d(?:\+\d\d)*)?(?:-(?P<component>\d+))?(?:\((?P<keys>[A-Z0-9|]+)\))?\Z"
)


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path."""

    loops: tuple[str, ...]
    segment: str
    elements: tuple[int, ...]
    component: int
    keys: tuple[str, ...]
    up: bool = False
    """The first loop is one that encloses the rule's loop."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that does not hold, and where."""

    code: str
    snip: int
    expected: str
    segment: Segment | None = None
    name: str = ""
    loop: str = ""
    element: int = 0
    component: int = 0
    data_element: str = ""
    trigger: Segment | None = None
    effect: Effect | None = None


@cache
def parse_path(text: str) -> Path:
    """Raises ValueError when it is no path. A lone loop name has no segment."""
    if re.fullmatch(r"(?:[0-9]{3,4}[A-Z]{0,2})(?:/[0-9]{3,4}[A-Z]{0,2})*", text):
        return Path(tuple(text.split("/")), "", (), 0, ())
    match = _PATH.match(text)
    if match is None:
        raise ValueError(f"not a path: {text}")
    loops = tuple(part for part in match["loops"].split("/") if part)
    elements = tuple(int(part) for part in match["elements"].split("+")) if match["elements"] else ()
    keys = tuple(match["keys"].split("|")) if match["keys"] else ()
    return Path(loops, match["segment"], elements, int(match["component"] or 0), keys)


Tally = dict[str, Any]
"""Sums and counts that rules carry from loop to loop of one transaction set."""

Condition = Callable[[Loop], bool]


def _loops(loop: Loop, path: Path) -> list[Loop]:
    names, found = path.loops, [loop]
    if path.up:
        above = loop.up(names[0])
        names, found = names[1:], [above] if above is not None else []
    for name in names:
        found = [child for one in found for child in one.items if child.id == name and isinstance(child, Loop)]
    return found


def _segments(loop: Loop, path: Path) -> list[Segment]:
    name, keys = path.segment, path.keys
    found: list[Segment] = []
    for one in _loops(loop, path) if path.loops else (loop,):
        for item in one.items:
            if item.id == name and isinstance(item, Segment) and (not keys or item.get(1, 1) in keys):
                found.append(item)
    return found


def _values(loop: Loop, path: Path) -> list[str]:
    component = path.component
    found = []
    for segment in _segments(loop, path):
        for element in path.elements:
            value = segment.get(element, component)
            if value:
                found.append(value)
    return found


def _present(loop: Loop, path: Path) -> bool:
    if not path.segment:
        gone = len(path.loops) == 1 and path.loops[0] in loop.dropped
        return gone or any(one is not loop for one in _loops(loop, path))
    return bool(_values(loop, path) if path.elements else _segments(loop, path))


def _condition(words: list[str], path: Path) -> Condition:
    if words[0] == "not":
        return lambda loop: not _present(loop, path)
    if len(words) == 1:
        return lambda loop: _present(loop, path)
    wanted = frozenset(words[2].split("|"))
    if words[1] == "=":
        return lambda loop: not wanted.isdisjoint(_values(loop, path))
    return lambda loop: wanted.isdisjoint(_values(loop, path))


ZERO = Decimal(0)


def number(text: str) -> Decimal:
    """A plain decimal; zero when it is none (the element check has said so already). No exponents: they overflow."""
    if len(text) > 30 or not text.replace(".", "", 1).lstrip("-").isdecimal():
        return ZERO
    try:
        return Decimal(text)
    except InvalidOperation:
        return ZERO


@dataclass(frozen=True, slots=True)
class Sum:
    """A signed sum over a path."""

    sign: int
    path: Path

    def of(self, loop: Loop) -> Decimal:
        """Its value in a loop."""
        total = ZERO
        for value in _values(loop, self.path):
            total += number(value)
        return total if self.sign > 0 else -total


class Rule:
    """One rule of a guide, made ready once."""

    __slots__ = ("ancestors", "checks", "conditions", "effect", "source", "triggers")

    def __init__(self, source: dict[str, Any], ancestors: frozenset[str] = frozenset()) -> None:
        self.source = source
        self.ancestors = ancestors
        conditions = [text.split() for text in source.get("when", ())]
        self.conditions = [_condition(words, self._path(words[words[0] == "not"])) for words in conditions]
        self.triggers = [self._path(words[0]) for words in conditions if words[0] != "not"]
        self.effect: Effect | None = "report" if source.get("report") else None
        makers = {
            "need": self._need, "never": self._never, "balance": self._balance, "tally": self._tally,
            "count": self._count, "positive": self._positive,
        }  # fmt: skip
        self.checks = [
            maker(text)
            for name, maker in makers.items()
            for text in (source[name] if isinstance(source.get(name), list) else [source.get(name)])
            if text is not None
        ]

    def _path(self, text: str) -> Path:
        path = parse_path(text)
        return replace(path, up=True) if path.loops and path.loops[0] in self.ancestors else path

    def _sums(self, terms: list[str]) -> list[Sum]:
        return [Sum(-1 if term.startswith("-") else 1, self._path(term.lstrip("+-"))) for term in terms]

    def paths(self) -> list[Path]:
        """Every path it looks at."""
        texts = [text.split()[text.startswith("not ")] for text in self.source.get("when", ())]
        for name in ("need", "never", "balance", "count", "positive"):
            value = self.source.get(name, ())
            texts += [value] if isinstance(value, str) else value
        texts += [term.lstrip("+-") for name in ("equals", "of") for term in self.source.get(name, ())]
        return [self._path(text) for text in texts]

    def findings(self, loop: Loop, tally: Tally) -> Sequence[Finding]:
        """Where it does not hold in one loop."""
        for condition in self.conditions:
            if not condition(loop):
                return ()
        if len(self.checks) == 1:
            return self.checks[0](loop, tally)
        return [finding for check in self.checks for finding in check(loop, tally)]

    def _trigger(self, loop: Loop) -> Segment | None:
        return next((segment for path in self.triggers for segment in _segments(loop, path)), None)

    def _need(self, text: str) -> Check:
        path = self._path(text)

        def check(loop: Loop, _: Tally) -> Sequence[Finding]:
            if not _present(loop, path):
                return (self._wanted(loop, text, path, ("I9", "I6"), "needed here"),)
            return ()

        return check

    def _never(self, text: str) -> Check:
        path = self._path(text)

        def check(loop: Loop, _: Tally) -> Sequence[Finding]:
            if _present(loop, path):
                return (self._wanted(loop, text, path, ("I13", "I9"), "not allowed here"),)
            return ()

        return check

    def _wanted(self, loop: Loop, text: str, path: Path, codes: tuple[str, str], words: str) -> Finding:
        segment = next(iter(_segments(loop, path)), None) if path.segment else None
        if segment is None and path.elements:
            segment = next(iter(_segments(loop, replace(path, keys=()))), None)
        trigger = self._trigger(loop)
        if path.elements and segment is not None:
            return Finding(
                codes[0], 4, words, segment, "", "", path.elements[0], path.component, trigger=trigger,
                effect=self.effect,
            )  # fmt: skip
        loops = path.loops[-1] if path.loops else ""
        return Finding(
            codes[1], 4, f"{text} {words}", segment or trigger, path.segment, loops, trigger=trigger, effect=self.effect
        )

    def _balance(self, text: str) -> Check:
        path, element = self._path(text), self._path(text).elements[0]
        terms = self._sums(self.source["equals"])
        tallies = self.source.get("tallies", ())
        words = "the balance of " + " ".join([*self.source["equals"], *tallies])

        def check(loop: Loop, tally: Tally) -> Sequence[Finding]:
            segment = next(iter(_segments(loop, path)), None)
            value = segment.get(element, path.component) if segment is not None else ""
            if not value:
                return ()
            wanted = sum((term.of(loop) for term in terms), ZERO)
            for name in tallies:
                wanted += tally.pop(name, ZERO)
            if number(value) != wanted:
                return (Finding("I12", 3, words, segment, "", "", element, path.component, "782", effect=self.effect),)
            return ()

        return check

    def _tally(self, name: str) -> Check:
        terms = self._sums(self.source["of"])

        def check(loop: Loop, tally: Tally) -> Sequence[Finding]:
            tally[name] = tally.get(name, ZERO) + sum((term.of(loop) for term in terms), ZERO)
            return ()

        return check

    def _count(self, text: str) -> Check:
        """Numbers from 1 within the parent: the tally remembers the parent and how far it came."""
        path = self._path(text)
        key = f"count {text}"

        def check(loop: Loop, tally: Tally) -> Sequence[Finding]:
            parent, last = tally.get(key, (None, 0))
            last = last + 1 if parent is loop.parent else 1
            tally[key] = (loop.parent, last)
            segment = next(iter(_segments(loop, path)), None)
            value = segment.get(path.elements[0]) if segment is not None else ""
            if value and value.lstrip("0") != str(last):
                return (Finding("7", 1, "the next number from 1", segment, "", "", path.elements[0], 0, "554"),)
            return ()

        return check

    def _positive(self, text: str) -> Check:
        path = self._path(text)

        def check(loop: Loop, _: Tally) -> Sequence[Finding]:
            return [
                Finding("I12", 4, "not below zero", segment, "", "", path.elements[0], 0, "782")
                for segment in _segments(loop, path)
                if segment.get(path.elements[0]).startswith("-")
            ]

        return check


Check = Callable[[Loop, Tally], Sequence[Finding]]
