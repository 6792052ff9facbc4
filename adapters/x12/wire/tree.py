"""The typed tree: loops and segments as a guide names them. Read by mappings, built by mappings.

claim.get("CLM", 2)                       value of an element, "" when absent
event.get("UM", 4, 1)                     component
event.segment("REF", "BB")                first REF whose first element is BB, or None
for service in event.loops("2000F"): …    child loops in order
service.up("2000C")                       the nearest enclosing loop of that name
tree.descendants("2000F")                 at any depth

event = patient.add_loop("2000E")
event.add("UM", "SC", "I", "3", ("11", "B"))     a tuple is a composite, a list repeats
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from adapters.x12.wire.splitter import Separators

Value = str | Sequence[str] | Sequence[Sequence[str]]

_BINARY = {"BIN": 2, "BDS": 3}
_INTERNAL = Separators("\x1d", "\x1f", "\x1e", "\x1c")
"""Separators of segments that are built, not read: characters no value may hold."""


class Segment:
    """One segment: its text and where it stands. Elements count from 1, as in the guides."""

    __slots__ = ("_fields", "id", "position", "separators", "text")

    def __init__(self, text: str, separators: Separators, position: int = 0, name: str = "") -> None:
        self.text = text
        self.id = name or text.split(separators.element, 1)[0]
        """Identifier, e.g. `NM1`."""
        self.separators = separators
        self.position = position
        """Position in the transaction set, ST = 1."""
        self._fields: list[str] | None = None

    @classmethod
    def build(cls, name: str, *values: Value) -> Segment:
        """A segment from values: str, tuple for a composite, list for repetitions."""
        parts = [name, *(_join(value) for value in values)]
        while len(parts) > 1 and not parts[-1]:
            parts.pop()
        return cls(_INTERNAL.element.join(parts), _INTERNAL)

    @property
    def fields(self) -> list[str]:
        """Identifier and raw elements (composites and repetitions still joined)."""
        if self._fields is None:
            self._fields = self.text.split(self.separators.element, _BINARY.get(self.id, -1))
        return self._fields

    def get(self, element: int, component: int = 0, repetition: int = 1) -> str:
        """A value, "" when absent. Component 0 is the whole element (its first component when it is a composite)."""
        fields = self._fields
        if fields is None:
            fields = self.fields
        value = fields[element] if element < len(fields) else ""
        if component < 2 and repetition == 1 and (not value or (value.isalnum() and value.isascii())):
            return value  # most are: no separator is a letter or a digit
        repetitions = self.repetitions(element)
        if len(repetitions) < repetition:
            return ""
        value = repetitions[repetition - 1]
        if self.text[:3] in _BINARY:
            return value
        parts = value.split(self.separators.component)
        at = (component or 1) - 1
        return decoded(parts[at]) if at < len(parts) else ""

    def repetitions(self, element: int) -> list[str]:
        """The raw repetitions of an element."""
        if len(self.fields) <= element or not self.fields[element]:
            return []
        value = self.fields[element]
        mark = self.separators.repetition
        return value.split(mark) if mark and self.text[:3] not in _BINARY else [value]

    def values(self, element: int, component: int = 0) -> list[str]:
        """One component of every repetition."""
        return [self.get(element, component, at + 1) for at in range(len(self.repetitions(element)))]

    def components(self, element: int, repetition: int = 1) -> list[str]:
        """All components of one repetition."""
        repetitions = self.repetitions(element)
        if len(repetitions) < repetition:
            return []
        return [decoded(part) for part in repetitions[repetition - 1].split(self.separators.component)]

    def binary(self) -> bytes:
        """The data of a BIN or BDS."""
        return self.fields[-1].encode("latin-1") if self.text[:3] in _BINARY else b""

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Every populated leaf: (`UM04-1` or `NM109` or `DMG05(2)-1`, value)."""
        for element in range(1, len(self.fields)):
            repetitions = self.repetitions(element)
            for number, raw in enumerate(repetitions, 1):
                path = f"{self.id}{element:02d}" + (f"({number})" if len(repetitions) > 1 else "")
                parts = [raw] if self.text[:3] in _BINARY else raw.split(self.separators.component)
                for at, part in enumerate(parts, 1):
                    if part:
                        yield (f"{path}-{at}" if len(parts) > 1 else path), decoded(part)

    def rendered(self, separators: Separators) -> str:
        """The text with other separators. Trailing empty elements and components go."""
        if self.separators == separators:
            return self.text
        if self.text[:3] in _BINARY:
            return separators.element.join(self.fields)
        own = self.separators
        table = {ord(own.element): separators.element, ord(own.component): separators.component}
        if own.repetition:
            table[ord(own.repetition)] = separators.repetition
        return self.text.translate(table)

    def __repr__(self) -> str:
        return f"Segment({self.text[:3]!r} at {self.position})"


def _join(value: Value) -> str:
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, tuple):
        parts = [_plain(str(part)) for part in value]
        while parts and not parts[-1]:
            parts.pop()
        return _INTERNAL.component.join(parts)
    return _INTERNAL.repetition.join(_join(item) for item in value)


def _plain(value: str) -> str:
    return value.encode("utf-8").decode("latin-1") if not value.isascii() else value


def decoded(value: str) -> str:
    """A value as characters: UTF-8 where it is that, else Latin-1."""
    if value.isascii():
        return value
    raw = value.encode("latin-1")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return value


class Loop:
    """One instance of a loop; the root is the transaction set. `items` keeps segments and loops in order."""

    __slots__ = ("dropped", "id", "items", "parent")

    def __init__(self, id: str, parent: Loop | None = None) -> None:
        self.id = id
        self.parent = parent
        self.items: list[Segment | Loop] = []
        self.dropped: frozenset[str] = frozenset()
        """Names of child loops that were handed out and let go (reading in constant memory)."""

    def segments(self, name: str = "", *qualifiers: str) -> Iterator[Segment]:
        """Own segments, by identifier and the value of element 1 (its first component)."""
        for item in self.items:
            if isinstance(item, Segment) and (not name or item.id == name):
                if qualifiers and item.get(1, 1) not in qualifiers:
                    continue
                yield item

    def segment(self, name: str, *qualifiers: str) -> Segment | None:
        """The first of `segments`."""
        return next(self.segments(name, *qualifiers), None)

    first = segment

    def get(self, name: str, element: int, component: int = 0, repetition: int = 1) -> str:
        """A value of the first segment of that name, "" when absent."""
        segment = self.segment(name)
        return segment.get(element, component, repetition) if segment else ""

    def loops(self, name: str = "") -> Iterator[Loop]:
        """Child loops, in order."""
        for item in self.items:
            if isinstance(item, Loop) and (not name or item.id == name):
                yield item

    def loop(self, name: str, *qualifiers: str) -> Loop | None:
        """The first child loop of that name (whose first segment has one of the qualifiers)."""
        for child in self.loops(name):
            head = next(child.segments(), None)
            if not qualifiers or (head is not None and head.get(1, 1) in qualifiers):
                return child
        return None

    def descendants(self, name: str) -> Iterator[Loop]:
        """Loops of that name at any depth, in order."""
        for child in self.loops():
            if child.id == name:
                yield child
            yield from child.descendants(name)

    def up(self, name: str) -> Loop | None:
        """The nearest enclosing loop of that name."""
        loop: Loop | None = self
        while loop is not None and loop.id != name:
            loop = loop.parent
        return loop

    def walk(self) -> Iterator[tuple[Loop, Segment]]:
        """Every segment with its loop, in document order."""
        for item in self.items:
            if isinstance(item, Segment):
                yield self, item
            else:
                yield from item.walk()

    def add(self, name: str, *values: Value) -> Segment:
        """Append a segment: `add("UM", "SC", "I", "3", ("11", "B"))`. HL takes its level only: `add("HL", "20")`."""
        segment = (
            Segment.build(name, "", "", *values) if name == "HL" and len(values) == 1 else Segment.build(name, *values)
        )
        self.items.append(segment)
        return segment

    def add_binary(self, name: str, data: bytes, encoding: str = "") -> Segment:
        """Append a BIN, or a BDS with its filter code (`B64`, `ASC`)."""
        text = data.decode("latin-1")
        head = [name, encoding, str(len(data))] if name == "BDS" else [name, str(len(data))]
        segment = Segment(_INTERNAL.element.join([*head, text]), _INTERNAL)
        self.items.append(segment)
        return segment

    def add_loop(self, name: str) -> Loop:
        """Append a child loop and return it."""
        child = Loop(name, self)
        self.items.append(child)
        return child

    def add_later(self, name: str, make: Callable[[], Iterator[Loop]]) -> None:
        """Append child loops that are made only while they are written. Nothing else reads them."""
        self.items.append(LaterLoops(name, self, make))

    def __repr__(self) -> str:
        return f"Loop({self.id!r}, {len(self.items)} items)"


class LaterLoops(Loop):
    """Child loops of one name that are made when they are written, one after the other: more than should be held."""

    __slots__ = ("make",)

    def __init__(self, id: str, parent: Loop, make: Callable[[], Iterator[Loop]]) -> None:
        super().__init__(id, parent)
        self.make = make
