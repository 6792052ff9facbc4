"""X12 element 306 (HCR01) as this gateway uses it: what each review action means for the answer. Data only.

Codes are X12's; the words are ours. `A6` is modified (some public code says cancelled: wrong).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReviewAction:
    """One review action."""

    words: str
    state: str
    """State of the item in the gateway and in the public metrics."""
    approved: bool = False
    """An authorization number, dates and providers belong to it."""
    final: bool = True
    """False: another answer must follow (subscription notification)."""
    needs_reason: bool = False
    """Never sent without a reason code (list 886) or a note (42 CFR 431.80, 457.732; PAS FHIR-56288)."""
    replaces: bool = False
    """What is authorized differs and stands in addItem under the same itemSequence (spec-36, spec-37)."""


ACTIONS: dict[str, ReviewAction] = {
    "A1": ReviewAction("Certified in total", "approved", approved=True),
    "A2": ReviewAction("Certified in part", "partially-approved", approved=True),
    "A3": ReviewAction("Not certified", "denied", needs_reason=True),
    "A4": ReviewAction("Pended", "pended", final=False),
    "A6": ReviewAction("Modified", "modified", approved=True, replaces=True),
    "C": ReviewAction("Cancelled", "cancelled"),
    "CT": ReviewAction("Contact payer", "contact"),
    "NA": ReviewAction("No action required", "not-required"),
}


def roll_up(codes: list[str]) -> str:
    """The action of the whole case from its items'.

    Any pended item pends the case; items that agree give their code; cancelled and not-required items do not count
    against the rest; any other mixture is partial when something is approved, else the first code.
    """
    if not codes:
        return "A4"
    if "A4" in codes:
        return "A4"
    telling = [code for code in codes if code not in ("C", "NA")] or codes
    if len(set(telling)) == 1:
        return telling[0]
    return "A2" if any(ACTIONS[code].approved for code in telling if code in ACTIONS) else telling[0]
