"""Mutation score: is there a scenario that would notice if a condition were slightly wrong?

Mutants of a rule: every comparison flipped or moved to its boundary's other side, `all` ↔ `any`, a `not` put on a
leaf, a quantifier exchanged. A mutant is killed when some scenario's outcome differs from what its author expects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.core.errors import GatewayError
from gateway.rules.catalogue import Catalogue
from gateway.rules.language.printer import print_condition
from gateway.rules.model import AllOf, AnyOf, Compare, Comparison, Condition, Not, Quantified, RuleSet
from gateway.rules.proving.scenarios import Scenario, run
from gateway.rules.release import Release, release

_FLIPS: dict[Comparison, tuple[Comparison, ...]] = {
    "eq": ("ne",), "ne": ("eq",), "in": ("notin",), "notin": ("in",),
    "lt": ("le", "ge"), "le": ("lt", "gt"), "gt": ("ge", "le"), "ge": ("gt", "lt"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """A rule with one thing changed."""

    rule: str
    text: str
    killed: bool


def mutants_of(condition: Condition) -> Iterator[Condition]:
    """Every mutant of one condition, one change each."""
    if isinstance(condition, AllOf | AnyOf):
        yield (AnyOf if isinstance(condition, AllOf) else AllOf)(condition.parts)
        for index, part in enumerate(condition.parts):
            for changed in mutants_of(part):
                yield type(condition)((*condition.parts[:index], changed, *condition.parts[index + 1 :]))
        return
    if isinstance(condition, Not):
        yield condition.part
        for changed in mutants_of(condition.part):
            yield Not(changed)
        return
    if isinstance(condition, Compare) and condition.operator in _FLIPS:
        for operator in _FLIPS[condition.operator]:
            yield replace(condition, operator=operator)
        return
    if isinstance(condition, Quantified):
        if condition.test is not None:
            for changed in mutants_of(condition.test):
                yield replace(condition, test=changed)
        if condition.quantifier in ("at least", "at most", "exactly"):
            yield replace(condition, count=condition.count + 1)
    yield Not(condition)


def mutation_run(
    ruleset: RuleSet,
    catalogue: Catalogue,
    scenarios: Sequence[Scenario],
    progress: Callable[[int, int], None] | None = None,
) -> list[Mutant]:
    """Try every mutant of every rule against the scenarios. `progress(done, all)` is told as it goes."""
    extended = catalogue.extended(dict(ruleset.facts))
    pinned = release(ruleset, catalogue)
    # A scenario that fails already notices nothing: it would kill every mutant.
    passing = [scenario for scenario in scenarios if not run(pinned, scenario).differences]
    planned = [
        (index, changed)
        for index, rule in enumerate(ruleset.rules)
        for changed in dict.fromkeys(mutants_of(rule.condition))
        if changed != rule.condition
    ]
    found = []
    for done, (index, changed) in enumerate(planned, 1):
        rule = ruleset.rules[index]
        rules = (*ruleset.rules[:index], replace(rule, condition=changed), *ruleset.rules[index + 1 :])
        killed = _killed(replace(ruleset, rules=rules), catalogue, passing)
        found.append(Mutant(rule.id, print_condition(changed, extended), killed))
        if progress is not None:
            progress(done, len(planned))
    return found


def _killed(ruleset: RuleSet, catalogue: Catalogue, scenarios: Sequence[Scenario]) -> bool:
    try:
        changed: Release = release(ruleset, catalogue)
    except GatewayError:
        return True  # the check at save time refuses it: nobody could have made this mistake
    return any(run(changed, scenario).differences for scenario in scenarios)


def score(mutants: Sequence[Mutant]) -> float:
    """Killed over all, 0 to 1."""
    return sum(mutant.killed for mutant in mutants) / len(mutants) if mutants else 1.0
