"""A rule set as files: `ruleset.yaml` and, beside it, rules in text (`*.rule`), tables and code lists.

YAML is read without aliases, anchors or tags (they can multiply a small file into a large one, or build objects), and
dates and numbers are what the documents say they are. Nothing is opened here: the caller hands over names and bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from gateway.core.errors import ConfigurationError
from gateway.rules.catalogue import Catalogue
from gateway.rules.documents import read_ruleset
from gateway.rules.language.parser import parse_rules
from gateway.rules.model import MAX_TEXT, Rule, RuleSet

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

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value]
        doubled = {key for key in keys if keys.count(key) > 1} if len(keys) < 10_000 else {}
        if doubled:
            raise ConfigurationError("the same key twice", location=_mark(node))
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


def assemble(files: Mapping[str, bytes], catalogue: Catalogue) -> RuleSet:
    """The rule set of a folder's files. Raises ConfigurationError with file, line and what is wrong."""
    if "ruleset.yaml" not in files:
        raise ConfigurationError("no ruleset.yaml")
    ruleset = read_ruleset(read_yaml(files["ruleset.yaml"], "ruleset.yaml"), "ruleset.yaml")
    extended = catalogue.extended(dict(ruleset.facts))
    rules = list(ruleset.rules)
    for name in sorted(files):
        if name.endswith(".rule"):
            rules.extend(_texts(name, files[name], extended))
    return replace(ruleset, rules=tuple(rules))


def _texts(name: str, data: bytes, catalogue: Catalogue) -> tuple[Rule, ...]:
    try:
        return parse_rules(data.decode("utf-8"), catalogue)
    except UnicodeDecodeError as error:
        raise ConfigurationError("not UTF-8 text", location=name) from error
    except ConfigurationError as error:
        raise ConfigurationError(error.message, location=f"{name} {error.location}") from error
