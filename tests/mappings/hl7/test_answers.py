"""A decision on RQA or REF becomes the RPA or RRI the partner expects."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.hl7.wire import parse
from gateway.core.errors import Unmappable
from gateway.core.ports import Decision, ItemDecision
from mappings.fhir_to_hl7 import admission, render_answer, results
from mappings.hl7_to_fhir import convert
from tests.mappings.hl7.corpus import OUTSIDE, lines, of_kind

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
REQUEST = r"""
MSH|^~\&|EHR|CLINIC|GW|PAYER|20260301101500-0500||RQA^I08^RQA_I08|R1|P|2.5.1|||AL|AL||UNICODE UTF-8
RF1|P^Pending^HL70283|R^Routine^HL70280|MED||O|T-1^EHR|20260301
PRD|RP^Referring^HL70286|LOPEZ^EVA^M^^DR|||||1234567893^NPI
PID|1||7^^^CLINIC^MR||DOE^JANE||19700101|F
IN1|1|PPO|ACME|Acme||||||||||||||||||||||||||||||||M7
PR1|1||72148^MRI^C4||20260305
AUT|PPO^Plan^L|ACME^Acme^L|Acme|20260305|20260405|||2
PR1|2||97110^Exercise^C4||20260306
AUT|PPO^Plan^L|ACME^Acme^L|Acme|20260306|20260605|||12
"""


def decided(action: str, *items: ItemDecision, number: str = "", **more: object) -> Decision:
    return Decision(
        case_id="c", version=1, decided_at=AT, action=action, items=items, authorization_number=number, **more  # type: ignore[arg-type]
    )  # fmt: skip


def answer(decision: Decision, request: bytes = b"") -> list[str]:
    raw = render_answer(decision, request or lines(REQUEST), control_id="X1", at=AT)
    return raw.decode().rstrip("\r").split("\r")


def without_ids_and_times(raw: bytes) -> list[str]:
    found = raw.decode("utf-8").replace("\r\n", "\r").replace("\n", "\r").strip("\r").split("\r")
    head = found[0].split("|")
    head[6] = head[9] = ""
    return ["|".join(head), *found[1:]]


DECISIONS = {
    "approved": decided(
        "A1", ItemDecision(sequence=1, action="A1", authorization_number="AUTH-555-01"), number="AUTH-555-01"
    ),
    "denied": decided(
        "A3", ItemDecision(sequence=1, action="A3", note="Denied: conservative treatment under 6 weeks not documented")
    ),
    "pended": decided(
        "A4",
        ItemDecision(
            sequence=1, action="A4", note="Pended for clinical review; submit imaging history by 20260310"
        ),
    ),
    "error": decided(
        "A4", errors=({"code": "101", "location": "IN1^1^36", "text": "Member id missing in IN1-36"},)
    ),
}  # fmt: skip


@pytest.mark.skipif(OUTSIDE is None, reason="GATEWAY_OUTSIDE_DATA is not set")
@pytest.mark.parametrize("name", DECISIONS)
def test_the_answers_of_the_outside_dialogue(name: str) -> None:
    assert OUTSIDE is not None
    request = (OUTSIDE / "synthetic" / "RQA_I08-request.hl7").read_bytes()
    expected = (OUTSIDE / "synthetic" / f"RPA_I08-{name}.hl7").read_bytes()
    made = render_answer(DECISIONS[name], request, control_id="X", at=AT)
    assert without_ids_and_times(made) == without_ids_and_times(expected)


@pytest.mark.skipif(OUTSIDE is None, reason="GATEWAY_OUTSIDE_DATA is not set")
def test_a_referral_is_answered_by_rri() -> None:
    assert OUTSIDE is not None
    expected = (OUTSIDE / "synthetic" / "RRI_I12-accepted.hl7").read_bytes()
    asked = (OUTSIDE / "synthetic" / "RQA_I08-request.hl7").read_bytes().decode().replace("\n", "\r").split("\r")
    kept = [line for line in asked if line[:3] in {"MSH", "RF1", "PRD", "PID"}]
    kept[0] = kept[0].replace("RQA^I08^RQA_I08", "REF^I12^REF_I12").replace("RQA0001", "MSG00112")
    made = render_answer(decided("A1"), "\r".join(kept).encode(), control_id="X", at=AT)
    assert without_ids_and_times(made) == without_ids_and_times(expected)


def test_each_procedure_has_its_own_authorization() -> None:
    items = (
        ItemDecision(sequence=1, action="A1", authorization_number="N1"),
        ItemDecision(sequence=2, action="A2", authorization_number="N2", changes={"quantity": 6}),
    )
    found = answer(decided("A2", *items, number="N1", valid_to="2026-06-30"))
    assert found[2].startswith("RF1|A^Accepted^HL70283|R^Routine^HL70280|MED||O|T-1^EHR")
    grants = [line.split("|") for line in found if line.startswith("AUT")]
    assert [(grant[6], grant[8], grant[9], grant[5], grant[10]) for grant in grants] == [
        ("N1^GW", "2", "2", "20260630", "20260302"),
        ("N1^GW", "2", "2", "20260630", "20260302"),
        ("N2^GW", "12", "6", "20260630", "20260302"),
    ]


def test_a_mixed_decision_says_zero_for_what_is_refused() -> None:
    items = (
        ItemDecision(sequence=1, action="A1", authorization_number="N1"),
        ItemDecision(sequence=2, action="A3", note="no"),
    )
    grants = [line.split("|") for line in answer(decided("A2", *items, number="N1")) if line.startswith("AUT")]
    assert [(grant[6], grant[9]) for grant in grants] == [("N1^GW", "2"), ("N1^GW", "2"), ("", "0")]


def test_a_pended_answer_asks_for_what_is_missing() -> None:
    wanted = ({"fact": "observations", "question": "Which imaging was done?", "loinc": "18748-4"},)
    found = answer(decided("A4", requested_information=wanted))
    assert found[1:3] == ["MSA|AA|R1", found[2]]
    assert found[2].startswith("RF1|P^Pending^HL70283")
    assert found[-1] == "NTE|1||Which imaging was done?"
    assert not [line for line in found if line.startswith("AUT")]


def test_answers_keep_the_senders_delimiters_and_characters() -> None:
    text = REQUEST.replace("&", "@@").replace("^", "%").replace("MSH|%~\\@@|", "MSH|%~\\&|").replace("DOE", "MÜLLER")
    raw = lines(text.replace("UNICODE UTF-8", "8859/1")).decode().encode("latin-1")
    made = render_answer(decided("A1", number="N%1"), raw, control_id="X1", at=AT)
    assert "MÜLLER".encode("latin-1") in made
    assert rb"N\S\1%GW" in made
    assert parse(made).first("AUT").get(6) == "N%1"  # type: ignore[union-attr]


def test_the_answer_reads_back_as_a_claim_response() -> None:
    items = (ItemDecision(sequence=1, action="A1", authorization_number="N1"),)
    raw = render_answer(decided("A1", *items, number="N1"), lines(REQUEST), control_id="X1", at=AT)
    response = of_kind(convert(parse(raw)).bundle, "ClaimResponse")[0]
    assert (response["outcome"], response["preAuthRef"], response["use"]) == ("complete", "N1", "preauthorization")
    action = response["item"][0]["adjudication"][0]["extension"][0]["extension"][0]
    assert action["valueCodeableConcept"]["coding"][0]["code"] == "A1"


def test_only_requests_are_answered() -> None:
    with pytest.raises(Unmappable):
        answer(decided("A1"), lines(r"MSH|^~\&|A|B|C|D|20260301||ADT^A01|1|P|2.5.1"))


def test_notifications_read_back() -> None:
    message = parse(
        lines(
            r"""
MSH|^~\&|LAB|HOSP|GW|PAYER|20260301101500-0500||ORU^R01^ORU_R01|1|P|2.5.1
PID|1||7^^^&1.2.3&ISO^MR||DOE^JANE^Q||19700101|F|||1 ELM ST^^PARIS^TX^75460
PV1|1|I|||||||||||||||||V1^^^HOSP^VN|||||||||||||||||||||||||20260301100000-0500
OBR|1|P1|F1|718-7^Hemoglobin^LN|||20260301091500-0500|||||||||||||||20260301100000-0500|||F
OBX|1|NM|718-7^Hemoglobin^LN||13.50|g/dL^gram per deciliter^UCUM|12-16|N|||F|||20260301091500-0500
OBX|2|TX|8251-1^Comment^LN||line one~line two||||||F
"""
        )
    )
    bundle = convert(message).bundle
    patient, encounter = of_kind(bundle, "Patient")[0], of_kind(bundle, "Encounter")[0]
    observations = of_kind(bundle, "Observation")
    ends = {"sender": ("GW", "PAYER"), "receiver": ("EHR", "HOSP"), "control_id": "N1", "at": AT}
    told = parse(results(patient, of_kind(bundle, "DiagnosticReport")[0], observations, **ends))  # type: ignore[arg-type]
    again = convert(told).bundle
    values = [(row["code"]["coding"], row.get("valueQuantity"), row.get("valueString")) for row in observations]
    assert [
        (row["code"]["coding"], row.get("valueQuantity"), row.get("valueString"))
        for row in of_kind(again, "Observation")
    ] == values
    visit = parse(admission(patient, encounter, trigger="A08", **ends))  # type: ignore[arg-type]
    assert (visit.code, visit.trigger, visit.get("PV1-19"), visit.get("PV1-2")) == ("ADT", "A08", "V1", "I")
    back = of_kind(convert(visit).bundle, "Patient")[0]
    for element in ("name", "birthDate", "gender", "address"):
        assert back[element] == patient[element]
    assert back["identifier"][0]["system"] == "urn:oid:1.2.3"
