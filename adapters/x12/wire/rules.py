"""Rules between segments, as data in the guides: situations (SNIP 4) and balances (SNIP 3, Decimal).

    - {in: 2300, balance: CLM02, equals: [+2400/SV102]}
    - {in: 2000B, when: [SBR02 = 18], never: 2000C}
    - {in: 2300, when: [2000B/SBR01 = P], need: HI}
    - {in: 2400, count: LX01}                                   numbers from 1 within the enclosing loop

A path is loops down from the rule's loop (or up, by the name of an enclosing loop), then segment, element, component:
`2320/CAS03`, `DTP(435)` (qualifier), `UM04-1`. Conditions: `PATH`, `not PATH`, `PATH = A|B`, `PATH != A|B`, all must
hold. A balance's terms carry a sign; elements may be listed as `CAS03+06+09`. Missing numbers count as zero, but a
balance is only looked at when its own element is there and, with `if`, when that path exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
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


def _loops(loop: Loop, path: Path) -> list[Loop]:
    found = [loop]
    for at, name in enumerate(path.loops):
        above = loop.up(name) if at == 0 else None
        found = [above] if above is not None else [child for one in found for child in one.loops(name)]
    return found


def _segments(loop: Loop, path: Path) -> Iterator[Segment]:
    for one in _loops(loop, path):
        yield from one.segments(path.segment, *path.keys)


def _values(loop: Loop, path: Path) -> Iterator[str]:
    for segment in _segments(loop, path):
        for element in path.elements:
            value = segment.get(element, path.component)
            if value:
                yield value


def _present(loop: Loop, path: Path) -> bool:
    if not path.segment:
        gone = len(path.loops) == 1 and path.loops[0] in loop.dropped
        return gone or any(one is not loop for one in _loops(loop, path))
    if path.elements:
        return any(True for _ in _values(loop, path))
    return any(True for _ in _segments(loop, path))


def _holds(loop: Loop, condition: str) -> bool:
    words = condition.split()
    if words[0] == "not":
        return not _present(loop, parse_path(words[1]))
    path = parse_path(words[0])
    if len(words) == 1:
        return _present(loop, path)
    wanted = set(words[2].split("|"))
    found = list(_values(loop, path))
    return any(value in wanted for value in found) if words[1] == "=" else not any(value in wanted for value in found)


def number(text: str) -> Decimal:
    """A decimal; zero when it is none (the element check has said so already)."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return Decimal(0)
    return value if value.is_finite() else Decimal(0)


def total(loop: Loop, term: str) -> Decimal:
    """The signed sum of a term."""
    sign, path = (-1, term[1:]) if term.startswith("-") else (1, term.lstrip("+"))
    return sign * sum((number(value) for value in _values(loop, parse_path(path))), Decimal(0))


def findings(rule: dict[str, Any], loop: Loop, tally: dict[str, Any]) -> Iterator[Finding]:
    """Where one rule does not hold in one loop."""
    conditions = rule.get("when", ())
    if not all(_holds(loop, condition) for condition in conditions):
        return
    effect: Effect | None = "report" if rule.get("report") else None
    trigger = _trigger(loop, conditions)
    if "need" in rule and not _present(loop, parse_path(rule["need"])):
        yield _wanted(loop, rule["need"], "I9", "I6", "needed here", trigger, effect)
    if "never" in rule and _present(loop, parse_path(rule["never"])):
        yield _wanted(loop, rule["never"], "I13", "I9", "not allowed here", trigger, effect)
    if "balance" in rule:
        yield from _balance(rule, loop, tally)
    if "tally" in rule:
        tally[rule["tally"]] = tally.get(rule["tally"], Decimal(0)) + sum(
            (total(loop, term) for term in rule["of"]), Decimal(0)
        )
    if "count" in rule:
        yield from _count(rule["count"], loop, tally)
    if "positive" in rule:
        path = parse_path(rule["positive"])
        for segment in _segments(loop, path):
            if segment.get(path.elements[0]).startswith("-"):
                yield Finding("I12", 4, "not below zero", segment, "", "", path.elements[0], 0, "782", None, effect)


def _trigger(loop: Loop, conditions: Any) -> Segment | None:
    for condition in conditions:
        words = condition.split()
        if words[0] != "not":
            segment = next(_segments(loop, parse_path(words[0])), None)
            if segment is not None:
                return segment
    return None


def _wanted(
    loop: Loop, text: str, element_code: str, segment_code: str, words: str, trigger: Segment | None,
    effect: Effect | None,
) -> Finding:  # fmt: skip
    path = parse_path(text)
    segment = next(_segments(loop, path), None) if path.segment else None
    if path.elements and segment is not None:
        return Finding(
            element_code, 4, words, segment, "", "", path.elements[0], path.component, trigger=trigger, effect=effect
        )
    name = path.segment or path.loops[-1]
    return Finding(
        segment_code, 4, f"{text} {words}", segment or trigger, name if path.segment else "",
        path.loops[-1] if path.loops else "", trigger=trigger, effect=effect,
    )  # fmt: skip


def _balance(rule: dict[str, Any], loop: Loop, tally: dict[str, Any]) -> Iterator[Finding]:
    path = parse_path(rule["balance"])
    segment = next(_segments(loop, path), None)
    if segment is None or not segment.get(path.elements[0], path.component):
        return
    if "if" in rule and not _present(loop, parse_path(rule["if"])):
        return
    wanted = sum((total(loop, term) for term in rule["equals"]), Decimal(0))
    for name in rule.get("tallies", ()):
        wanted += tally.pop(name, Decimal(0))
    if number(segment.get(path.elements[0], path.component)) != wanted:
        words = "the balance of " + " ".join([*rule["equals"], *rule.get("tallies", ())])
        yield Finding("I12", 3, words, segment, "", "", path.elements[0], path.component, "782")


def _count(text: str, loop: Loop, tally: dict[str, Any]) -> Iterator[Finding]:
    """Numbers from 1 within the parent: the tally remembers the parent and how far it came."""
    path = parse_path(text)
    segment = next(_segments(loop, path), None)
    if segment is None:
        return
    key = f"count {loop.id}"
    parent, last = tally.get(key, (None, 0))
    last = last + 1 if parent is loop.parent else 1
    tally[key] = (loop.parent, last)
    value = segment.get(path.elements[0])
    if value and value.lstrip("0") != str(last):
        yield Finding("7", 1, "the next number from 1", segment, "", "", path.elements[0], 0, "554")
