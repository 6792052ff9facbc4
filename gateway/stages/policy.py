"""From the rule engine's outcome to the verdict of the decide stage. One release per rule set name and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from gateway.core.errors import ConfigurationError
from gateway.core.ports import ItemDecision
from gateway.rules.engine import ItemOutcome, Outcome, evaluate
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


def verdict_of(outcome: Outcome) -> Verdict:
    """The verdict: one item per service line (line 0: the request as a whole); a business rejection is none."""
    items = [_item(item) for item in outcome.items if item.error is None]
    if not outcome.items and not outcome.errors:
        items = [ItemDecision(sequence=0, action=outcome.code, note=str(outcome.record.items[0]["note"]))]
    return Verdict(
        items=items,
        requested_information=outcome.requested_information,
        errors=[_error(item) for item in outcome.items if item.error is not None] or outcome.errors,
        validity_days=_days(outcome.valid_from, outcome.valid_to),
        record=outcome.record.as_json(),
    )


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
