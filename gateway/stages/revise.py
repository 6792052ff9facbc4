"""May a further message revise a case as it stands? Pure.

A denied or cancelled authorization is not revised: what is wanted then is a new request, or an appeal (UM02 1 or 2),
and the sender is told so by a business rejection (X12 AAA; PAS spec-64, ClaimResponse.error), never by a silent second
decision and never by an error of transport. A request that arrives after its own update is refused in the same way
while the authorization is open, because it would set it back; once that is denied or cancelled, it is a new request.
Such a refusal is no decision: what was decided before still stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.ports import Decision
from gateway.stages.decide import CANCEL, Verdict

REQUEST, UPDATE, WITHDRAWAL = "authorization.request", "authorization.update", "authorization.cancel"
STATEMENTS = frozenset({REQUEST, UPDATE, WITHDRAWAL})
"""Messages that state a request as a whole; others add to it."""
DENIED, CANCELLED = "A3", "C"
FINISHED = frozenset({DENIED, CANCELLED})
"""Review actions after which there is nothing left to revise."""
APPEALS = frozenset({"1", "2"})
"""UM02: appeal, immediate and standard. An appeal is of a denial: it is never refused here."""
REJECTION = {"code": "33", "followUp": "N"}
"""X12 901 (input errors) and 889 (resubmission not allowed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One thing a case was told, in order: a message by its type, or a decision."""

    message: str = ""
    decision: Decision | None = None


def standing(decisions: Sequence[Decision]) -> Decision | None:
    """The decision in force: the newest that is no mere rejection of a message; None while there is none."""
    return next((made for made in reversed(decisions) if made.items or not made.errors), None)


def refusal(told: Sequence[Told], facts: Mapping[str, Any]) -> Verdict | None:
    """The business rejection of the newest message, or None where it may be decided.

    `told`: the case's messages and decisions, oldest first, up to now; `facts`: those of the newest message. Where a
    decision came last, the newest message has had its answer.
    """
    if len(told) < 2:
        return None
    newest, earlier = told[-1].message, told[:-1]
    before = standing([row.decision for row in earlier if row.decision is not None])
    finished = before is not None and before.action in FINISHED
    if newest == REQUEST:
        return None if finished or _stated(earlier) not in (UPDATE, WITHDRAWAL) else _rejected("2000E-TRN")
    if newest not in (UPDATE, WITHDRAWAL) or before is None or not finished:
        return None
    certification = str(facts.get("request.certificationType", ""))
    cancelled_again = before.action == CANCELLED and (newest == WITHDRAWAL or certification == CANCEL)
    if certification in APPEALS or cancelled_again:
        return None
    return _rejected("2000E-UM02")


def _stated(told: Sequence[Told]) -> str:
    """The message that states the case as it stands: the newest that was not rejected."""
    stated: list[str] = []
    for row in told:
        if row.message in STATEMENTS:
            stated.append(row.message)
        elif row.decision is not None and row.decision.errors and not row.decision.items:
            stated = stated[:-1]
    return stated[-1] if stated else ""


def _rejected(location: str) -> Verdict:
    row = REJECTION | {"location": location, "path": "Bundle.entry[0].resource"}
    return Verdict(items=(), errors=(row,))
