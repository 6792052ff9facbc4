"""A guide made ready for one set of separators: a pattern per segment node (fast) and a check that names faults (slow).

The pattern accepts only what is certainly good; whatever it does not accept goes through `faults`, which decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from adapters.x12.wire.dictionary import dictionary
from adapters.x12.wire.elements import PERIODS, is_npi, period_fault, value_fault, value_pattern
from adapters.x12.wire.guide import NOT_USED, ElementUse, Guide, SegmentNode
from adapters.x12.wire.splitter import Separators

CodeSets = Mapping[str, frozenset[str]]
"""Licensed or external code lists by name, from configuration."""

BINARY = {"BIN": 2, "BDS": 3}


@dataclass(frozen=True, slots=True)
class Flaw:
    """An element fault before it has a place."""

    code: str
    element: int
    component: int = 0
    repetition: int = 0
    data_element: str = ""
    expected: str = ""
    snip: int = 1
    value: str = field(default="", repr=False)


class Program:
    """A guide compiled for separators, a character set and external code sets."""

    def __init__(self, guide: Guide, separators: Separators, character_set: str, external: CodeSets) -> None:
        self.guide = guide
        self.separators = separators
        self.external = external
        marks = {separators.element, separators.component, separators.repetition, separators.segment} - {""}
        high = r"\x7f" if character_set == "utf8" else r"\x7f-\xff"
        self.letters = "[^\\x00-\\x1f" + high + "".join(sorted(re.escape(mark) for mark in marks)) + "]"
        self.bad_letter = re.compile(r"[\x00-\x1f" + high + "]")
        self.patterns: list[re.Pattern[str] | None] = [None] * len(guide.nodes)
        self.extras = [self._extras_at(node) for node in guide.nodes]
        """Per node what a text must hold for a look beyond its pattern; None: there is nothing to look for."""

    def flaws(self, node: SegmentNode, text: str) -> tuple[Flaw, ...]:
        """Everything wrong inside one segment."""
        pattern = self.patterns[node.number]
        if pattern is None:
            pattern = self.patterns[node.number] = re.compile(self._pattern(node))
        if pattern.fullmatch(text):
            mark = self.extras[node.number]
            if mark is None or mark not in text:
                return ()
            return tuple(self._extra(node, text.split(self.separators.element)))
        fields = text.split(self.separators.element, BINARY.get(node.id, -1))
        return (*self._elements(node, fields), *self._extra(node, fields))

    # -- the fast way -------------------------------------------------------------------------------------------

    def _pattern(self, node: SegmentNode) -> str:
        if node.id in BINARY:
            return r"(?!)"
        return node.id + self._sequence(node.elements, re.escape(self.separators.element))

    def _sequence(self, uses: tuple[ElementUse, ...], mark: str) -> str:
        tail, needed = "", False
        at = len(uses)
        while at > 0:
            at -= 1
            use = uses[at]
            if use.number == "1251" and at > 0 and uses[at - 1].number == "1250" and use.usage != "-":
                at -= 1
                use = uses[at]
                body = self._period(use, mark)
                optional = f"(?:{body}|{mark})"
            else:
                body = self._value(use)
                optional = f"(?:{body})?" if body else ""
            if use.usage == "R":
                tail, needed = f"{mark}{body}{tail}", True
            elif needed:
                tail = f"{mark}{optional}{tail}"
            else:
                tail = f"(?:{mark}{optional}{tail})?"
        return tail

    def _period(self, qualifier: ElementUse, mark: str) -> str:
        codes = sorted(qualifier.codes or PERIODS)
        return "(?:" + "|".join(f"{code}{mark}{PERIODS[code]}" for code in codes if code in PERIODS) + "|(?!))"

    def _value(self, use: ElementUse) -> str:
        if use.usage == "-":
            return ""
        if use.components:
            mark = re.escape(self.separators.component)
            body = self._sequence(use.components, mark)
            # the first component has no separator before it
            body = body.removeprefix(mark) if body.startswith(mark) else body.replace(mark, "", 1)
        elif use.codes is not None:
            body = "(?:" + "|".join(re.escape(code) for code in sorted(use.codes, key=len, reverse=True)) + ")"
        elif use.data is not None and use.number != "1251":
            body = value_pattern(use.data, self.letters)
        else:
            body = r"(?!)"
        if use.repeat > 1 and self.separators.repetition:
            again = "*" if use.repeat > 99 else f"{{0,{use.repeat - 1}}}"
            body = f"(?:{body})(?:{re.escape(self.separators.repetition)}(?:{body})){again}"
        return body

    # -- the slow way -------------------------------------------------------------------------------------------

    def _elements(self, node: SegmentNode, fields: list[str]) -> Iterator[Flaw]:
        count = len(fields) - 1
        for at in range(1, max(count, len(node.elements)) + 1):
            use = node.elements[at - 1] if at <= len(node.elements) else NOT_USED
            value = fields[at] if at <= count else ""
            if at > node.defined:
                if value:
                    yield Flaw("3", at, expected=f"at most {node.defined} elements")
                    return
            elif not value.strip(" ") and use.usage == "R":
                yield Flaw("1", at, data_element=_number(use), expected=_wanted(use))
            elif value and use.usage == "-":
                yield Flaw("I10", at, data_element=_number(use), snip=2, value=value)
            elif value:
                qualifier = fields[at - 1] if at > 1 else ""
                yield from self._repetitions(use, at, value, qualifier, binary=node.id in BINARY)

    def _repetitions(self, use: ElementUse, at: int, value: str, qualifier: str, *, binary: bool) -> Iterator[Flaw]:
        mark = self.separators.repetition
        if binary or not mark or mark not in value:
            yield from self._single(use, at, 0, value, qualifier, binary=binary)
            return
        parts = value.split(mark)
        if len(parts) > use.repeat:
            yield Flaw("12", at, 0, use.repeat + 1, _number(use), f"at most {use.repeat}", value=value)
            return
        for number, part in enumerate(parts, 1):
            yield from self._single(use, at, number, part, qualifier, binary=False)

    def _single(
        self, use: ElementUse, at: int, repetition: int, value: str, qualifier: str, *, binary: bool
    ) -> Iterator[Flaw]:
        mark = self.separators.component
        if not use.components:
            if mark in value and not binary:
                yield Flaw("13", at, 0, repetition, _number(use), "a single value", value=value)
            else:
                yield from self._simple(use, at, 0, repetition, value, qualifier)
            return
        parts = value.split(mark)
        known = len(dictionary().composites[use.number])
        for extra in range(len(use.components) + 1, len(parts) + 1):
            if parts[extra - 1]:
                code, snip = ("I10", 2) if extra <= known else ("13", 1)
                yield Flaw(code, at, extra, repetition, "", f"at most {len(use.components)} components", snip)
                break
        for number, component in enumerate(use.components, 1):
            part = parts[number - 1] if number <= len(parts) else ""
            if not part:
                if component.usage == "R":
                    yield Flaw("1", at, number, repetition, _number(component), _wanted(component))
            elif component.usage == "-":
                yield Flaw("I10", at, number, repetition, _number(component), snip=2, value=part)
            else:
                before = parts[number - 2] if number > 1 else ""
                yield from self._simple(component, at, number, repetition, part, before)

    def _simple(
        self, use: ElementUse, at: int, component: int, repetition: int, value: str, qualifier: str
    ) -> Iterator[Flaw]:
        data = use.data
        if data is None:
            return
        if use.codes is not None:
            if value not in use.codes:
                code = "6" if self.bad_letter.search(value) else "7"
                yield Flaw(code, at, component, repetition, use.number, _wanted(use), 2, value)
            return
        code, wanted = value_fault(data, value, self.bad_letter)
        if not code and use.number == "1251":
            code, wanted = period_fault(qualifier, value)
        if code:
            yield Flaw(code, at, component, repetition, use.number, wanted, 2 if code == "I12" else 1, value)

    # -- between elements, and codes ------------------------------------------------------------------------------

    def _extras_at(self, node: SegmentNode) -> str | None:
        uses = [use for element in node.elements for use in (element, *element.components)]
        if node.notes or node.id in BINARY or any(use.external in self.external for use in uses if use.external):
            return ""
        mark = self.separators.element
        return f"{mark}XX{mark}" if node.id == "NM1" else None

    def _extra(self, node: SegmentNode, fields: list[str]) -> Iterator[Flaw]:
        for note in node.notes:
            present = [at for at in note.positions if at < len(fields) and fields[at]]
            yield from _broken(note.kind, note.positions, present, node)
        if node.id == "NM1" and len(fields) > 9 and fields[8] == "XX" and fields[9] and not is_npi(fields[9]):
            yield Flaw(
                "7", 9, data_element="67", expected="an identifier with a valid check digit", snip=7, value=fields[9]
            )
        if node.id in BINARY and len(fields) > BINARY[node.id]:
            data, count = fields[BINARY[node.id]], fields[BINARY[node.id] - 1]
            if count.isdecimal() and count.lstrip("0") != (str(len(data)) if data else ""):
                yield Flaw("I12", BINARY[node.id] - 1, data_element="784", expected="the number of bytes that follow")
        if self.external:
            yield from self._external(node, fields)

    def _external(self, node: SegmentNode, fields: list[str]) -> Iterator[Flaw]:
        for at, element in enumerate(node.elements[: len(fields) - 1], 1):
            for number, use in enumerate(element.components or (element,), 1):
                known = self.external.get(use.external)
                if not use.external or known is None:
                    continue
                component = number if element.components else 0
                for repetition in fields[at].split(self.separators.repetition or "\0"):
                    parts = repetition.split(self.separators.component)
                    value = parts[number - 1] if number <= len(parts) else ""
                    if value and value not in known:
                        wanted = f"a code of {use.external}"
                        yield Flaw("7", at, component, 0, use.number, wanted, 5, value)


def _broken(kind: str, positions: tuple[int, ...], present: list[int], node: SegmentNode) -> Iterator[Flaw]:
    """A syntax note that does not hold."""
    missing = [at for at in positions if at not in present]
    first = positions[0]
    if kind == "P" and present and missing:
        yield Flaw("2", missing[0], data_element=_number_at(node, missing[0]), expected=f"with element {present[0]}")
    elif kind == "R" and not present:
        yield Flaw("2", first, data_element=_number_at(node, first), expected="one of its companions")
    elif kind == "E" and len(present) > 1:
        yield Flaw("10", present[1], data_element=_number_at(node, present[1]), expected=f"not with {present[0]}")
    elif kind == "C" and first in present and missing:
        yield Flaw("2", missing[0], data_element=_number_at(node, missing[0]), expected=f"with element {first}")
    elif kind == "L" and first in present and len(present) == 1:
        yield Flaw("2", positions[1], data_element=_number_at(node, positions[1]), expected=f"with element {first}")


def _number_at(node: SegmentNode, at: int) -> str:
    return _number(node.elements[at - 1]) if at <= len(node.elements) else ""


def _number(use: ElementUse) -> str:
    return use.number if use.number.isdecimal() or use.number[:1] != "C" else ""


def _wanted(use: ElementUse) -> str:
    if use.codes:
        codes = sorted(use.codes)
        return "one of " + ", ".join(codes[:12]) + (" …" if len(codes) > 12 else "")
    if use.data:
        return f"{use.data.shortest} to {use.data.longest} characters"
    return "a composite"


@lru_cache(maxsize=64)
def program(guide: Guide, separators: Separators, character_set: str = "extended") -> Program:
    """The program without external code sets; cached, because messages of one partner share it."""
    return Program(guide, separators, character_set, {})
