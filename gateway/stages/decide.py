"""Stage three: from a policy's verdict, or a person's, to the one decision of a case.

Pure. The rule engine gives a verdict per requested item; here it becomes the `Decision` that every rail renders:
rolled-up action, authorization number, validity, what is asked for. Ids are derived from the case, so the same verdict
on the same case is the same decision, byte by byte.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from gateway.core.ports import Decision, ItemDecision

APPROVED = frozenset({"A1", "A2", "A6"})
PENDED = "A4"
CANCEL = "3"
"""Certification type (X12 element 1322): cancel."""
DEFAULT_VALIDITY_DAYS = 90
"""How long an authorization holds when the policy does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the policy says of a request."""

    items: Sequence[ItemDecision]
    requested_information: Sequence[dict[str, str]] = ()
    errors: Sequence[dict[str, str]] = ()
    """Business rejections (AAA): `{code, followUp, location, path}`."""
    validity_days: int | None = None
    record: dict[str, Any] = field(default_factory=dict)
    """The DecisionRecord of the rule engine."""
    reviewer: dict[str, str] = field(default_factory=dict)


class Policy(Protocol):
    """A rule set, applied. Pure and deterministic: the same facts and as-of date give the same verdict."""

    def __call__(
        self, facts: Mapping[str, Any], *, ruleset: str, tenant: str, as_of: datetime, now: datetime
    ) -> Verdict:
        """Evaluate the release in force at `as_of`; `now` is only recorded."""
        ...


def roll_up(actions: Sequence[str]) -> str:
    """One action for the case from its items' actions (X12 element 306).

    Any pended item keeps the case pended; equal actions stay; approvals mixed with anything else are a partial
    certification (A2); contact payer wins over what is left, because somebody has to call.
    """
    kinds = {action for action in actions if action != "C"} or set(actions)
    if not kinds:
        return PENDED
    if PENDED in kinds:
        return PENDED
    if len(kinds) == 1:
        return next(iter(kinds))
    if "CT" in kinds:
        return "CT"
    if kinds <= {"A1", "NA"}:
        return "A1"
    if kinds <= {"A1", "A6", "NA"}:
        return "A6"
    return "A2" if kinds & APPROVED else "A3"


def authorization_number(case_id: str) -> str:
    """`PA` and 13 letters or digits derived from the case id: stable, unique, without meaning."""
    return "PA" + base64.b32encode(uuid.UUID(case_id).bytes).decode("ascii")[:13]


def administrative_reference(case_id: str) -> str:
    """REF*NT: what a pended request is asked for by."""
    return "AR" + base64.b32encode(uuid.UUID(case_id).bytes).decode("ascii")[:13]


def decide(
    verdict: Verdict,
    *,
    case_id: str,
    version: int,
    now: datetime,
    facts: Mapping[str, Any],
    due_at: datetime | None = None,
) -> Decision:
    """The decision at stream version `version` of the case; what is asked for is due when the case's clock ends."""
    due = {"due": due_at.date().isoformat()} if due_at is not None else {}
    withdrawn = _withdrawn(facts)
    decided = [_cancelled(item) if item.sequence in withdrawn else item for item in verdict.items]
    action = roll_up([item.action for item in decided]) if not verdict.errors else ""
    number = authorization_number(case_id) if any(item.action in APPROVED for item in decided) else ""
    items = [
        replace(item, authorization_number=item.authorization_number or number) if item.action in APPROVED else item
        for item in decided
    ]
    start, end = _validity(verdict, facts, now) if number else ("", "")
    return Decision(
        case_id=case_id,
        version=version,
        decided_at=now,
        action=action,
        items=items,
        authorization_number=number,
        administrative_reference=administrative_reference(case_id) if action == PENDED else "",
        valid_from=start,
        valid_to=end,
        requested_information=[due | dict(row) for row in verdict.requested_information],
        errors=verdict.errors,
        human_reviewed=bool(verdict.reviewer),
        reviewer=verdict.reviewer,
        record=verdict.record,
    )


def _withdrawn(facts: Mapping[str, Any]) -> frozenset[int]:
    """Lines the requester has taken back: nothing is decided on them, they are confirmed as cancelled (UM02 = 3)."""
    whole = facts.get("request.certificationType") == CANCEL
    lines = [row for row in facts.get("services") or () if isinstance(row, Mapping)]
    return frozenset(
        int(row.get("sequence") or number)
        for number, row in enumerate(lines, 1)
        if whole or row.get("change") == "cancelled" or row.get("certificationType") == CANCEL
    )


def _cancelled(item: ItemDecision) -> ItemDecision:
    return ItemDecision(sequence=item.sequence, action="C")


def _validity(verdict: Verdict, facts: Mapping[str, Any], now: datetime) -> tuple[str, str]:
    start = _day(facts.get("request.serviceStart")) or now.date()
    days = verdict.validity_days or DEFAULT_VALIDITY_DAYS
    end = start + timedelta(days=min(days, (date.max - start).days))
    asked = _day(facts.get("request.serviceEnd"))
    return start.isoformat(), max(end, asked).isoformat() if asked else end.isoformat()


def _day(value: Any) -> date | None:
    try:
        return date.fromisoformat(str(value)[:10]) if value else None
    except ValueError:
        return None


def as_json(decision: Decision) -> dict[str, Any]:
    """The decision as plain JSON data."""
    data = asdict(decision)
    data["decided_at"] = decision.decided_at.isoformat()
    return data


def from_json(data: Mapping[str, Any]) -> Decision:
    """Inverse of `as_json`."""
    known = dict(data)
    known["decided_at"] = datetime.fromisoformat(known["decided_at"])
    known["items"] = [ItemDecision(**item) for item in known["items"]]
    return Decision(**known)
