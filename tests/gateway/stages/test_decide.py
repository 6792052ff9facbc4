"""Decide: one action from many, one content per decision, and a verdict from a real rule set."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import registry
from gateway.app.policies import policies
from gateway.core.errors import ConfigurationError
from gateway.core.ports import ItemDecision
from gateway.core.settings import Settings
from gateway.rules import templates
from gateway.stages.decide import Verdict, as_json, authorization_number, decide, from_json, roll_up
from gateway.stages.policy import Policies
from mappings.facts import catalogue
from tests.gateway.stages.fakes import NOW

CASE = "6f3a5f0e-8f0b-5d57-9a53-0c7c7a6a4a11"
OTHER = "0b7c1d2e-8f0b-5d57-9a53-0c7c7a6a4a11"
ACTIONS = ["A1", "A2", "A3", "A4", "A6", "C", "CT", "NA"]


@pytest.mark.parametrize(
    ("actions", "action"),
    [
        ([], "A4"),
        (["A1"], "A1"),
        (["A3", "A3"], "A3"),
        (["C", "C"], "C"),
        (["A1", "C"], "A1"),
        (["A3", "C"], "A3"),
        (["A1", "A4"], "A4"),
        (["A3", "A4", "CT"], "A4"),
        (["A1", "A3"], "A2"),
        (["A6", "A3"], "A2"),
        (["A2", "NA"], "A2"),
        (["A1", "A2"], "A2"),
        (["A1", "NA"], "A1"),
        (["A1", "A6"], "A6"),
        (["A6", "NA"], "A6"),
        (["A3", "NA"], "A3"),
        (["A1", "CT"], "CT"),
        (["A3", "CT"], "CT"),
    ],
)
def test_roll_up(actions: list[str], action: str) -> None:
    assert roll_up(actions) == action


@given(st.lists(st.sampled_from(ACTIONS), max_size=12))
def test_order_and_repetition_do_not_matter_and_nothing_is_approved_by_itself(actions: list[str]) -> None:
    assert roll_up(actions) == roll_up(sorted(set(actions))) == roll_up(actions * 2)
    if not set(actions) & {"A1", "A2", "A6"}:
        assert roll_up(actions) not in {"A1", "A2", "A6"}


def verdict(*actions: str, **given: Any) -> Verdict:
    items = [ItemDecision(sequence=number, action=action) for number, action in enumerate(actions, 1)]
    return Verdict(items=items, **given)


def made(given: Verdict, facts: dict[str, Any] | None = None, case_id: str = CASE) -> Any:
    return decide(given, case_id=case_id, version=2, now=NOW, facts=facts or {})


def test_the_same_verdict_on_the_same_case_is_the_same_decision() -> None:
    assert as_json(made(verdict("A1", "A3"))) == as_json(made(verdict("A1", "A3")))
    assert made(verdict("A1")).authorization_number != made(verdict("A1"), case_id=OTHER).authorization_number


def test_json_and_back() -> None:
    for one in (verdict("A1", "A3", validity_days=10), verdict("A4"), verdict(errors=[{"code": "33"}])):
        assert from_json(as_json(made(one))) == made(one)


def test_only_what_is_approved_has_a_number_and_a_validity() -> None:
    decision = made(verdict("A1", "A3"))
    assert [item.authorization_number for item in decision.items] == [authorization_number(CASE), ""]
    denied = made(verdict("A3"))
    assert (denied.authorization_number, denied.valid_from, denied.valid_to) == ("", "", "")


def test_a_number_already_given_stays() -> None:
    kept = Verdict(items=[ItemDecision(sequence=1, action="A1", authorization_number="KEPT")])
    assert made(kept).items[0].authorization_number == "KEPT"


def test_a_pended_case_is_asked_for_by_its_reference() -> None:
    assert made(verdict("A1", "A4")).administrative_reference.startswith("AR")
    assert made(verdict("A1")).administrative_reference == ""


def test_a_business_rejection_is_no_decision() -> None:
    assert made(verdict(errors=[{"code": "33"}])).action == ""


@pytest.mark.parametrize(
    ("start", "end", "days", "validity"),
    [
        (None, None, None, ("2026-01-15", "2026-04-15")),
        ("2026-02-01", None, 10, ("2026-02-01", "2026-02-11")),
        ("2026-02-01", "2026-12-31", 10, ("2026-02-01", "2026-12-31")),
        ("2026-02-01", "2026-02-02", 10, ("2026-02-01", "2026-02-11")),
        ("20260201", None, 10, ("2026-02-01", "2026-02-11")),
        ("nonsense", "2026-13-40", 1, ("2026-01-15", "2026-01-16")),
        ("9999-12-31", None, 10, ("9999-12-31", "9999-12-31")),
    ],
)
def test_validity(start: str | None, end: str | None, days: int | None, validity: tuple[str, str]) -> None:
    facts = {"request.serviceStart": start, "request.serviceEnd": end}
    decision = made(verdict("A1", validity_days=days), facts)
    assert (decision.valid_from, decision.valid_to) == validity


@given(st.dates() | st.dates(min_value=date(9990, 1, 1)), st.dates() | st.none(), st.integers(1, 100_000))
def test_whatever_dates_are_asked_for_a_decision_comes(start: date, end: date | None, days: int) -> None:
    """A decide step that cannot end would keep its case open for ever."""
    facts = {"request.serviceStart": start.isoformat(), "request.serviceEnd": end.isoformat() if end else None}
    decision = made(verdict("A1", validity_days=days), facts)
    assert decision.valid_from <= decision.valid_to


POLICIES = Policies({name: templates.load(name, catalogue()) for name in ("demo", "eligibility")})


def applied(*codes: str) -> Verdict:
    services = [{"sequence": number, "code": code} for number, code in enumerate(codes, 1)]
    return POLICIES({"services": services}, ruleset="demo", tenant="acme", as_of=NOW, now=NOW)


@pytest.mark.parametrize(
    ("code", "action"),
    [
        ("X1001", "A1"), ("X1002", "A6"), ("X1003", "A2"), ("X1004", "A3"), ("X1005", "A4"),
        ("X1006", "NA"), ("X1007", "CT"), ("X1009", "A4"), ("X1010", "A4"), ("X1011", "A4"), ("X1012", "A4"),
        ("99213", "A4"),
    ],
)  # fmt: skip
def test_the_demonstration_policy(code: str, action: str) -> None:
    assert [item.action for item in applied(code).items] == [action]
    assert made(applied(code)).action == action


def test_each_line_has_its_own_outcome() -> None:
    given = applied("X1001", "X1004", "X1005")
    assert [(item.sequence, item.action) for item in given.items] == [(1, "A1"), (2, "A3"), (3, "A4")]


def test_a_business_rejection_carries_its_codes() -> None:
    given = applied("X1008")
    assert [(error["code"], error["followUp"]) for error in given.errors] == [("33", "C")]
    assert given.items == []


def test_what_is_missing_is_asked_for_and_never_approved() -> None:
    given = applied("X1009")
    assert [item["loinc"] for item in given.requested_information] == ["11504-8"]
    assert given.items[0].action == "A4"


def test_what_one_line_alone_waits_for_names_the_line() -> None:
    asked = applied("X1001", "X1009", "X1009", "X1012").requested_information
    assert [(row.get("line"), row["loinc"], row.get("reportType")) for row in asked] == [
        (None, "11504-8", None),
        ("4", "", "LA"),
    ]


def test_a_request_without_lines_is_decided_as_a_whole() -> None:
    assert [item.action for item in applied().items] == ["A4"]


def test_a_medical_denial_is_never_made_by_rule_alone() -> None:
    assert applied("X1010").items[0].action == "A4"


def test_the_record_says_which_release_decided() -> None:
    assert applied("X1001").record == applied("X1001").record
    assert applied("X1001").record["release"]


def test_an_unknown_rule_set_is_our_fault() -> None:
    with pytest.raises(ConfigurationError):
        POLICIES({}, ruleset="nobody", tenant="acme", as_of=NOW, now=NOW)


def test_every_rule_set_of_the_registry_loads() -> None:
    assert policies(Settings()).releases.keys() == registry.RULE_SETS.keys()
