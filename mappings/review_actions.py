"""X12 element 306 (HCR01) as this gateway uses it: what each review action means for the answer. Data only.

Codes are X12's; the words are ours. `A6` is modified (some public code says cancelled: wrong).
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.stages.decide import roll_up

__all__ = ["ACTIONS", "ReviewAction", "roll_up"]
# The roll-up of items to a case is the decide stage's: one rule for every rail.


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
