"""What changed between two versions, in words: rules by their text, value sets by their codes, the frame by fields."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.rules.catalogue import Catalogue
from gateway.rules.language.printer import print_rule
from gateway.rules.model import Rule, RuleSet

_WORDS = re.compile(r'"(?:[^"\\\n]|\\.)*"|\s+|[^\s"]+')


@dataclass(frozen=True, slots=True)
class Change:
    """One change: what (`rule MN-1`), how (added, removed, changed), and the words with `[-old-]` and `{+new+}`."""

    what: str
    how: str
    text: str


def diff(before: RuleSet, after: RuleSet, catalogue: Catalogue) -> list[Change]:
    """All changes, rules first. The catalogue is extended with each side's own facts."""
    first, second = catalogue.extended(dict(before.facts)), catalogue.extended(dict(after.facts))
    return [
        *_rules(_by_id(before), _by_id(after), first, second),
        *_value_sets(before, after),
        *_frame(before, after),
    ]


def _by_id(ruleset: RuleSet) -> dict[str, Rule]:
    """Rules by id; of several versions of one, each with its version in the name."""
    several = {rule.id for rule in ruleset.rules if sum(other.id == rule.id for other in ruleset.rules) > 1}
    return {f"{rule.id} v{rule.version}" if rule.id in several else rule.id: rule for rule in ruleset.rules}


def _rules(before: dict[str, Rule], after: dict[str, Rule], first: Catalogue, second: Catalogue) -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield Change(f"rule {name}", "removed", print_rule(before[name], first))
        elif name not in before:
            yield Change(f"rule {name}", "added", print_rule(after[name], second))
        elif before[name] != after[name]:
            text = words(print_rule(before[name], first), print_rule(after[name], second))
            yield Change(f"rule {name}", "changed", text)


def words(before: str, after: str) -> str:
    """The text with what went in `[-…-]` and what came in `{+…+}`, word by word."""
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    parts: list[str] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = "".join(old[a:b]), "".join(new[c:d])
        if tag == "equal":
            parts.append(gone)
            continue
        parts.append((f"[-{gone}-]" if gone else "") + (f"{{+{come}+}}" if come else ""))
    return "".join(parts)


def _value_sets(before: RuleSet, after: RuleSet) -> Iterator[Change]:
    for name in sorted(before.value_sets.keys() | after.value_sets.keys()):
        old, new = before.value_sets.get(name), after.value_sets.get(name)
        if old == new:
            continue
        gone = sorted((old.codes if old else frozenset()) - (new.codes if new else frozenset()))
        come = sorted((new.codes if new else frozenset()) - (old.codes if old else frozenset()))
        how = "added" if old is None else "removed" if new is None else "changed"
        text = "; ".join(
            f"{word} {', '.join(codes[:20])}" + (f" and {len(codes) - 20} more" if len(codes) > 20 else "")
            for word, codes in (("without", gone), ("with", come))
            if codes
        )
        origins = (old.origin if old else "", new.origin if new else "")
        if origins[0] != origins[1]:
            text = f"{text}; from {words(*origins)}".removeprefix("; ")
        yield Change(f"value set {name}", how, text or "its description")


def _frame(before: RuleSet, after: RuleSet) -> Iterator[Change]:
    for name in (
        "name",
        "combine",
        "order",
        "automatic_denials",
        "default",
        "as_of",
        "zone",
        "effective",
        "expiration",
        "citation",
    ):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield Change(name.replace("_", " "), "changed", f"[-{old}-]{{+{new}+}}")
