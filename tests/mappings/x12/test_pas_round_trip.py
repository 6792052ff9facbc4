"""PAS → 278 → PAS loses nothing the 278 has a place for; what it has no room for is reported."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.fhir.wire import terms
from adapters.fhir.wire.elements import extension_value
from gateway.core.ports import Decision, ItemDecision
from mappings.claim_to_x12_278 import Rendering, request
from mappings.decision_to_claimresponse import render
from mappings.decision_to_x12_278 import response
from mappings.fhir_claim import view_claim
from mappings.review_actions import roll_up
from mappings.x12_278_to_decision import decision_of
from mappings.x12_278_to_fhir import request_bundle
from mappings.x12_bundle import Transmission
from mappings.x12_tables import X12
from tests.mappings.x12.bench import CASES, NOW, plain, read_bytes, read_case, segments, transaction, written

PAS = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "")) / "pas"
needs_data = pytest.mark.skipif(not os.environ.get("GATEWAY_OUTSIDE_DATA"), reason="GATEWAY_OUTSIDE_DATA is not set")
EXAMPLES = int(os.environ.get("GATEWAY_EXAMPLES", "40"))


def back(rendering: Rendering) -> dict[str, Any]:
    """Through the writer and the reader, and to a Bundle again."""
    tree = transaction(written("278_request", rendering.tree))
    bundle, _ = request_bundle(next(tree.descendants("2000E")), Transmission(sender="S"), "2026-01-15T12:00:00Z")
    return bundle


def table_3_8(bundle: dict[str, Any]) -> dict[str, Any]:
    """The fields of the published hints that both sides have, in one comparable form."""
    claim = bundle["entry"][0]["resource"]
    view = view_claim(bundle)
    return {
        "transaction": view.bundle_identifier[1],
        "trace": (view.trace[1], view.trace_department),
        "level": view.level_of_service,
        "member": view.member_id,
        "insurer": (view.insurer.name, view.insurer.identifiers[:1]),
        "provider": (view.provider.name, view.provider.npi),
        "authorization": extension_value(claim, terms.AUTHORIZATION_NUMBER),
        "reference": extension_value(claim, terms.ADMINISTRATION_REFERENCE),
        "diagnoses": [
            (
                row["diagnosisCodeableConcept"]["coding"][0]["code"],
                [kind["coding"][0]["code"] for kind in row.get("type", [])],
                extension_value(row, terms.DIAGNOSIS_RECORDED),
            )
            for row in claim.get("diagnosis", [])
        ],
        "information": [
            {name: row[name] for name in row if name not in ("sequence", "category")}
            for row in claim.get("supportingInfo", [])
        ],
        "lines": [
            (
                line.code,
                line.modifiers,
                line.category,
                line.request_type,
                line.certification_type,
                None if line.quantity is None else Decimal(str(line.quantity)),
                line.unit,
                line.start,
                line.end,
                line.place_of_service,
                None if line.amount is None else Decimal(str(line.amount)),
                [value for _, value in line.traces],
                line.authorization_number,
                line.administration_reference,
            )
            for line in view.lines
        ],
    }


def concept(element: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": X12 + element, "code": code}]}


codes = st.sampled_from(["97110", "99213", "33510", "E0424", "G0154", "J1100"])
days = st.dates(min_value=NOW.date().replace(year=2020), max_value=NOW.date().replace(year=2030)).map(str)
numbers = st.text("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789-", min_size=1, max_size=30).filter(
    lambda text: text.strip("-") == text
)
words = (
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghij'.,", min_size=1, max_size=40)
    .map(lambda text: " ".join(text.split()))
    .filter(bool)
)
amounts = st.decimals(min_value=Decimal("0.01"), max_value=Decimal("99999.99"), places=2)


@st.composite
def items(draw: st.DrawFn, sequence: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "extension": [
            {
                "url": terms.REQUEST_TYPE,
                "valueCodeableConcept": concept("1525", draw(st.sampled_from(["HS", "SC", "AR", "IN"]))),
            },
            {
                "url": terms.CERTIFICATION_TYPE,
                "valueCodeableConcept": concept("1322", draw(st.sampled_from(["I", "R", "S", "4"]))),
            },
        ],
        "sequence": sequence,
        "category": concept("1365", draw(st.sampled_from(["1", "2", "42", "PT"]))),
        "productOrService": {"coding": [{"system": terms.HCPCS, "code": draw(codes)}]},
        "locationCodeableConcept": {"coding": [{"system": "pos", "code": draw(st.sampled_from(["11", "12", "21"]))}]},
    }
    if draw(st.booleans()):
        trace = {"system": "urn:trnorg:9CLINIC7AA", "value": draw(numbers)}
        found["extension"].append({"url": terms.ITEM_TRACE_NUMBER, "valueIdentifier": trace})
    for url in (terms.AUTHORIZATION_NUMBER, terms.ADMINISTRATION_REFERENCE):
        if draw(st.booleans()):
            found["extension"].append({"url": url, "valueString": draw(numbers)})
    if draw(st.booleans()):
        unit = draw(st.sampled_from(["UN", "MJ", "VS", "DY", "HS"]))
        found["quantity"] = {"value": draw(st.integers(1, 999)), "code": unit}
    if draw(st.booleans()):
        found["unitPrice"] = {"value": draw(amounts), "currency": "USD"}
    if draw(st.booleans()):
        found["modifier"] = [
            {"coding": [{"code": code}]}
            for code in draw(st.lists(st.sampled_from(["GP", "59", "RT"]), min_size=1, max_size=4))
        ]
    if draw(st.booleans()):
        start = draw(days)
        found |= draw(
            st.sampled_from([{"servicedDate": start}, {"servicedPeriod": {"start": start, "end": "2031-01-01"}}])
        )
    return found


@st.composite
def bundles(draw: st.DrawFn) -> dict[str, Any]:
    """A PAS request of any shape the 278 can carry."""
    (intake,) = read_case(CASES[0].parent / "event-only").intakes
    bundle = plain(intake.resource)
    claim = bundle["entry"][0]["resource"]
    bundle["identifier"]["value"] = draw(numbers)
    claim["identifier"][0]["value"] = draw(numbers)
    claim["type"]["coding"][0]["code"] = "professional"
    claim["item"] = [draw(items(number)) for number in range(1, draw(st.integers(1, 4)) + 1)]
    claim["diagnosis"] = [
        {"sequence": number, "diagnosisCodeableConcept": {"coding": [{"system": terms.ICD10, "code": code}]}}
        | ({"extension": [{"url": terms.DIAGNOSIS_RECORDED, "valueDate": draw(days)}]} if draw(st.booleans()) else {})
        for number, code in enumerate(
            draw(st.lists(st.sampled_from(["M54.16", "J44.9", "I10", "C18.9"]), max_size=12)), 1
        )
    ]
    rows: list[dict[str, Any]] = []
    for code in draw(st.lists(st.sampled_from(["patientEvent", "admissionDates", "dischargeDates"]), unique=True)):
        rows.append({"category": {"coding": [{"system": terms.PAS_CODES, "code": code}]}, "timingDate": draw(days)})
    if draw(st.booleans()):
        parts = [
            {"url": "reportTypeCode", "valueCodeableConcept": concept("755", "OZ")},
            {"url": "transmissionMethod", "valueCodeableConcept": concept("756", "EL")},
            {"url": "controlNumber", "valueString": draw(numbers.filter(lambda text: len(text) > 1))},
        ]
        category = {"coding": [{"system": terms.PAS_CODES, "code": "additionalInformation"}]}
        rows.append({"extension": [{"url": terms.DOCUMENT_INFORMATION, "extension": parts}], "category": category})
    if draw(st.booleans()):
        category = {"coding": [{"system": terms.PAS_CODES, "code": "freeFormMessage"}]}
        rows.append({"category": category, "valueString": draw(words)})
    claim["supportingInfo"] = [{"sequence": number} | row for number, row in enumerate(rows, 1)]
    if draw(st.booleans()):
        claim["extension"].append({"url": terms.LEVEL_OF_SERVICE, "valueCodeableConcept": concept("1338", "U")})
    for url in (terms.AUTHORIZATION_NUMBER, terms.ADMINISTRATION_REFERENCE):
        if draw(st.booleans()):
            claim["extension"].append({"url": url, "valueString": draw(numbers)})
    return bundle


def ordered(found: dict[str, Any]) -> dict[str, Any]:
    """supportingInfo comes back in the 278's order: dates, documents, words."""
    return {
        **found,
        "information": sorted(json.dumps(row, sort_keys=True, default=str) for row in found["information"]),
    }


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(bundle=bundles())
def test_nothing_of_the_table_is_lost(bundle: dict[str, Any]) -> None:
    rendering = request(bundle, now=NOW)
    assert rendering.left_out.entries == []
    assert ordered(table_3_8(back(rendering))) == ordered(table_3_8(bundle))


@settings(max_examples=EXAMPLES, deadline=None)
@given(bundle=bundles())
def test_second_round_changes_nothing(bundle: dict[str, Any]) -> None:
    first = back(request(bundle, now=NOW))
    assert plain(back(request(first, now=NOW))) == plain(first)


def test_what_has_no_room_is_reported() -> None:
    (intake,) = read_case(CASES[0].parent / "event-only").intakes
    bundle = plain(intake.resource)
    claim = bundle["entry"][0]["resource"]
    code = {"coding": [{"system": terms.ICD10, "code": "M54.16"}]}
    claim["diagnosis"] = [{"sequence": number, "diagnosisCodeableConcept": code} for number in range(1, 15)]
    claim["diagnosis"][2]["diagnosisCodeableConcept"] = {"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}
    claim["careTeam"] = [claim["careTeam"][0] | {"sequence": number} for number in range(1, 18)]
    rendering = request(bundle, now=NOW)
    left = [entry.path for entry in rendering.left_out.entries]
    assert left == [
        "Claim.diagnosis[3]", "Claim.diagnosis[14]", "Claim.careTeam[15]", "Claim.careTeam[16]", "Claim.careTeam[17]"
    ]  # fmt: skip
    tree = transaction(written("278_request", rendering.tree))
    assert len(list(tree.descendants("2010EA"))) == 14


@settings(max_examples=EXAMPLES, deadline=None)
@given(bundle=bundles(), data=st.data())
def test_whole_way_to_a_payer_and_back(bundle: dict[str, Any], data: st.DataObject) -> None:
    """PAS → 278 → the payer's decision → 278 → ClaimResponse with each item's own sequence."""
    rendering = request(bundle, now=NOW)
    (asked,) = read_bytes(written("278_request", rendering.tree)).intakes
    lines = bundle["entry"][0]["resource"]["item"]
    actions = [data.draw(st.sampled_from(["A1", "A3", "A4", "CT", "NA"])) for _ in lines]
    items = tuple(
        ItemDecision(
            sequence=at,
            action=action,
            reasons=("0Y",) if action == "A3" else (),
            authorization_number="AUTH-1" if action == "A1" else "",
        )
        for at, action in enumerate(actions, 1)
    )
    number = "AUTH-1" if "A1" in actions else ""
    decision = Decision(
        case_id="c", version=1, decided_at=NOW, action=roll_up(actions), items=items, authorization_number=number
    )
    answer = transaction(written("278_response", response(asked.reply["event"], decision)))
    found = decision_of(
        next(answer.descendants("2000E")),
        case_id="c",
        version=1,
        received_at=NOW,
        traces={},
        sequences=rendering.sequences,
    )
    assert [(item.sequence, item.action) for item in found.items] == list(enumerate(actions, 1))
    claim_response = render(bundle, found)["entry"][0]["resource"]
    assert [item["itemSequence"] for item in claim_response["item"]] == list(range(1, len(actions) + 1))
    assert claim_response["identifier"] == bundle["entry"][0]["resource"]["identifier"]


def test_update_carries_changed_items_and_answers_find_them() -> None:
    (intake,) = read_case(CASES[0].parent / "dependent-two-lines").intakes
    bundle = plain(intake.resource)
    claim = bundle["entry"][0]["resource"]
    claim["related"] = [{"claim": {"reference": "urn:uuid:00000000-0000-4000-8000-000000000000"}}]
    for item in claim["item"]:
        item["extension"] = [row for row in item["extension"] if row["url"] != terms.ITEM_TRACE_NUMBER]
    claim["item"][1]["extension"].append({"url": terms.INFO_CHANGED, "valueCode": "changed"})
    rendering = request(bundle, now=NOW)
    assert rendering.sequences == (2,)
    (asked,) = read_bytes(written("278_request", rendering.tree)).intakes
    items = (ItemDecision(sequence=1, action="A4"),)
    decision = Decision(case_id="c", version=1, decided_at=NOW, action="A4", items=items)
    event = next(transaction(written("278_response", response(asked.reply["event"], decision))).descendants("2000E"))
    found = decision_of(event, case_id="c", version=1, received_at=NOW, sequences=rendering.sequences)
    assert [(item.sequence, item.action) for item in found.items] == [(2, "A4")]


def test_withdrawn_information_is_not_sent_to_the_payer() -> None:
    """PAS prof-8: the entry stays in the Claim, marked; nothing of it is used any more."""
    bundle = whole_request()
    claim = bundle["entry"][0]["resource"]
    event = next(transaction(written("278_request", request(bundle, now=NOW).tree)).descendants("2000E"))
    assert {"PWK", "DTP"} <= {segment.id for segment in event.segments()}
    for row in claim["supportingInfo"]:
        row["modifierExtension"] = [{"url": terms.INFO_CANCELLED, "valueBoolean": True}]
    rendering = request(bundle, now=NOW)
    event = next(transaction(written("278_request", rendering.tree)).descendants("2000E"))
    assert not {"PWK", "DTP", "MSG"} & {segment.id for segment in event.segments()}
    left = [(entry.fate, entry.target) for entry in rendering.left_out.entries]
    assert left == [("ignored", "withdrawn by the sender")] * len(claim["supportingInfo"])


def whole_request() -> dict[str, Any]:
    (intake,) = read_case(CASES[0].parent / "dependent-two-lines").intakes
    return plain(intake.resource)


@pytest.mark.parametrize("keeps_items", [True, False])
def test_cancelling_everything_says_so_to_the_payer(keeps_items: bool) -> None:
    bundle = whole_request()
    claim = bundle["entry"][0]["resource"]
    claim["related"] = [{"claim": {"reference": "urn:uuid:00000000-0000-4000-8000-000000000000"}}]
    concept = {"coding": [{"system": f"{X12}1322", "code": "3"}]}
    kept = [row for row in claim.get("extension", []) if row["url"] != terms.CERTIFICATION_TYPE]
    claim["extension"] = [*kept, {"url": terms.CERTIFICATION_TYPE, "valueCodeableConcept": concept}]
    if not keeps_items:
        del claim["item"]
    (event,) = transaction(written("278_request", request(bundle, now=NOW).tree)).descendants("2000E")
    assert event.get("UM", 2) == "3"


@pytest.mark.parametrize(("code", "location"), [("T4", "2010A"), ("42", "2000A"), ("33", "2000E")])
def test_a_payers_rejection_is_an_error_on_fhir_and_no_denial(code: str, location: str) -> None:
    """AAA at a loop → ClaimResponse.error with code, follow-up, loop and path (check 19)."""
    asked = whole_request()
    (intake,) = read_bytes(written("278_request", request(asked, now=NOW).tree)).intakes
    error = {"code": code, "followUp": "C", "location": location}
    refusal = Decision(case_id="c", version=1, decided_at=NOW, action="", errors=(error,))
    tree = transaction(written("278_response", response(intake.reply["event"], refusal)))
    found = decision_of(next(tree.descendants("2000E"), tree), case_id="c", version=1, received_at=NOW)
    told = render(asked, found)["entry"][0]["resource"]
    assert told["outcome"] == "error"
    assert "item" not in told
    (row,) = told["error"]
    assert row["code"]["coding"][0]["code"] == code
    by_name = {part["url"].rsplit("-", 1)[-1]: part for part in row["extension"]}
    assert by_name["errorFollowupAction"]["valueCodeableConcept"]["coding"][0]["code"] == "C"
    assert by_name["errorElement"]["extension"][0]["valueString"] == location
    assert by_name["errorPath"]["valueString"].startswith("Bundle.entry[0].resource")


def test_long_and_marked_texts_are_fitted_and_reported() -> None:
    (intake,) = read_case(CASES[0].parent / "event-only").intakes
    bundle = plain(intake.resource)
    category = {"coding": [{"system": terms.PAS_CODES, "code": "freeFormMessage"}]}
    bundle["entry"][0]["resource"]["supportingInfo"] = [
        {"sequence": 1, "category": category, "valueString": "a*b~" * 100}
    ]
    patient = next(row["resource"] for row in bundle["entry"] if row["resource"]["resourceType"] == "Patient")
    patient["name"] = [
        {"family": "Müller:Lüdenscheid" + "x" * 60, "given": ["Ann-Sophie", "Maria Theresia Walburga Amalia"]}
    ]
    patient["address"] = [{"line": ["1 Way"], "city": "Springfield", "state": "Illinois"}]
    rendering = request(bundle, now=NOW)
    left = {entry.path for entry in rendering.left_out.entries}
    assert left == {"Claim.supportingInfo", "Patient.name", "Patient.address.state"}
    assert "NM1*IL*1*Muller Ludenscheid" in "\n".join(segments(transaction(written("278_request", rendering.tree))))


def test_postal_code_travels_without_its_dash() -> None:
    (intake,) = read_case(CASES[0].parent / "dependent-two-lines").intakes
    text = segments(transaction(written("278_request", request(plain(intake.resource), now=NOW).tree)))
    assert "N4*SPRINGFIELD*IL*627010001" in text
    assert '"62701-0001"' in json.dumps(plain(intake.resource))


@needs_data
@pytest.mark.parametrize(
    "path",
    [p for p in sorted(PAS.rglob("*.json")) if os.environ.get("GATEWAY_OUTSIDE_DATA")],
    ids=lambda path: path.stem,
)
def test_outside_requests(path: Path) -> None:
    bundle = json.loads(path.read_text())
    first = ((bundle.get("entry") or [{}])[0].get("resource") or {}) if isinstance(bundle, dict) else {}
    if first.get("resourceType") != "Claim" or not first.get("item") or "nquir" in path.name:
        pytest.skip("no PAS request")
    rendering = request(bundle, now=NOW, trace_assigner="9GATEWAYAA")
    mine, theirs = table_3_8(back(rendering)), table_3_8(bundle)
    for name in ("transaction", "level", "authorization", "reference"):
        assert mine[name] == theirs[name], name
    if not first.get("related"):
        assert [line[0] for line in mine["lines"]] == [line[0] for line in theirs["lines"]]
        assert [line[5] for line in mine["lines"]] == [line[5] for line in theirs["lines"]]
