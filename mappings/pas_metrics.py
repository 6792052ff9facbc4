"""Per-item event facts for the CMS-0057-F public metrics and the guide's PASMetricData (informative).

The nine CMS metrics need, per decided item: standard or expedited, approved or denied, whether on appeal, whether the
time was extended, and the hours from our receipt to the determination. AAA rejections, cancelled and not-required
items, and contact-payer answers are no determinations.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.core.ports import Decision
from mappings.review_actions import ACTIONS

APPEALS = frozenset({"1", "2"})
"""UM02: appeal, immediate and standard."""
DETERMINATIONS = {"A1": "approved", "A2": "approved", "A6": "approved", "A3": "denied"}
"""Review actions that are determinations in the public metrics' sense (partial and modified count as approved)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemEvent:
    """One state of one item: a row of the per-item event log. Codes, times and ids only: no PHI."""

    case_id: str
    item: int
    version: int
    state: str
    """State word of review_actions.py: approved, denied, pended …; `unknown` for codes outside its table."""
    determination: str
    """`approved`, `denied` or "" (not a determination)."""
    action: str
    reasons: tuple[str, ...]
    priority: str
    priority_rule: str
    appeal: bool
    extended: bool
    human_reviewed: bool
    service_code: str
    received_at: datetime
    decided_at: datetime
    hours: float
    """From receipt to this event."""


def item_events(
    facts: dict[str, Any], decision: Decision, received_at: datetime, *, extended: bool = False
) -> tuple[ItemEvent, ...]:
    """The event rows of one decision; none for a business rejection (it is not a decision)."""
    if decision.errors and not decision.items:
        return ()
    services = {row.get("sequence"): row for row in facts.get("services", [])}
    certification = str(facts.get("request.certificationType", ""))
    return tuple(
        ItemEvent(
            case_id=decision.case_id,
            item=item.sequence,
            version=decision.version,
            state=ACTIONS[item.action].state if item.action in ACTIONS else "unknown",
            determination=DETERMINATIONS.get(item.action, ""),
            action=item.action,
            reasons=tuple(item.reasons),
            priority=str(facts.get("request.priority", "standard")),
            priority_rule=str(facts.get("request.priorityRule", "")),
            appeal=str(services.get(item.sequence, {}).get("certificationType", certification)) in APPEALS,
            extended=extended,
            human_reviewed=decision.human_reviewed,
            service_code=str(services.get(item.sequence, {}).get("code", "")),
            received_at=received_at,
            decided_at=decision.decided_at,
            hours=(decision.decided_at - received_at).total_seconds() / 3600,
        )
        for item in decision.items
    )
