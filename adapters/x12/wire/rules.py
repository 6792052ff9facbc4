"""Rules between segments, as data in the guides: situations (SNIP 4) and balances (SNIP 3, Decimal).

    - {in: 2300, balance: CLM02, equals: [+2400/SV102]}
    - {in: 2000B, when: [SBR02 = 18], never: 2000C, need: [2010BA/N3, 2010BA/DMG]}
    - {in: 2300, when: [2000B/SBR01 = P], need: HI}
    - {in: 2400, count: LX01}                                   numbers from 1 within the enclosing loop

Paths are those of paths.py. Conditions: `PATH`, `not PATH`, `PATH = A|B`, `PATH != A|B`, all must hold. A balance's
terms carry a sign. Missing numbers count as zero, but a balance is only looked at when its own element is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from adapters.x12.wire.faults import Effect
from adapters.x12.wire.paths import Path, first_of, matching, parse_path, presence_of, segments_of, values_of
from adapters.x12.wire.tree import Loop, Segment


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


Tally = dict[str, Any]
"""Sums and counts that rules carry from loop to loop of one transaction set."""

Condition = Callable[[Loop], bool]
Check = Callable[[Loop, Tally], Sequence[Finding]]


def _condition(words: list[str], path: Path) -> Condition:
    if words[0] == "not":
        absent = presence_of(path)
        return lambda loop: not absent(loop)
    if len(words) == 1:
        return presence_of(path)
    found = matching(path, frozenset(words[2].split("|")))
    return found if words[1] == "=" else lambda loop: not found(loop)


ZERO = Decimal(0)


def number(text: str) -> Decimal:
    """A plain decimal; zero when it is none (the element check has said so already). No exponents: they overflow."""
    if text.isdecimal() and len(text) <= 30:
        return Decimal(text)
    if len(text) > 30 or not text.replace(".", "", 1).lstrip("-").isdecimal():
        return ZERO
    try:
        return Decimal(text)
    except InvalidOperation:
        return ZERO


Term = tuple[int, Callable[[Loop], list[str]]]
"""A sign, and what to add or take away."""


def _sum(terms: list[Term]) -> Callable[[Loop], Decimal]:
    """A signed sum over paths."""

    def total(loop: Loop) -> Decimal:
        found = ZERO
        for sign, values in terms:
            for value in values(loop):
                found = found + number(value) if sign > 0 else found - number(value)
        return found

    return total


class Rule:
    """One rule of a guide, made ready once."""

    __slots__ = ("ancestors", "effect", "findings", "source", "triggers")

    findings: Check
    """Where it does not hold in one loop."""

    def __init__(self, source: dict[str, Any], ancestors: frozenset[str] = frozenset()) -> None:
        self.source = source
        self.ancestors = ancestors
        conditions = [text.split() for text in source.get("when", ())]
        self.triggers = [segments_of(self._path(words[0])) for words in conditions if words[0] != "not"]
        self.effect: Effect | None = "report" if source.get("report") else None
        makers = {
            "need": self._need, "never": self._never, "balance": self._balance, "tally": self._tally,
            "count": self._count, "positive": self._positive,
        }  # fmt: skip
        checks = [
            maker(text)
            for name, maker in makers.items()
            for text in (source[name] if isinstance(source.get(name), list) else [source.get(name)])
            if text is not None
        ]
        self.findings = _checked(
            [_condition(words, self._path(words[words[0] == "not"])) for words in conditions], checks
        )

    def _path(self, text: str) -> Path:
        path = parse_path(text)
        return replace(path, up=True) if path.loops and path.loops[0] in self.ancestors else path

    def _sum(self, terms: list[str]) -> Callable[[Loop], Decimal]:
        return _sum([(-1 if term.startswith("-") else 1, values_of(self._path(term.lstrip("+-")))) for term in terms])

    def paths(self) -> list[Path]:
        """Every path it looks at."""
        texts = [text.split()[text.startswith("not ")] for text in self.source.get("when", ())]
        for name in ("need", "never", "balance", "count", "positive"):
            value = self.source.get(name, ())
            texts += [value] if isinstance(value, str) else value
        texts += [term.lstrip("+-") for name in ("equals", "of") for term in self.source.get(name, ())]
        return [self._path(text) for text in texts]

    def _trigger(self, loop: Loop) -> Segment | None:
        return next((segment for read in self.triggers for segment in read(loop)), None)

    def _need(self, text: str) -> Check:
        path = self._path(text)
        present = presence_of(path)

        def check(loop: Loop, _: Tally) -> Sequence[Finding]:
            return () if present(loop) else (self._wanted(loop, text, path, ("I9", "I6"), "needed here"),)

        return check

    def _never(self, text: str) -> Check:
        path = self._path(text)
        present = presence_of(path)

        def check(loop: Loop, _: Tally) -> Sequence[Finding]:
            return (self._wanted(loop, text, path, ("I13", "I9"), "not allowed here"),) if present(loop) else ()

        return check

    def _wanted(self, loop: Loop, text: str, path: Path, codes: tuple[str, str], words: str) -> Finding:
        segment = first_of(path)(loop) if path.segment else None
        if segment is None and path.elements:
            segment = first_of(replace(path, keys=()))(loop)
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
        path = self._path(text)
        first, element, component = first_of(path), path.elements[0], path.component
        total = self._sum(self.source["equals"])
        tallies = self.source.get("tallies", ())
        words = "the balance of " + " ".join([*self.source["equals"], *tallies])

        def check(loop: Loop, tally: Tally) -> Sequence[Finding]:
            segment = first(loop)
            value = segment.get(element, component) if segment is not None else ""
            if not value:
                return ()
            wanted = total(loop)
            for name in tallies:
                wanted += tally.pop(name, ZERO)
            if number(value) != wanted:
                return (Finding("I12", 3, words, segment, "", "", element, component, "782", effect=self.effect),)
            return ()

        return check

    def _tally(self, name: str) -> Check:
        total = self._sum(self.source["of"])

        def check(loop: Loop, tally: Tally) -> Sequence[Finding]:
            tally[name] = tally.get(name, ZERO) + total(loop)
            return ()

        return check

    def _count(self, text: str) -> Check:
        """Numbers from 1 within the parent: the tally remembers the parent and how far it came."""
        path = self._path(text)
        first, element, key = first_of(path), path.elements[0], f"count {text}"

        def check(loop: Loop, tally: Tally) -> Sequence[Finding]:
            parent, last = tally.get(key, (None, 0))
            last = last + 1 if parent is loop.parent else 1
            tally[key] = (loop.parent, last)
            segment = first(loop)
            value = segment.get(element) if segment is not None else ""
            if value and value.lstrip("0") != str(last):
                return (Finding("7", 1, "the next number from 1", segment, "", "", element, 0, "554"),)
            return ()

        return check

    def _positive(self, text: str) -> Check:
        path = self._path(text)
        read, element = segments_of(path), path.elements[0]

        def check(loop: Loop, _: Tally) -> Sequence[Finding]:
            below = [segment for segment in read(loop) if segment.get(element)[:1] == "-"]
            return [Finding("I12", 4, "not below zero", one, "", "", element, 0, "782") for one in below]

        return check


def _checked(conditions: list[Condition], checks: list[Check]) -> Check:
    """All checks, where all conditions hold."""
    if len(checks) == 1 and not conditions:
        return checks[0]

    def findings(loop: Loop, tally: Tally) -> Sequence[Finding]:
        for holds in conditions:
            if not holds(loop):
                return ()
        return [finding for check in checks for finding in check(loop, tally)]

    return findings
