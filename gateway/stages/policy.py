"""From the rule engine's outcome to the verdict of the decide stage. One release per rule set name and evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from gateway.core.errors import ConfigurationError
from gateway.core.ports import ItemDecision
from gateway.rules.calendar import day_in_zone
from gateway.rules.engine import ItemOutcome, Outcome, evaluate
from gateway.rules.lifecycle import Version, in_force
from gateway.rules.release import Release
from gateway.stages.decide import Verdict


@dataclass(frozen=True, slots=True)
class Policies:
    """The Policy port: releases by the name under which definitions refer to them."""

    releases: Mapping[str, Release]

    def __call__(
        self, facts: Mapping[str, Any], *, ruleset: str, tenant: str, as_of: datetime, now: datetime
    ) -> Verdict:
        """Evaluate the release. Raises ConfigurationError for an unknown rule set."""
        release = self.releases.get(ruleset)
        if release is None:
            raise ConfigurationError(f"tenant {tenant} has no release of rule set {ruleset}")
        return verdict_of(evaluate(release, dict(facts), as_of=as_of, now=now))


@dataclass(frozen=True, slots=True)
class Active:
    """An active version and what it compiles to."""

    version: Version
    release: Release


def release_in_force(active: Sequence[Active], as_of: datetime) -> Release | None:
    """The release that decides an instant, as a day in each version's own zone; None before the first of them.

    Raises ConfigurationError in a gap: days after the first version are never left to another policy.
    """
    begun = False
    covering = []
    for each in active:
        day = day_in_zone(as_of, each.release.ruleset.zone)
        begun = begun or each.version.effective is None or each.version.effective <= day
        if in_force([each.version], day) is not None:
            covering.append(each)
    if covering:
        return max(covering, key=lambda each: each.version.version).release
    if begun:
        raise ConfigurationError(
            "no version of the rule set is in force on that day", location=active[0].version.ruleset
        )
    return None


def verdict_of(outcome: Outcome) -> Verdict:
    """The verdict: one item per service line (line 0: the request as a whole); a business rejection is none."""
    items = [_item(item) for item in outcome.items if item.error is None]
    if not outcome.items and not outcome.errors:
        items = [ItemDecision(sequence=0, action=outcome.code, note=str(outcome.record.items[0]["note"]))]
    return Verdict(
        items=items,
        requested_information=_asked(outcome),
        errors=[_error(item) for item in outcome.items if item.error is not None] or outcome.errors,
        validity_days=_days(outcome.valid_from, outcome.valid_to),
        record=outcome.record.as_json(),
    )


def _asked(outcome: Outcome) -> Sequence[dict[str, str]]:
    """What is missing; with its line where one line alone waits for it, so that the provider knows which."""
    if not outcome.items:
        return outcome.requested_information
    lines: dict[tuple[str, str], list[int]] = {}
    found = {}
    for item in outcome.items:
        for each in item.requested:
            found[each.fact, each.concept] = each.request()
            lines.setdefault((each.fact, each.concept), []).append(item.sequence)
    return [
        {**row, "line": str(lines[key][0])} if len(lines[key]) == 1 and lines[key][0] else row
        for key, row in found.items()
    ]


def _item(item: ItemOutcome) -> ItemDecision:
    return ItemDecision(
        sequence=item.sequence, action=item.code, reasons=item.reasons, note=item.note, changes=item.changes
    )


def _error(item: ItemOutcome) -> dict[str, str]:
    """A rejection with the line it is about (0: the request as a whole), so that each rail can point at it."""
    return {**(item.error or {}), "line": str(item.sequence)}


def _days(start: str, end: str) -> int | None:
    if not start or not end:
        return None
    return (date.fromisoformat(end) - date.fromisoformat(start)).days
