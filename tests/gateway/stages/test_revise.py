"""A message that may not revise its case is rejected as business; everything else is decided."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.core.ports import Decision, ItemDecision
from gateway.stages.revise import Told, refusal, standing

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
REQUEST, UPDATE, CANCEL, ATTACHMENT = (
    Told(message=f"authorization.{kind}") for kind in ("request", "update", "cancel", "attachment")
)


def decided(action: str) -> Told:
    items = (ItemDecision(sequence=1, action=action),)
    return Told(decision=Decision(case_id="c", version=2, decided_at=NOW, action=action, items=items))


REJECTED = Told(decision=Decision(case_id="c", version=4, decided_at=NOW, action="", errors=({"code": "33"},)))


@pytest.mark.parametrize(
    ("told", "certification", "location"),
    [
        ([REQUEST], "", ""),
        ([REQUEST, decided("A1"), UPDATE], "", ""),
        ([REQUEST, decided("A4"), UPDATE], "", ""),
        ([REQUEST, decided("A2"), CANCEL], "3", ""),
        ([REQUEST, decided("A3"), UPDATE], "S", "2000E-UM02"),
        ([REQUEST, decided("A3"), CANCEL], "3", "2000E-UM02"),
        ([REQUEST, decided("A3"), UPDATE, REJECTED, UPDATE], "S", "2000E-UM02"),
        ([REQUEST, decided("A1"), CANCEL, decided("C"), UPDATE], "S", "2000E-UM02"),
        ([REQUEST, decided("A1"), CANCEL, decided("C"), CANCEL], "3", ""),
        ([REQUEST, decided("A3"), UPDATE], "1", ""),
        ([REQUEST, decided("A3"), UPDATE], "2", ""),
        ([REQUEST, decided("A3"), ATTACHMENT], "", ""),
        ([REQUEST, decided("A3"), REQUEST], "", ""),
        ([REQUEST, decided("A1"), UPDATE, decided("A1"), REQUEST], "", "2000E-TRN"),
        ([UPDATE, decided("A1"), REQUEST], "", "2000E-TRN"),
        ([REQUEST, decided("A1"), UPDATE, decided("A1"), REQUEST, REJECTED, REQUEST], "", "2000E-TRN"),
        ([REQUEST, decided("A1"), UPDATE, decided("A1"), CANCEL, decided("C"), REQUEST], "", ""),
        ([REQUEST, decided("A3"), UPDATE, REJECTED, REQUEST], "", ""),
        ([UPDATE, decided("A1"), CANCEL, decided("C"), REQUEST, decided("A1"), REQUEST], "", ""),
        ([REQUEST, UPDATE, decided("A3")], "S", ""),
        ([REQUEST, REJECTED, UPDATE], "S", ""),
    ],
)
def test_what_is_finished_is_not_revised(told: list[Told], certification: str, location: str) -> None:
    verdict = refusal(told, {"request.certificationType": certification})
    assert [row["location"] for row in (verdict.errors if verdict else ())] == ([location] if location else [])
    assert verdict is None or not verdict.items


def test_a_rejection_leaves_the_decision_before_it_standing() -> None:
    denial, rejection = decided("A3").decision, REJECTED.decision
    assert denial is not None
    assert rejection is not None
    assert standing([denial, rejection]) is denial
    assert standing([rejection]) is None
    assert standing([]) is None
