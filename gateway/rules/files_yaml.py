"""YAML as plain data, read so that a hostile file cannot cost more than its size.

No aliases, anchors or tags (they can multiply a small file into a large one, or build objects), bounded depth and
number of values, unique keys. Read event by event, from libyaml where PyYAML has it: a file is refused at the first
event that breaks a limit, before anything is built of what follows. Values are those of YAML 1.1 as PyYAML's
SafeLoader has them; merge keys are keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from gateway.core.errors import ConfigurationError
from gateway.rules.model import MAX_TEXT

MAX_YAML_DEPTH = 80
MAX_YAML_VALUES = 20_000
"""Keys and values of one file: some 800 rules. More rules go into rule files, rows into tables, code lists into
`.codes.json`."""
MAX_NUMBER = 100
"""Characters of a plain scalar that is no text: making a number takes the square of its length."""
SMALL = 8_000
"""Characters of a file that is read again in Python after a mistake: libyaml sees some only on the line after it."""

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_LIKE_A_NUMBER = re.compile("[-+]?[.0-9][-+.:0-9_a-fA-FxX]*").fullmatch
_PLAIN_NUMBER = re.compile("[1-9][0-9]{0,17}").fullmatch


class _PureEvents(yaml.SafeLoader):
    """Events where PyYAML was built without libyaml; brackets are bounded before the scanner has met them all."""

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        """The scanner looks at every open bracket for each character."""
        if self.flow_level >= MAX_YAML_DEPTH:
            where = _mark(self.tokens[-1]) if self.tokens else ""
            raise ConfigurationError(f"nested deeper than {MAX_YAML_DEPTH}", location=where)
        super().fetch_flow_collection_start(token_class)


_Events: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", _PureEvents)
_VALUES: Any = yaml.SafeLoader("")
"""Decides what a plain scalar is, and makes it; reads nothing."""


@dataclass(slots=True)
class _Open:
    """A collection that has not ended."""

    items: list[Any] | dict[Any, Any]
    seen: set[str] = field(default_factory=set)
    """A mapping's keys as written."""
    key: Any = None
    keyed: bool = False
    """A mapping's key is read, its value is not."""


class _Builder:
    """Makes plain data of events."""

    def __init__(self) -> None:
        self.open: list[_Open] = []
        self.values = 0
        self.documents = 0
        self.result: Any = None

    def take(self, event: Any) -> None:
        """The next event. Raises ConfigurationError where a limit is broken, YAMLError, ValueError for bad values."""
        kind = type(event)
        if kind in (MappingEndEvent, SequenceEndEvent):
            self._place(self.open.pop().items, event)
        elif kind is ScalarEvent or kind in (MappingStartEvent, SequenceStartEvent):
            if event.anchor or event.tag:
                raise ConfigurationError("YAML anchors and tags are not served", location=_mark(event))
            self.values += 1
            if self.values > MAX_YAML_VALUES:
                raise ConfigurationError(f"more than {MAX_YAML_VALUES} values", location=_mark(event))
            if kind is ScalarEvent:
                self._place(_scalar(event), event)
            else:
                self._begin({} if kind is MappingStartEvent else [], event)
        elif kind is AliasEvent:
            raise ConfigurationError("YAML aliases are not served", location=_mark(event))
        elif kind is DocumentStartEvent:
            self.documents += 1
            if self.documents > 1:
                raise yaml.MarkedYAMLError(problem="more than one document", problem_mark=event.start_mark)

    def _begin(self, items: list[Any] | dict[Any, Any], event: Any) -> None:
        if len(self.open) >= MAX_YAML_DEPTH:
            raise ConfigurationError(f"nested deeper than {MAX_YAML_DEPTH}", location=_mark(event))
        if self.open and isinstance(self.open[-1].items, dict) and not self.open[-1].keyed:
            raise yaml.MarkedYAMLError(problem="found unhashable key", problem_mark=event.start_mark)
        self.open.append(_Open(items))

    def _place(self, value: Any, event: Any) -> None:
        if not self.open:
            self.result = value
            return
        top = self.open[-1]
        if isinstance(top.items, list):
            top.items.append(value)
        elif top.keyed:
            top.items[top.key] = value
            top.keyed = False
        else:
            if event.value in top.seen:
                raise ConfigurationError("the same key twice", location=_mark(event))
            top.seen.add(event.value)
            top.key, top.keyed = value, True


def _scalar(event: Any) -> Any:
    """A quoted scalar is text; a plain one what it looks like."""
    text = event.value
    if not event.implicit[0]:
        return text
    if _PLAIN_NUMBER(text):  # what most are, in a tenth of the time
        return int(text)
    if len(text) > MAX_NUMBER:
        if _LIKE_A_NUMBER(text):
            raise ConfigurationError("a number too long", location=_mark(event))
        return text
    tag = _VALUES.resolve(yaml.ScalarNode, text, event.implicit)
    if tag in (_TEXT, _MERGE):
        return text
    if tag == _TIMESTAMP and len(text) == 10:
        return date.fromisoformat(text)
    make = _VALUES.yaml_constructors.get(tag, _VALUES.yaml_constructors[None])
    return make(_VALUES, yaml.ScalarNode(tag, text, event.start_mark, event.end_mark))


def _mark(thing: Any) -> str:
    mark = getattr(thing, "start_mark", None)
    return f"line {mark.line + 1} column {mark.column + 1}" if mark is not None else ""


def _build(events: type[yaml.SafeLoader | yaml.CSafeLoader], text: str) -> Any:
    loader, builder = events(text), _Builder()
    try:
        while loader.check_event():
            builder.take(loader.get_event())
    finally:
        loader.dispose()
    return builder.result


def _read(text: str) -> Any:
    try:
        return _build(_Events, text)
    except yaml.MarkedYAMLError:
        if _Events is not _PureEvents and len(text) <= SMALL:
            _build(_PureEvents, text)
        raise


def read_yaml(data: bytes, name: str = "") -> Any:
    """A YAML (or JSON) document as plain data. Raises ConfigurationError with line and column."""
    if len(data) > MAX_TEXT * 4:
        raise ConfigurationError("the file is too large", location=name)
    try:
        return _read(data.decode("utf-8"))
    except ConfigurationError as error:
        raise ConfigurationError(error.message, location=f"{name} {error.location}".strip()) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name} line {mark.line + 1} column {mark.column + 1}".strip() if mark else name
        raise ConfigurationError(f"not YAML: {error.problem or 'unreadable'}", location=where) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigurationError("not YAML", location=name) from error
