"""Evaluate one release on one request: outcome per line, roll-up, what to ask, what to do, and the decision record.

    outcome = evaluate(release, facts, as_of=date(2026, 1, 15), now=instant)

The guard stands here, after every strategy and before anybody sees an action: an adverse action (deny, modify,
partial) of a medical-necessity rule becomes an escalation to a clinician unless a reviewer with an id and a rationale
decided; other denials need the same unless the rule set declares their category automatic.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from gateway.core.errors import InvalidMessage, LimitExceeded
from gateway.rules.calendar import day_in_zone, day_of, shift
from gateway.rules.combine import OPEN, Combined, combine
from gateway.rules.direct import Record
from gateway.rules.documents.writing import write_number
from gateway.rules.missing import Missing, missing_of_rule
from gateway.rules.model import ADVERSE, Action, Duration, Rule, Truth
from gateway.rules.program import Plan
from gateway.rules.quantified import records_of
from gateway.rules.record import DecisionRecord, facts_hash
from gateway.rules.release import ENGINE, Release

CODES = {
    "approve": "A1", "partial": "A2", "deny": "A3", "pend": "A4", "request_info": "A4", "escalate": "A4",
    "modify": "A6", "not_required": "NA", "contact": "CT", "error": "",
}  # fmt: skip
"""Action → X12 element 306. An error is no review outcome: it travels as a business rejection (AAA)."""
MAX_LINES = 999
"""Lines of one request: X12 837 allows 999 of a professional claim, 278 fewer."""


@dataclass(frozen=True, slots=True)
class Reviewer:
    """The person who decided, with the reason. Both parts are needed to finalize an adverse decision."""

    id: str
    rationale: str
    specialty: str = ""

    @property
    def complete(self) -> bool:
        """Whether this reviewer may finalize."""
        return bool(self.id.strip() and self.rationale.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemOutcome:
    """The outcome of one service line. `sequence` 0 stands for the whole request when it has no lines."""

    sequence: int
    action: str
    code: str
    rule: str = ""
    category: str = ""
    reasons: tuple[str, ...] = ()
    note: str = ""
    citation: str = ""
    changes: dict[str, Any]
    valid_to: str = ""
    role: str = ""
    recommended: str = ""
    """The adverse action the guard held back: what a clinician is asked to confirm or overturn."""
    matched: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    requested: tuple[Missing, ...] = ()
    error: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class LineTrace:
    """Every leaf and every rule of one line: aligned with `plan.leaves` and `plan.rules`."""

    sequence: int
    this: Record
    plan: Plan
    results: list[Truth]
    truths: list[Truth]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The decision on a request."""

    action: str
    code: str
    items: tuple[ItemOutcome, ...]
    requested_information: tuple[dict[str, str], ...]
    errors: tuple[dict[str, str], ...]
    tasks: tuple[dict[str, str], ...]
    """People who must look: `{role, kind, sequence, rule, recommended, reason}`."""
    notifications: tuple[dict[str, str], ...]
    valid_from: str
    valid_to: str
    record: DecisionRecord
    trace: tuple[LineTrace, ...]


def evaluate(
    release: Release,
    facts: Record,
    *,
    as_of: date | datetime | None = None,
    now: datetime,
    reviewer: Reviewer | None = None,
) -> Outcome:
    """Decide one request.

    `as_of` (a day, or an instant that becomes a day in the rule set's zone) chooses the rules in force; by default the
    rule set's as-of fact, else `now`. `now` is an aware instant and is only recorded. The same arguments give the
    byte-identical record. Raises LimitExceeded for a request beyond the limits, InvalidMessage without an as-of day.
    """
    day = _as_of(release, facts, as_of, now)
    lines = records_of(facts, "services") or [{}]
    if len(lines) > MAX_LINES:
        raise LimitExceeded(f"more than {MAX_LINES} service lines", location="services")
    traces, items, combined = [], [], []
    for position, this in enumerate(lines, 1):
        code = this.get("code")
        plan = release.program.plan(day, code if isinstance(code, str) else None)
        found, truths = plan.run(facts, this)
        joined = combine(release.ruleset, release.passing, plan.rules, truths)
        trace = LineTrace(_sequence(this, position), this, plan, found, truths)
        traces.append(trace)
        combined.append(joined)
        items.append(_item(release, facts, day, trace, joined, reviewer))
    return _outcome(release, facts, day, now, reviewer, tuple(items), tuple(traces))


def _as_of(release: Release, facts: Record, given: date | datetime | None, now: datetime) -> date:
    if now.tzinfo is None:
        raise InvalidMessage("the clock must be aware", location="now")
    if given is None:
        found = facts.get(release.ruleset.as_of)
        given = (day_of(found, release.ruleset.zone) if isinstance(found, str) else None) or now
    return day_in_zone(given, release.ruleset.zone) if isinstance(given, datetime) else given


def _sequence(this: Record, position: int) -> int:
    if not this:
        return 0
    found = this.get("sequence")
    return found if found.__class__ is int else position


def guarded(release: Release, action: Action, winner: Rule | None, reviewer: Reviewer | None) -> bool:
    """Whether the action must not become final without a person."""
    if reviewer is not None and reviewer.complete:
        return False
    if winner is not None and winner.category == "medical_necessity":
        return action.type in ADVERSE
    category = winner.category if winner is not None else ""
    return action.type == "deny" and category not in release.ruleset.automatic_denials


def _item(
    release: Release, facts: Record, day: date, trace: LineTrace, joined: Combined, reviewer: Reviewer | None
) -> ItemOutcome:
    action, winner, path, recommended = joined.action, joined.winner, joined.path, ""
    held = guarded(release, action, winner, reviewer)
    if held:
        recommended = action.type
        path = (*path, f"{recommended} held for a person: escalate")
    kind = "escalate" if held else action.type
    valid_to = ""
    if kind in ("approve", "modify", "partial") and action.duration is not None:
        valid_to = _valid_to(action, day)
    return ItemOutcome(
        sequence=trace.sequence,
        action=kind,
        code=CODES[kind],
        rule=winner.id if winner is not None else "",
        category=winner.category if winner is not None else "",
        reasons=action.reason_codes,
        note=action.reason,
        citation=action.citation,
        changes=_changes(action),
        valid_to=valid_to,
        role=(action.role or "clinician") if held else action.role,
        recommended=recommended,
        matched=tuple(
            f"{rule.id}@{rule.version}" for rule, truth in zip(trace.plan.rules, trace.truths, strict=True) if truth
        ),
        path=path,
        requested=_requested(release, facts, trace, joined),
        error={"code": action.error_code, "followUp": action.follow_up or "C"} if kind == "error" else None,
    )


def _valid_to(action: Action, day: date) -> str:
    end = shift(day, action.duration) if action.duration else None
    last = shift(end, Duration(1, "day"), -1) if end else None
    return last.isoformat() if last else ""


def _changes(action: Action) -> dict[str, Any]:
    if action.type not in ("modify", "partial"):
        return {}
    changes: dict[str, Any] = {}
    if action.quantity is not None:
        changes["quantity"] = write_number(action.quantity)
    if action.unit:
        changes["unit"] = action.unit
    if action.code:
        changes["code"] = action.code
    return changes


def _requested(release: Release, facts: Record, trace: LineTrace, joined: Combined) -> tuple[Missing, ...]:
    found: dict[tuple[str, str], Missing] = {}
    for index in joined.open_rules:
        rule = trace.plan.rules[index]
        for each in missing_of_rule(release.program.scope, rule, facts, trace.this, trace.results, trace.plan.position):
            found.setdefault((each.fact, each.concept), each)
    if joined.winner is not None and joined.action.type == "request_info":
        for path in joined.action.request:
            entry = release.catalogue.find(path)
            question = (entry.question if entry else "") or f"Please send: {entry.label if entry else path}."
            found.setdefault((path, ""), Missing(path, "", question, entry.loinc if entry else "", joined.winner.id))
    return tuple(found.values())


def roll_up(actions: tuple[str, ...]) -> str:
    """The action of the whole request from those of its lines (X12 element 306 reads from it)."""
    for waiting in ("error", "request_info", "escalate", "pend", "contact"):
        if waiting in actions:
            return waiting
    decided = set(actions) - {"not_required"}
    if not decided:
        return "not_required"
    if len(decided) == 1:
        return decided.pop()
    return "modify" if decided == {"approve", "modify"} else "partial"


def _outcome(
    release: Release,
    facts: Record,
    day: date,
    now: datetime,
    reviewer: Reviewer | None,
    items: tuple[ItemOutcome, ...],
    traces: tuple[LineTrace, ...],
) -> Outcome:
    action = roll_up(tuple(item.action for item in items))
    ends = sorted(item.valid_to for item in items if item.valid_to)
    requested = {(each.fact, each.concept): each for item in items for each in item.requested}
    record = DecisionRecord(
        ruleset=release.ruleset.id,
        version=release.ruleset.version,
        release=release.hash,
        engine=ENGINE,
        as_of=day.isoformat(),
        decided_at=now.isoformat(),
        facts=facts_hash(facts),
        action=action,
        items=tuple(_recorded(item) for item in items),
        unknown=tuple(each.as_json() for each in requested.values()),
        reviewer={"id": reviewer.id, "rationale": reviewer.rationale, "specialty": reviewer.specialty}
        if reviewer
        else {},
    )
    return Outcome(
        action=action,
        code=CODES[action],
        items=tuple(item for item in items if item.sequence or len(items) > 1),
        requested_information=tuple(each.request() for each in requested.values()),
        errors=tuple(dict(item.error) for item in items if item.error is not None),
        tasks=tuple(_task(item) for item in items if item.action in ("escalate", "contact")),
        notifications=_notifications(items, traces),
        valid_from=day.isoformat() if ends else "",
        valid_to=ends[0] if ends else "",
        record=record,
        trace=traces,
    )


def _recorded(item: ItemOutcome) -> dict[str, Any]:
    return {
        "sequence": item.sequence,
        "action": item.action,
        "code": item.code,
        "rule": item.rule,
        "reasons": list(item.reasons),
        "note": item.note,
        "citation": item.citation,
        "changes": item.changes,
        "validTo": item.valid_to,
        "recommended": item.recommended,
        "matched": list(item.matched),
        "path": list(item.path),
        "error": item.error,
    }


def _task(item: ItemOutcome) -> dict[str, str]:
    return {
        "role": item.role or "reviewer",
        "kind": "clinician_review" if item.recommended and item.category == "medical_necessity" else item.action,
        "sequence": str(item.sequence),
        "rule": item.rule,
        "recommended": item.recommended,
        "reason": item.note,
    }


def _notifications(items: tuple[ItemOutcome, ...], traces: tuple[LineTrace, ...]) -> tuple[dict[str, str], ...]:
    """The deciding rules' notifications, each once; a held action notifies nobody outside."""
    found: dict[tuple[str, str], None] = {}
    for item, trace in zip(items, traces, strict=True):
        if item.recommended or item.action == OPEN.type:
            continue
        for rule in trace.plan.rules:
            if rule.id == item.rule:
                found.update({(each.to, each.template): None for each in rule.notifications})
    return tuple({"to": to, "template": template} for to, template in found)
