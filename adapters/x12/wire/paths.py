"""Paths into a tree, as rules write them, made ready once: what a path leads to in a loop is then read without parsing.

A path is loops down from the rule's loop (or up, by the name of an enclosing loop), then segment, element, component:
`2320/CAS03`, `CAS03+06+09` (several elements), `DTP(435)` (qualifier), `UM04-1`; or loops alone: `2100C/2110C`.

Rules look at every loop that closes, so that the plain paths, segments of the loop itself and of its children, have
readers of their own. Names need no look at types: those of loops begin with a digit, those of segments with a letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from adapters.x12.wire.tree import Loop, Segment

_PATH = re.compile(
    r"(?P<loops>(?:[0-9]{3,4}[A-Z]{0,2}/)*)(?P<segment>[A-Z][A-Z0-9]{1,2}?)"
    r"(?P<elements>\d\d(?:\+\d\d)*)?(?:-(?P<component>\d+))?(?:\((?P<keys>[A-Z0-9|]+)\))?\Z"
)
_LOOPS = re.compile(r"(?:[0-9]{3,4}[A-Z]{0,2})(?:/[0-9]{3,4}[A-Z]{0,2})*")


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


@cache
def parse_path(text: str) -> Path:
    """Raises ValueError when it is no path. A lone loop name has no segment."""
    if _LOOPS.fullmatch(text):
        return Path(tuple(text.split("/")), "", (), 0, ())
    match = _PATH.match(text)
    if match is None:
        raise ValueError(f"not a path: {text}")
    loops = tuple(part for part in match["loops"].split("/") if part)
    elements = tuple(int(part) for part in match["elements"].split("+")) if match["elements"] else ()
    keys = tuple(match["keys"].split("|")) if match["keys"] else ()
    return Path(loops, match["segment"], elements, int(match["component"] or 0), keys)


def loops_of(path: Path) -> Callable[[Loop], list[Loop]]:
    """Reads the loops a path names."""
    names, up = path.loops[1:] if path.up else path.loops, path.loops[0] if path.up else ""

    def read(loop: Loop) -> list[Loop]:
        above = loop.up(up) if up else loop
        found = [above] if above is not None else []
        for name in names:
            found = [child for one in found for child in one.items if child.id == name and isinstance(child, Loop)]
        return found

    return read


def segments_of(path: Path) -> Callable[[Loop], list[Segment]]:
    """Reads the segments a path names, in order."""
    name, keys, loops = path.segment, path.keys, loops_of(path)
    child_name = path.loops[0] if path.loops else ""

    def own(loop: Loop) -> list[Segment]:
        items: list[Any] = loop.items
        return [item for item in items if item.id == name]

    def in_children(loop: Loop) -> list[Segment]:
        children: list[Any] = loop.items
        return [item for child in children if child.id == child_name for item in child.items if item.id == name]

    def below(loop: Loop) -> list[Segment]:
        return [segment for one in loops(loop) for segment in own(one)]

    def keyed(loop: Loop) -> list[Segment]:
        return [segment for segment in below(loop) if segment.get(1, 1) in keys]

    if keys:
        return keyed
    if len(path.loops) == 1 and not path.up:
        return in_children
    return below if path.loops else own


def first_of(path: Path) -> Callable[[Loop], Segment | None]:
    """Reads the first segment a path names."""
    name, child_name, read = path.segment, path.loops[0] if path.loops else "", segments_of(path)

    def own(loop: Loop) -> Segment | None:
        items: list[Any] = loop.items
        for item in items:
            if item.id == name:
                return item  # type: ignore[no-any-return]
        return None

    def in_children(loop: Loop) -> Segment | None:
        children: list[Any] = loop.items
        for child in children:
            if child.id == child_name and (found := own(child)) is not None:
                return found
        return None

    def first(loop: Loop) -> Segment | None:
        return next(iter(read(loop)), None)

    if path.keys or path.up or len(path.loops) > 1:
        return first
    return in_children if path.loops else own


def values_of(path: Path) -> Callable[[Loop], list[str]]:
    """Reads the values a path names; absent ones are left out."""
    read, elements, component = segments_of(path), path.elements, path.component
    if len(elements) == 1:
        (element,) = elements

        def values(loop: Loop) -> list[str]:
            return [value for one in read(loop) if (value := one.get(element, component))]

        return values
    return lambda loop: [value for one in read(loop) for at in elements if (value := one.get(at, component))]


def presence_of(path: Path) -> Callable[[Loop], bool]:
    """Tells whether there is what a path names; a child loop counts although it was handed out and let go."""
    if path.elements:
        values = values_of(path)
        return lambda loop: bool(values(loop))
    if path.segment:
        first = first_of(path)
        return lambda loop: first(loop) is not None
    loops, child_name = loops_of(path), path.loops[0]
    if len(path.loops) > 1 or path.up:
        return lambda loop: any(one is not loop for one in loops(loop))

    def child(loop: Loop) -> bool:
        for item in loop.items:
            if item.id == child_name:
                return True
        return child_name in loop.dropped

    return child


def matching(path: Path, wanted: frozenset[str]) -> Callable[[Loop], bool]:
    """Tells whether any value a path names is one of those wanted."""
    read, elements, component = segments_of(path), path.elements, path.component

    def found(loop: Loop) -> bool:
        for segment in read(loop):
            for element in elements:
                if segment.get(element, component) in wanted:
                    return True
        return False

    return found
