"""278 inquiries: what they ask, and every decision told in answer, through the guide."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gateway.core.ports import Decision, ItemDecision
from mappings.inquire import FoundCase, match_query
from mappings.review_actions import ACTIONS
from mappings.x12_inquiry import answer
from tests.mappings.x12.bench import NOW, read_bytes, segments, transaction, written

INQUIRY = b"""ISA*00*          *00*          *ZZ*CLEARHOUSE     *ZZ*GATEWAY        *260115*1200*^*00501*000000017*0*T*:~
GS*HI*CLEARHOUSE*GATEWAY*20260115*1200*17*X*005010X215~
ST*278*0001*005010X215~
BHT*0007*28*T100*20260115*1200*RD~
HL*1**20*1~
NM1*X3*2*SAMPLE HEALTH PLAN*****PI*PAYER01~
HL*2*1*21*1~
NM1*1P*2*SAMPLE CLINIC*****XX*1234567893~
HL*3*2*22*1~
NM1*IL*1*TESTPERSON*ALMA****MI*M12345678~
HL*4*3*EV*1~
TRN*1*T100*9012345678~
REF*BB*OLD1~
HL*5*4*SS*0~
DTP*472*D8*20260201~
SV1*HC:97110~
SE*15*0001~
GE*1*17~
IEA*1*000000017~
"""
SERVICES = [
    {"sequence": 1, "code": "G0154", "quantity": 10, "start": "2026-02-01", "end": "2026-03-01"},
    {"sequence": 4, "code": "E0431"},
]


def case(action: str, **fields: Any) -> FoundCase:
    reasons = ("0V",) if action == "A3" else ()
    items = [ItemDecision(sequence=number, action=action, reasons=reasons) for number in (1, 4)]
    number = "AUTH-1" if ACTIONS[action].approved else ""
    decision = Decision(case_id="c", version=3, decided_at=NOW, action=action, items=items, authorization_number=number)
    return FoundCase(facts={"services": SERVICES}, decision=dataclasses.replace(decision, **fields))


def told(found: FoundCase | None) -> list[str]:
    (intake,) = read_bytes(INQUIRY).intakes
    return segments(transaction(written("278_inquiry_response", answer(intake.reply["event"], found, NOW))))


def test_an_inquiry_asks_what_inquire_asks_and_opens_no_case() -> None:
    reading = read_bytes(INQUIRY)
    assert not reading.issues
    (intake,) = reading.intakes
    assert (intake.type, intake.parked, intake.case_key) == ("authorization.inquiry", "inquiry", ())
    query = match_query(intake.resource or {})
    assert (query.member_id, query.npis, query.services) == ("M12345678", ("1234567893",), ("97110",))
    assert query.keys == (("authorization", "OLD1"),)
    assert query.start == "2026-02-01"


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_told_with_its_services(action: str) -> None:
    lines = told(case(action))
    assert lines.count("TRN*2*T100*9012345678") == 1
    reviews = [line for line in lines if line.startswith("HCR*")]
    assert [line.split("*")[1] for line in reviews] == [action] * 3
    assert [line for line in lines if line.startswith("SV1")] == ["SV1*HC:G0154**UN*10", "SV1*HC:E0431"]
    assert "DTP*472*RD8*20260201-20260301" in lines
    assert not any("OLD1" in line for line in lines)


def test_no_case_is_an_authorization_not_found_and_no_denial() -> None:
    lines = told(None)
    assert "AAA*N**AA*C" in lines
    assert not any(line.startswith(("HCR", "SV1")) for line in lines)


def test_a_decision_that_x12_cannot_say_is_for_later() -> None:
    odd = case("A1", items=[ItemDecision(sequence=1, action="A9")])
    assert "AAA*Y**42*Y" in told(odd)
