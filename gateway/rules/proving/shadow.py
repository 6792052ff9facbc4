"""Shadow runs: what would another release have decided on recorded cases? And which rules conflict or are dead?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from gateway.rules.engine import Reviewer, evaluate
from gateway.rules.release import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A recorded case: its facts and how it was decided then."""

    id: str
    facts: dict[str, Any]
    as_of: date
    now: datetime
    reviewer: Reviewer | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One line that would have been decided otherwise, with the combining paths of both."""

    case: str
    sequence: int
    before: str
    after: str
    why_before: tuple[str, ...]
    why_after: tuple[str, ...]


def shadow_run(current: Release, candidate: Release, cases: Iterable[Case]) -> tuple[int, list[Difference]]:
    """How many cases were run, and every line whose action, rule or content differs."""
    count, found = 0, []
    for case in cases:
        count += 1
        before = evaluate(current, case.facts, as_of=case.as_of, now=case.now, reviewer=case.reviewer)
        after = evaluate(candidate, case.facts, as_of=case.as_of, now=case.now, reviewer=case.reviewer)
        for old, new in zip(before.record.items, after.record.items, strict=True):
            if _content(old) != _content(new):
                found.append(
                    Difference(
                        case.id,
                        old["sequence"],
                        old["action"],
                        new["action"],
                        tuple(old["path"]),
                        tuple(new["path"]),
                    )
                )
    return count, found


def _content(item: Mapping[str, Any]) -> tuple[Any, ...]:
    return (item["action"], item["changes"], item["validTo"], item["reasons"], item["recommended"])


def conflicts(release: Release, cases: Iterable[Mapping[str, Any]], now: datetime) -> tuple[list[str], list[str]]:
    """Pairs of rules that matched one line with different actions, and rules that matched nothing, over given facts."""
    pairs: dict[tuple[str, str], str] = {}
    matched: set[str] = set()
    for facts in cases:
        for line in evaluate(release, facts, now=now).trace:
            rules = [rule for rule, truth in zip(line.plan.rules, line.truths, strict=True) if truth]
            matched.update(rule.id for rule in rules)
            for first, second in _pairs(rules):
                if first.action.effect != second.action.effect:
                    pairs[(first.id, second.id)] = f"{first.id} ({first.action.type}) decides before "
                    pairs[(first.id, second.id)] += f"{second.id} ({second.action.type})"
    dead = sorted({rule.id for rule in release.ruleset.rules} - matched)
    return list(pairs.values()), dead


def _pairs(rules: list[Any]) -> Iterator[tuple[Any, Any]]:
    for index, first in enumerate(rules):
        for second in rules[index + 1 :]:
            yield first, second
