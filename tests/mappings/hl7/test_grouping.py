"""Segments hang where they belong, and nothing merges because some fields are equal."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from adapters.hl7.wire import parse
from gateway.core.errors import ConfigurationError
from mappings.hl7_to_fhir import convert, default_program
from mappings.hl7_to_fhir.cursor import Cursor
from mappings.hl7_to_fhir.structure import Group, group, parse_structure
from tests.mappings.hl7.corpus import followed, lines, of_kind

HEADER = r"MSH|^~\&|LAB|HOSP|GW|PAYER|20260301101500-0500||{type}|{id}|P|2.5.1" + "\n"
PATIENT = "PID|1||7^^^HOSP^MR||DOE^JANE\n"


def bundle_of(kind: str, body: str) -> dict[str, Any]:
    return convert(parse(lines(HEADER.format(type=kind, id="1") + body))).bundle


def tree(found: Group) -> str:
    """`PID ORDER(OBR RESULT(OBX))`."""
    parts = [child.name if isinstance(child, Cursor) else f"{child.name}({tree(child)})" for child in found.children]
    return " ".join(parts)


def grouped(structure: str, names: str) -> str:
    raw = lines(HEADER.format(type="ADT^A01", id="1") + "\n".join(f"{name}|1" for name in names.split()))
    return tree(group(parse_structure("TEST", structure), [Cursor(segment) for segment in parse(raw).segments[1:]]))


ORDERS = "PID [ORDER: ORC? OBR [RESULT: OBX NTE*]*]+"
VISITS = "[P: [V: PV1]? [O: OBR]+]+"


@pytest.mark.parametrize(
    ("structure", "names", "expected"),
    [
        (ORDERS, "PID OBR OBX NTE OBX", "PID ORDER(OBR RESULT(OBX NTE) RESULT(OBX))"),
        (ORDERS, "PID ORC OBR OBX ORC OBR", "PID ORDER(ORC OBR RESULT(OBX)) ORDER(ORC OBR)"),
        ("PID [A: IN1 IN2?]* [B: PR1 AUT*]*", "PID IN1 IN1 IN2 PR1 AUT", "PID A(IN1) A(IN1 IN2) B(PR1 AUT)"),
        ("PID? PV1?", "PV1 PID", "PV1 PID"),  # out of order: kept where the group knows it
        ("PID [A: IN1]*", "PID IN1 ZPI", "PID A(IN1 ZPI)"),  # local segments stay with what they follow
        (VISITS, "OBR OBR PV1 OBR", "P(O(OBR) O(OBR)) P(V(PV1) O(OBR))"),
    ],
)
def test_groups(structure: str, names: str, expected: str) -> None:
    assert grouped(structure, names) == expected


@pytest.mark.parametrize("text", ["PID [A: IN1", "PID ]", "PID (IN1)", "[a: PID]"])
def test_a_broken_structure_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_structure("TEST", text)


def test_all_structures_compile() -> None:
    program = default_program()
    named = {structure for family in program.messages.values() for structure in family.values()}
    assert named <= set(program.structures)


def test_two_orders_with_equal_placer_numbers_stay_two() -> None:
    bundle = bundle_of(
        "ORU^R01^ORU_R01",
        PATIENT
        + "ORC|RE|P1^LAB\nOBR|1|P1^LAB||718-7^Hemoglobin^LN|||20260301\n"
        + "OBX|1|NM|718-7^Hemoglobin^LN||13.5|g/dL|||||F\n"
        + "ORC|RE|P1^LAB\nOBR|2|P1^LAB||6690-2^Leukocytes^LN|||20260301\n"
        + "OBX|1|NM|6690-2^Leukocytes^LN||7.1|10*3/uL|||||F\n",
    )
    orders, reports = of_kind(bundle, "ServiceRequest"), of_kind(bundle, "DiagnosticReport")
    assert [order["code"]["coding"][0]["code"] for order in orders] == ["718-7", "6690-2"]
    assert [followed(bundle, report["basedOn"][0])["id"] for report in reports] == [order["id"] for order in orders]
    for report in reports:
        results = [followed(bundle, reference) for reference in report["result"]]
        assert [result["code"] for result in results] == [report["code"]]


def test_notes_belong_to_the_segment_before_them() -> None:
    bundle = bundle_of(
        "SIU^S12^SIU_S12",
        "SCH|A1^EHR||||||CHECKUP^Check-up|||||^^^20260401090000-0500\nNTE|1||of the appointment\n"
        + PATIENT
        + "RGS|1\nAIS|1||MRI^Scan^L\nNTE|1||of the service\n",
    )
    assert of_kind(bundle, "Appointment")[0]["comment"] == "of the appointment\nof the service"
    bundle = bundle_of(
        "ORU^R01^ORU_R01",
        PATIENT + "OBR|1|P1|F1|718-7^Hemoglobin^LN\nNTE|1||of the order\nOBX|1|NM|718-7^Hemoglobin^LN||13.5||||||F\n"
        "NTE|1||of the result\nNTE|2||and again\nOBX|2|NM|4544-3^Hematocrit^LN||40||||||F\n",
    )
    order, observations = of_kind(bundle, "ServiceRequest")[0], of_kind(bundle, "Observation")
    assert [note["text"] for note in order["note"]] == ["of the order"]
    assert [note["text"] for note in observations[0]["note"]] == ["of the result", "and again"]
    assert "note" not in observations[1]


def test_prior_results_hang_on_their_own_orders() -> None:
    bundle = bundle_of(
        "OML^O21^OML_O21",
        PATIENT + "ORC|NW|NEW1^EHR\nOBR|1|NEW1^EHR||718-7^Hemoglobin^LN\nOBX|1|ST|8693-4^Status^LN||fasting||||||F\n"
        "PID|1||7^^^HOSP^MR||DOE^JANE\nORC|RE|OLD1^EHR\nOBR|1|OLD1^EHR||4544-3^Hematocrit^LN|||||||||||||||||||||F\n"
        "OBX|1|NM|4544-3^Hematocrit^LN||41|%|||||F\n",
    )
    assert len(of_kind(bundle, "Patient")) == 1
    prior = next(row for row in of_kind(bundle, "Observation") if row.get("valueQuantity"))
    assert followed(bundle, prior["basedOn"][0])["identifier"][0]["value"] == "OLD1"
    report = of_kind(bundle, "DiagnosticReport")[0]
    assert [followed(bundle, reference)["id"] for reference in report["result"]] == [prior["id"]]
    asked = next(row for row in of_kind(bundle, "Observation") if row.get("valueString"))
    assert followed(bundle, asked["basedOn"][0])["identifier"][0]["value"] == "NEW1"


def test_authorizations_belong_to_their_procedures() -> None:
    bundle = bundle_of(
        "RQA^I08^RQA_I08",
        "RF1||R|||O|REF1^EHR\nPRD|RP|REYES^MARIA|||||1234567893^NPI\n"
        + PATIENT
        + "IN1|1|PPO|ACME|Acme\nDG1|1||M54.16^x^I10\nPR1|1||72148^MRI^C4||20260305\n"
        "AUT|PPO|ACME|Acme|20260305|20260401|||2\n"
        "PR1|2||97110^PT^C4||20260306\nAUT|PPO|ACME|Acme|20260306|20260601|||12\n",
    )
    items = of_kind(bundle, "Claim")[0]["item"]
    assert [(item["productOrService"]["coding"][0]["code"], item["quantity"]["value"]) for item in items] == [
        ("72148", 2),
        ("97110", 12),
    ]
    assert [item["servicedPeriod"]["end"] for item in items] == ["2026-04-01", "2026-06-01"]


def test_a_document_keeps_texts_and_files_apart() -> None:
    bundle = bundle_of(
        "MDM^T02^MDM_T02",
        PATIENT + "TXA|1|11506-3^Note^LN|TX\nOBX|1|RP|1^File^L||https://ehr.example/1^^text^plain||||||F\n"
        "OBX|2|TX|2^Text^L||one||||||F\nOBX|3|TX|2^Text^L||two||||||F\nOBX|4|ED|3^Other^L||^text^plain^^three||||||F\n",
    )
    attachments = [row["attachment"] for row in of_kind(bundle, "DocumentReference")[0]["content"]]
    assert [row.get("url") or base64.b64decode(row["data"]).decode() for row in attachments] == [
        "https://ehr.example/1",
        "one\ntwo",
        "three",
    ]


def test_merges_link_both_patients() -> None:
    bundle = bundle_of("ADT^A40^ADT_A39", PATIENT + "MRG|9^^^HOSP^MR\n")
    survivor, old = of_kind(bundle, "Patient")
    assert followed(bundle, survivor["link"][0]["other"]) is old
    assert survivor["link"][0]["type"] == "replaces"
    assert old["link"][0]["type"] == "replaced-by"
    assert old["active"] is False


def test_people_with_the_same_name_and_other_numbers_stay_two() -> None:
    bundle = bundle_of("ADT^A01^ADT_A01", PATIENT + "PV1|1|I|||||1^SMITH^ANN|2^SMITH^ANN\n")
    assert [row["identifier"][0]["value"] for row in of_kind(bundle, "Practitioner")] == ["1", "2"]


def test_the_same_patient_and_order_have_the_same_ids_in_later_messages() -> None:
    body = PATIENT + "OBR|1|P1^LAB||718-7^Hemoglobin^LN\nOBX|1|NM|718-7^Hemoglobin^LN||13.5||||||F\n"
    first = convert(parse(lines(HEADER.format(type="ORU^R01", id="1") + body))).bundle
    second = convert(parse(lines(HEADER.format(type="ORU^R01", id="2") + body))).bundle
    elsewhere = convert(parse(lines(HEADER.format(type="ORU^R01", id="1") + body)), source="other").bundle
    for kind in ("Patient", "ServiceRequest"):
        assert of_kind(first, kind)[0]["id"] == of_kind(second, kind)[0]["id"] != of_kind(elsewhere, kind)[0]["id"]
    assert of_kind(first, "Observation")[0]["id"] != of_kind(second, "Observation")[0]["id"]


def test_another_authorizing_payor_is_another_organization() -> None:
    bundle = bundle_of(
        "RQA^I08^RQA_I08",
        "RF1||R|||O|REF1^EHR\n"
        + PATIENT
        + "IN1|1|PPO|ACME|Acme\nPR1|1||72148^MRI^C4\nAUT|PPO|OTHER^Other Plan|Other Plan\n",
    )
    claim, coverage = of_kind(bundle, "Claim")[0], of_kind(bundle, "Coverage")[0]
    assert followed(bundle, claim["insurer"])["name"] == "Other Plan"
    assert followed(bundle, coverage["payor"][0])["name"] == "Acme"
