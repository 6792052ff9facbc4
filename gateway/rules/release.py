"""A release: a checked rule set, pinned with everything its decisions depend on, under one content hash.

The hash covers the rule set (rules, strategy, value sets, own facts), the meaning of the facts its rules use (type,
unit, completeness; not labels and questions, which may be reworded) and the engine's semantic version. Equal content
gives the equal hash, whatever files it came from and in whatever order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.rules.catalogue import Catalogue
from gateway.rules.check import check_condition, check_ruleset, raise_issues
from gateway.rules.combine import passes_on, strength
from gateway.rules.direct import Record, Test
from gateway.rules.documents import write_condition, write_ruleset
from gateway.rules.leaves import Scope
from gateway.rules.model import Condition, RuleSet, Truth
from gateway.rules.program import Program, compile_condition_tree, compile_rules

ENGINE = "1"
"""Version of the engine's semantics; grows when an old release could decide otherwise."""


@dataclass(frozen=True, slots=True)
class Release:
    """Immutable; compile once, evaluate often. `lock` names every part with its own hash."""

    ruleset: RuleSet
    catalogue: Catalogue
    hash: str
    lock: dict[str, str]
    program: Program
    passing: frozenset[str]


def canonical(document: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def digest(document: Any) -> str:
    """`sha256:` and the hexadecimal digest of the canonical JSON."""
    return "sha256:" + hashlib.sha256(canonical(document)).hexdigest()


def release(ruleset: RuleSet, catalogue: Catalogue) -> Release:
    """Check, pin and compile. Raises ConfigurationError that lists every problem with its location."""
    extended = catalogue.extended(dict(ruleset.facts))
    raise_issues(check_ruleset(ruleset, extended), f"rule set {ruleset.id} cannot be released")
    document = write_ruleset(ruleset)
    lock = {f"rule {rule['id']} v{rule['version']}": digest(rule) for rule in document["rules"]}
    lock |= {f"valueSet {name} v{each['version']}": digest(each) for name, each in document["valueSets"].items()}
    lock |= {f"origin of {name}": each.origin for name, each in ruleset.value_sets.items() if each.origin}
    lock["catalogue"] = digest(meaning_used(ruleset, extended))
    lock["engine"] = ENGINE
    scope = Scope(extended, ruleset.value_sets, ruleset.zone)
    program = compile_rules(sorted(ruleset.rules, key=strength(ruleset)), scope)
    return Release(ruleset, extended, digest([document, lock]), lock, program, passes_on(ruleset))


def meaning_used(ruleset: RuleSet, catalogue: Catalogue) -> dict[str, Any]:
    """What the rules rely on in the catalogue: per fact its type and unit, per list its fields and completeness."""
    named = set(_texts(write_ruleset(ruleset)))
    heads = {text.partition(".")[0] for text in named}
    found: dict[str, Any] = {}
    for entry in catalogue.facts.values():
        if entry.path in named:
            found[entry.path] = [entry.type, entry.unit, entry.many]
    for owner in catalogue.lists.values():
        if owner.name in named or owner.item in heads or (owner.name == "services" and "this" in heads):
            fields = {each.key: [each.type, each.unit, each.many] for each in owner.fields.values()}
            found[owner.name] = {"item": owner.item, "complete": owner.complete, "fields": fields}
    return found


def _texts(document: Any) -> Iterator[str]:
    """Every text of a document: among them the paths its conditions name."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for each in document.values() if isinstance(document, dict) else document:
            yield from _texts(each)


@dataclass(frozen=True, slots=True)
class Predicate:
    """A compiled condition outside a rule: a workflow step's `if`, a route. Unknown is None: the caller decides."""

    condition: Condition
    test: Test
    hash: str

    def __call__(self, facts: Record, this: Record | None = None) -> Truth:
        """Evaluate; `this` is the line in question where there is one (default: the first service)."""
        services = facts.get("services")
        first = services[0] if isinstance(services, list) and services and isinstance(services[0], dict) else {}
        current = first if this is None else this
        return self.test(facts, current, current)


def predicate(condition: Condition, catalogue: Catalogue, scope: Scope | None = None) -> Predicate:
    """Check and pin a condition. Raises ConfigurationError."""
    used = scope or Scope(catalogue, {})
    raise_issues(check_condition(condition, catalogue, used.value_sets), "the condition cannot be used")
    return Predicate(condition, compile_condition_tree(used, condition), digest(write_condition(condition)))
