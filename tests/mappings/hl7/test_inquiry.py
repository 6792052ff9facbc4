"""Questions in HL7 v2 after an authorization: what is one, which case is meant, and what RPA or RRI tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.hl7.wire import Message, parse
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.ports import Decision, ItemDecision, Reading
from mappings.hl7_codec import Hl7Codec
from mappings.hl7_inquiry import answer, answer_place, coding_name, lookup, means
from mappings.inquire import FoundCase

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RQA = """MSH|^~\\&|EHR|CLINIC|GW|PAYER|20260301||RQA^I08^RQA_I08|Q1|P|2.5.1{ask}
RF1|P|||||R77^EHR
AUT|PPO^Plan^L|ACME||||{number}
PRD|RP^Referring^HL70286|LOPEZ^EVA|||||1234567893^NPI
PID|1||7^^^CLINIC^MR||DOE^JANE||19700101|F
IN1|1|PPO|ACME|Acme||||||||||||||||||||||||||||||||M77
"""
REF = """MSH|^~\\&|EHR|CLINIC|GW|PAYER|20260301||REF^I15^REF_I12|Q2|P|2.5.1
RF1|P|||||R77^EHR
PRD|RP^Referring^HL70286|LOPEZ^EVA|||||1234567893^NPI
PID|1||7^^^CLINIC^MR||DOE^JANE||19700101|F
"""
FACTS: dict[str, Any] = {
    "coverage.memberId": "M77",
    "patient.id": "7",
    "patient.birthDate": "1970-01-01",
    "provider.npi": "1234567893",
    "request.traceNumber": "R77",
    "services": [
        {
            "sequence": 3,
            "code": "97110",
            "system": "http://www.ama-assn.org/go/cpt",
            "quantity": 8,
            "start": "2026-03-05",
        },
        {"sequence": 7, "code": "X1", "system": "http://example.org/own", "start": "2026-03-06", "end": "2026-03-08"},
    ],
}
DECISION = Decision(
    case_id="c",
    version=2,
    decided_at=NOW,
    action="A2",
    items=[
        ItemDecision(sequence=3, action="A1", authorization_number="PA9"),
        ItemDecision(sequence=7, action="A3", reasons=("0V",), note="Not covered."),
    ],
    authorization_number="PA9",
    valid_from="2026-03-05",
    valid_to="2026-06-03",
)
CASE = FoundCase(facts=FACTS, decision=DECISION, numbers=("PA9", "AR1"))


def read(text: str, **attributes: str) -> Reading:
    reception = Reception(tenant="t", source="hl7/clinic", received_at=NOW, client="clinic", attributes=attributes)
    return Hl7Codec(waits=12).read(Raw.of(text.replace("\n", "\r").encode(), "application/hl7-v2"), reception)


def rqa(number: str = "PA9", ask: str = "") -> str:
    return RQA.format(number=number, ask=ask)


def asked(text: str) -> Intake:
    (intake,) = read(text).intakes
    return intake


def told(text: str, found: FoundCase | None) -> Message:
    data = answer(text.replace("\n", "\r").encode(), found, control_id="G1", at=NOW)
    return parse(data)


def test_what_names_an_authorization_and_no_service_is_a_question() -> None:
    assert (asked(rqa()).type, asked(rqa()).parked) == ("authorization.inquiry", "inquiry")
    assert asked(REF).type == "authorization.inquiry"
    for text in (rqa(""), rqa() + "PR1|1||97110^^C4\n", rqa() + "OBR|1|||80053^^L\n", rqa().replace("I08", "I10")):
        assert asked(text).type in ("authorization.request", "authorization.update")
        assert asked(text).parked == ""


def test_a_question_is_no_fast_lane_request() -> None:
    assert "lane" not in asked(rqa()).reply


def test_the_case_is_looked_for_by_authorization_else_by_referral() -> None:
    assert lookup(asked(rqa()).facts) == (("authorization", "PA9"), ("administrative-reference", "PA9"))
    assert lookup(asked(REF).facts) == (("trace", "R77"),)


@pytest.mark.parametrize("text", [rqa(), rqa("AR1"), REF])
def test_number_patient_and_provider_must_be_the_cases(text: str) -> None:
    facts = asked(text).facts
    assert means(facts, CASE)
    assert means(facts, replace(CASE, facts=FACTS | {"provider.npi": "1"}, npis=("1234567893",)))
    for other in ({"provider.npi": "1"}, {"coverage.memberId": "M1", "patient.id": "8"}):
        assert not means(facts, replace(CASE, facts=FACTS | other))
    assert not means(facts, replace(CASE, numbers=("PA8",), facts=FACTS | {"request.traceNumber": "R78"}))


def test_a_question_without_a_patient_finds_nothing() -> None:
    nobody = {name: value for name, value in FACTS.items() if not name.startswith(("patient", "coverage"))}
    facts = {name: value for name, value in asked(REF).facts.items() if not name.startswith("patient")}
    assert not means(facts, replace(CASE, facts=nobody))


def test_the_answer_has_the_cases_services_with_their_decisions() -> None:
    answered = told(rqa(), CASE)
    assert (answered.code, answered.trigger, answered.get("MSA-1"), answered.get("MSA-2")) == ("RPA", "I08", "AA", "Q1")
    assert answered.get("RF1-1") == "A"
    assert [part.get(3) for part in answered.all("PR1")] == ["97110", "X1"]
    assert [part.get(3, 3) for part in answered.all("PR1")] == ["C4", "L"]
    names = [part.name for part in answered.segments]
    assert names[names.index("PR1") :][:4] == ["PR1", "AUT", "PR1", "AUT"]
    whole, first, second = answered.all("AUT")
    assert (whole.get(6), first.get(6), first.get(8), first.get(9)) == ("PA9", "PA9", "8", "8")
    assert (second.get(6), second.get(9)) == ("", "0")
    assert [part.get(3) for part in answered.all("NTE")] == ["Not covered."]


def test_a_pending_case_is_told_as_pending_under_the_referrals_own_answer() -> None:
    waiting = Decision(
        case_id="c", version=1, decided_at=NOW, action="A4", items=[ItemDecision(sequence=3, action="A4")]
    )
    answered = told(REF, replace(CASE, decision=waiting))
    assert (answered.code, answered.trigger, answered.get("RF1-1")) == ("RRI", "I15", "P")
    assert answered.all("AUT") == ()


@pytest.mark.parametrize(("text", "place"), [(rqa(), "AUT"), (REF, "RF1")])
def test_nothing_found_is_an_unknown_key(text: str, place: str) -> None:
    answered = told(text, None)
    assert (answered.get("MSA-1"), answered.get("ERR-3"), answered.get("ERR-2")) == ("AE", "204", place)


@pytest.mark.parametrize(
    ("ask", "own", "place"),
    [
        ("", False, "instead"),
        ("", True, "instead"),
        ("|||NE|AL", False, "instead"),
        ("|||AL|AL", False, "after"),
        ("|||AL|AL", True, "later"),
        ("|||AL|NE", False, "never"),
        ("|||NE|NE", False, "never"),
    ],
)
def test_where_the_answer_goes(ask: str, own: bool, place: str) -> None:
    header = parse(rqa(ask=ask).replace("\n", "\r").encode()).header
    assert answer_place(header, own_connection=own) == place


@pytest.mark.parametrize("kind", ["QBP^Q11", "RQI^I01", "RQC^I05", "QRY^A19", "RQP^I04"])
def test_queries_that_nobody_answers_are_refused_by_name(kind: str) -> None:
    reading = read(f"MSH|^~\\&|EHR|CLINIC|GW|PAYER|20260301||{kind}|Q3|P|2.5.1\n")
    text = (reading.answer(None) or b"").decode()
    assert reading.refused
    assert "MSA|AR|Q3" in text
    assert "|200^" in text


def test_a_code_system_is_named_as_in_table_0396() -> None:
    assert coding_name("http://hl7.org/fhir/sid/icd-10-cm") == "I10"
    assert coding_name("") == "L"
