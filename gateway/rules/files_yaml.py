"""YAML as plain data, read so that a hostile file cannot cost more than its size.

No aliases, anchors or tags (they can multiply a small file into a large one, or build objects), bounded depth, unique
keys.
"""

from __future__ import annotations

from typing import Any

import yaml

from gateway.core.errors import ConfigurationError
from gateway.rules.model import MAX_TEXT

MAX_YAML_DEPTH = 80


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases, tags and deep nesting; keys are unique. Pure Python: depth is ours to bound."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            where = _mark(self.peek_event())  # type: ignore[no-untyped-call]
            raise ConfigurationError("YAML aliases are not served", location=where)
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise ConfigurationError("YAML anchors and tags are not served", location=_mark(event))
        self.depth += 1
        if self.depth > MAX_YAML_DEPTH:
            raise ConfigurationError(f"nested deeper than {MAX_YAML_DEPTH}", location=_mark(event))
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        """Brackets are bounded before the scanner, which looks at every open one, has met them all."""
        if self.flow_level >= MAX_YAML_DEPTH:
            where = _mark(self.tokens[-1]) if self.tokens else ""
            raise ConfigurationError(f"nested deeper than {MAX_YAML_DEPTH}", location=where)
        super().fetch_flow_collection_start(token_class)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                raise ConfigurationError("the same key twice", location=_mark(key))
            seen.add(name)
        return super().construct_mapping(node, deep)


def _mark(thing: Any) -> str:
    mark = getattr(thing, "start_mark", None)
    return f"line {mark.line + 1} column {mark.column + 1}" if mark is not None else ""


def read_yaml(data: bytes, name: str = "") -> Any:
    """A YAML (or JSON) document as plain data. Raises ConfigurationError with line and column."""
    if len(data) > MAX_TEXT * 4:
        raise ConfigurationError("the file is too large", location=name)
    try:
        loader = _PlainLoader(data.decode("utf-8"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name} line {mark.line + 1} column {mark.column + 1}" if mark else name
        raise ConfigurationError(f"not YAML: {error.problem or 'unreadable'}", location=where) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigurationError("not YAML", location=name) from error
