"""Lines that a requester takes back are confirmed as cancelled, whatever a rule says of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.core.ports import ItemDecision
from gateway.stages.decide import Verdict, decide

CASE = "4c3ac947-226b-5bea-a424-32d04bf2065d"
NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
VERDICT = Verdict(
    items=[ItemDecision(sequence=1, action="A1"), ItemDecision(sequence=2, action="A3", reasons=("0V",), note="no")]
)


@pytest.mark.parametrize(
    ("facts", "actions", "whole"),
    [
        ({"services": [{"sequence": 1}, {"sequence": 2}]}, ["A1", "A3"], "A2"),
        ({"services": [{"sequence": 1}, {"sequence": 2, "change": "cancelled"}]}, ["A1", "C"], "A1"),
        ({"services": [{"sequence": 1, "certificationType": "3"}, {"sequence": 2}]}, ["C", "A3"], "A3"),
        ({"request.certificationType": "3", "services": [{"sequence": 1}, {"sequence": 2}]}, ["C", "C"], "C"),
    ],
)
def test_withdrawn_lines_are_cancelled(facts: dict[str, Any], actions: list[str], whole: str) -> None:
    decision = decide(VERDICT, case_id=CASE, version=2, now=NOW, facts=facts)
    assert [item.action for item in decision.items] == actions
    assert decision.action == whole
    assert all(not item.reasons for item in decision.items if item.action == "C")
