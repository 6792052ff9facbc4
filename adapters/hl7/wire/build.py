"""New messages: values in, segments out. Escaping happens here, once.

A value's shape is its nesting: a string is a leaf; a tuple holds components (each a string, or a tuple of
sub-components); a list holds repetitions. `None` and trailing empties leave no delimiters behind.

    segment("PID", {3: [("MRN1", "", "", "HOSP", "MR")], 5: ("DOE", "JANE")})   →   PID|||MRN1^^^HOSP^MR||DOE^JANE
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import lru_cache

from .message import HEADERS, Message, Segment
from .syntax import STANDARD, Syntax, escape


class Verbatim(str):
    r"""Text that is already escaped (formatting such as `\.br\`); written as it is."""

    __slots__ = ()


Component = str | tuple[str, ...] | None
Content = str | tuple[Component, ...] | None
Value = Content | list[Content]
"""What one field may be given as."""


def segment(name: str, fields: Mapping[int, Value], *, syntax: Syntax = STANDARD) -> Segment:
    """A segment from field numbers and values; in MSH, FHS and BHS fields 1 and 2 come from `syntax`."""
    last = max(fields, default=0)
    parts = [name]
    first = 1
    if name in HEADERS:
        parts.append(syntax.encoding_characters)
        first = 3
    parts.extend(_field(fields.get(n), syntax) for n in range(first, last + 1))
    while len(parts) > first and not parts[-1]:
        parts.pop()
    return Segment(name, 1, tuple(parts), syntax)


def compose(segments: Iterable[Segment], *, raw: bytes = b"") -> Message:
    """A message of these segments, each numbered among those of its name."""
    counts: dict[str, int] = {}
    numbered = []
    for part in segments:
        counts[part.name] = counts.get(part.name, 0) + 1
        numbered.append(Segment(part.name, counts[part.name], part.parts, part.syntax))
    return Message(tuple(numbered), raw)


def replace(target: Segment, fields: Mapping[int, Value]) -> Segment:
    """The same segment with some fields set anew; all others stay byte by byte."""
    offset = 1 if target.name in HEADERS else 0
    parts = list(target.parts)
    for n, value in fields.items():
        place = n - offset
        parts.extend([""] * (place + 1 - len(parts)))
        parts[place] = _field(value, target.syntax)
    return Segment(target.name, target.index, tuple(parts), target.syntax)


def timestamp(at: datetime) -> str:
    """DTM with seconds and zone offset: 20260301101500+0000."""
    return _stamp(int(at.timestamp()), at.tzinfo)


@lru_cache(maxsize=16)
def _stamp(second: int, zone: tzinfo | None) -> str:
    return datetime.fromtimestamp(second, zone).strftime("%Y%m%d%H%M%S%z")


def _field(value: Value, syntax: Syntax) -> str:
    if isinstance(value, list):
        return _join((_content(item, syntax) for item in value), syntax.repetition)
    return _content(value, syntax)


def _content(value: Content, syntax: Syntax) -> str:
    if isinstance(value, tuple):
        return _join((_component(item, syntax) for item in value), syntax.component)
    return _leaf(value, syntax)


def _component(value: Component, syntax: Syntax) -> str:
    if isinstance(value, tuple):
        return _join((_leaf(item, syntax) for item in value), syntax.subcomponent)
    return _leaf(value, syntax)


def _leaf(value: str | None, syntax: Syntax) -> str:
    if not value:
        return ""
    return str(value) if isinstance(value, Verbatim) else escape(value, syntax)


def _join(texts: Iterable[str], separator: str) -> str:
    found: Sequence[str] = list(texts)
    while found and not found[-1]:
        found = found[:-1]
    return separator.join(found)
