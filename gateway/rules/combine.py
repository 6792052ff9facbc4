"""Combining strategies: from what each rule says to one action, with unknowns taken seriously.

Every strategy but two is an order of strength: the strongest rule that matches decides. Walking down that order, an
unknown rule that is stronger than the first match and would decide otherwise makes the result *open*: nobody may
approve or deny yet, its missing facts are asked for. That gives the guarantee the tests repeat: a final decision is
the one complete data would give, in kind and in content.

staged            eligibility → network → compliance → fraud → medical necessity; inside a stage by severity. An
                  approval of an early stage only lets the request pass on; it is final in the last stage that the rule
                  set has rules for.
priority-first    highest priority, ties by severity then id
deny-overrides    severity first: deny > error > escalate > contact > request_info > pend > partial > modify >
                  approve > not_required
approve-overrides the reverse
first-applicable  the declared `order` of the rule set
only-one-applicable   exactly one rule may match; two matching rules go to a person
collect           every matching rule's action is reported; the strongest (as deny-overrides) is the item's action
Nothing matched → the default, which is a pend or an escalation, never an approval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.rules.model import CATEGORIES, Action, Rule, RuleSet, Truth

_SEVERITY = ("deny", "error", "escalate", "contact", "request_info", "pend", "partial", "modify", "approve",
             "not_required")  # fmt: skip
SEVERITY = {action: rank for rank, action in enumerate(_SEVERITY)}
_STAGE = {category: rank for rank, category in enumerate(CATEGORIES)}
_CONFLICT = Action("escalate", role="policy-author", reason="More than one rule of this policy matches.")
OPEN = Action("request_info", reason="More information is needed to decide.")


@dataclass(frozen=True, slots=True)
class Combined:
    """What a strategy made of the rules: the deciding rule if one did, its action, and the rules that hold it open."""

    action: Action
    winner: Rule | None
    open_rules: tuple[int, ...]
    """Positions (in the plan) of the unknown rules whose facts must be known first."""
    path: tuple[str, ...]


def strength(ruleset: RuleSet) -> Callable[[Rule], tuple[object, ...]]:
    """The sort key of a strategy, strongest first; independent of the order of files."""
    order = {rule_id: position for position, rule_id in enumerate(ruleset.order)}

    def key(rule: Rule) -> tuple[object, ...]:
        severity = SEVERITY[rule.action.type]
        tail = (-rule.priority, rule.id, rule.version)
        match ruleset.combine:
            case "staged":
                return (_STAGE[rule.category], severity, *tail)
            case "priority-first" | "only-one-applicable":
                return (-rule.priority, severity, rule.id, rule.version)
            case "approve-overrides":
                return (-severity, *tail)
            case "first-applicable":
                return (order.get(rule.id, len(order)), rule.id, rule.version)
        return (severity, *tail)

    return key


def passes_on(ruleset: RuleSet) -> frozenset[str]:
    """Categories whose approvals only let a request pass on to the next stage."""
    if ruleset.combine != "staged":
        return frozenset()
    used = [category for category in CATEGORIES if any(rule.category == category for rule in ruleset.rules)]
    return frozenset(used[:-1])


def combine(ruleset: RuleSet, passing: frozenset[str], rules: Sequence[Rule], truths: Sequence[Truth]) -> Combined:
    """Join the rules of one line. `rules` are in the order of `strength`, `truths` beside them."""
    if ruleset.combine == "only-one-applicable":
        return _only_one(ruleset, rules, truths)
    unknown: list[int] = []
    winner: Rule | None = None
    path: list[str] = [ruleset.combine]
    for index, truth in enumerate(truths):
        if truth is False:
            continue
        rule = rules[index]
        if rule.action.type == "approve" and rule.category in passing:
            if truth:
                path.append(f"{rule.id} passes {rule.category}")
            continue
        if truth:
            winner = rule
            path.append(f"{rule.id} matched: {rule.action.type}")
            break
        unknown.append(index)
    return _settle(ruleset, rules, winner, unknown, path)


def _settle(
    ruleset: RuleSet, rules: Sequence[Rule], winner: Rule | None, unknown: list[int], path: list[str]
) -> Combined:
    action = winner.action if winner is not None else ruleset.default
    if winner is None:
        path.append(f"nothing matched: {action.type}")
    blocking = tuple(index for index in unknown if rules[index].action.effect != action.effect)
    # A default that waits is no decision: it gives way to asking only when an answer could change it.
    if not blocking:
        return Combined(action, winner, (), tuple(path))
    path.extend(f"{rules[index].id} unknown: could {rules[index].action.type}" for index in blocking)
    return Combined(OPEN, None, blocking, tuple(path))


def _only_one(ruleset: RuleSet, rules: Sequence[Rule], truths: Sequence[Truth]) -> Combined:
    matched = [index for index, truth in enumerate(truths) if truth]
    unknown = [index for index, truth in enumerate(truths) if truth is None]
    path = [ruleset.combine, *(f"{rules[index].id} matched: {rules[index].action.type}" for index in matched)]
    if len(matched) > 1:
        return Combined(_CONFLICT, None, (), (*path, "more than one applicable: escalate"))
    if unknown and (matched or any(rules[index].action.effect != ruleset.default.effect for index in unknown)):
        path.extend(f"{rules[index].id} unknown: could {rules[index].action.type}" for index in unknown)
        return Combined(OPEN, None, tuple(unknown), tuple(path))
    winner = rules[matched[0]] if matched else None
    return _settle(ruleset, rules, winner, [], path)
