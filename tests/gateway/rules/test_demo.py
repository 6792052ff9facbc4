"""The demonstration rule set: one made-up service code per decision, as its table says."""

from __future__ import annotations

import pytest

from gateway.rules.engine import evaluate
from gateway.rules.templates import load

TABLE = {
    "X1001": ("approve", "A1"),
    "X1002": ("modify", "A6"),
    "X1003": ("partial", "A2"),
    "X1004": ("deny", "A3"),
    "X1005": ("pend", "A4"),
    "X1006": ("not_required", "NA"),
    "X1007": ("contact", "CT"),
    "X1008": ("error", ""),
    "X1009": ("request_info", "A4"),
    "X1010": ("escalate", "A4"),
    "X1011": ("request_info", "A4"),
    "X1012": ("request_info", "A4"),
    "E1390": ("pend", "A4"),
}


@pytest.mark.parametrize(("code", "expected"), TABLE.items())
def test_code_names_the_decision(catalogue, now, code, expected):
    outcome = evaluate(load("demo", catalogue), {"services": [{"sequence": 1, "code": code}]}, now=now)
    assert (outcome.action, outcome.code) == expected
    assert [(item.sequence, item.action) for item in outcome.items] == [(1, expected[0])]


def test_changes_errors_tasks_and_questions_are_there(catalogue, now):
    def decide(*codes):
        services = [{"sequence": number, "code": code} for number, code in enumerate(codes, 1)]
        return evaluate(load("demo", catalogue), {"services": services}, now=now)

    assert decide("X1002").items[0].changes == {"quantity": 5}
    assert decide("X1008").errors == ({"code": "33", "followUp": "C"},)
    assert decide("X1009").requested_information[0]["question"] == "Please send the operative report."
    assert decide("X1011").requested_information[0]["questionnaire"] == "demo-questionnaire-1"
    asked = decide("X1012").requested_information[0]
    assert (asked["reportType"], asked["modifier"], asked["loinc"]) == ("LA", "18804-5", "")
    assert decide("X1010").tasks[0]["kind"] == "clinician_review"
    assert decide("X1001").valid_to == "2026-07-14"
    mixed = decide("X1001", "X1004", "X1006")
    assert (mixed.action, mixed.code) == ("partial", "A2")
    assert [item.code for item in mixed.items] == ["A1", "A3", "NA"]
