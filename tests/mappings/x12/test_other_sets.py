"""837, 835, 276/277 and 275: golden cases, valid R4, nothing unaccounted for; amounts balance on the way back."""

from __future__ import annotations

import base64
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.x12.wire import Loop
from gateway.core.errors import Unmappable
from mappings.x12_276_to_fhir import status_response
from mappings.x12_835_to_fhir import claim_payment
from tests.mappings.x12.bench import NOW, plain, read_bytes, transaction, written

FOLDER = Path(__file__).parent / "other"
CASES = sorted(path for path in FOLDER.iterdir() if path.is_dir())
DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "")) / "x12"
needs_data = pytest.mark.skipif(not os.environ.get("GATEWAY_OUTSIDE_DATA"), reason="GATEWAY_OUTSIDE_DATA is not set")


def message(name: str) -> bytes:
    return (FOLDER / name / "message.x12").read_bytes()


def first(name: str) -> dict[str, Any]:
    """The first resource of the first message."""
    intake = next(iter(read_bytes(message(name)).intakes))
    assert intake.resource is not None
    resource: dict[str, Any] = intake.resource["entry"][0]["resource"]
    return resource


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden(case: Path) -> None:
    intakes = list(read_bytes((case / "message.x12").read_bytes()).intakes)
    found = [{"type": one.type, "facts": plain(one.facts), "resource": plain(one.resource)} for one in intakes]
    assert found == json.loads((case / "expected.json").read_text())
    for one in intakes:
        Bundle.model_validate(plain(one.resource))
        assert not one.parked
        assert one.ledger is not None
        assert one.ledger.counts()["unknown"] == 0


def test_claims_of_one_file_do_not_see_each_other() -> None:
    one, other = read_bytes(message("837p")).intakes
    assert (one.facts["request.traceNumber"], other.facts["request.traceNumber"]) == ("CTRL-1", "CTRL-2")
    assert b"CTRL-2" not in (one.raw.data or b"")
    assert b"NM1*85*2*HILL CLINIC" in (other.raw.data or b"")
    assert one.resource is not None
    claim = one.resource["entry"][0]["resource"]
    assert claim["insurance"][0]["preAuthRef"] == ["AUTH-1"]
    assert [item["net"]["value"] for item in claim["item"]] == [150, Decimal("100.5")]


def test_attachment_is_taken_by_length() -> None:
    attachment = first("275")["content"][0]["attachment"]
    assert base64.b64decode(attachment["data"]) == b"%PDF-1.4 a~b*c"
    assert attachment["contentType"] == "application/pdf"


def test_claim_status_is_answered() -> None:
    (intake,) = read_bytes(message("276")).intakes
    tree = status_response(intake.reply["event"], {"STR-1": ("F1", "65")}, NOW)
    answer = transaction(written("277", tree))
    statuses = {loop.get("TRN", 2): loop.segment("STC").components(1) for loop in answer.descendants("2200D")}  # type: ignore[union-attr]
    assert statuses == {"STR-1": ["F1", "65"], "STR-2": ["A4", "35"]}
    (told,) = read_bytes(written("277", tree)).intakes
    assert told.resource is not None
    task = told.resource["entry"][0]["resource"]
    assert (task["status"], task["identifier"][0]["value"]) == ("completed", "STR-1")


def remittance(response: dict[str, Any]) -> Loop:
    """An 835 of one claim, around `claim_payment`."""
    paid = next(
        row["amount"]["value"] for row in response["total"] if row["category"]["coding"][0]["code"] == "benefit"
    )
    root = Loop("835")
    root.add("BPR", "I", str(paid), "C", "CHK", *[""] * 11, "20260120")
    root.add("TRN", "1", "EFT-77", "1512345678")
    payer, payee = root.add_loop("1000A"), root.add_loop("1000B")
    payer.add("N1", "PR", "NORTH PLAN")
    payer.add("N3", "9 PLAN WAY")
    payer.add("N4", "CHICAGO", "IL", "60601")
    payer.add("PER", "BL", "HELP", "TE", "3125550100")
    payee.add("N1", "PE", "HILL CLINIC", "XX", "1234567893")
    header = root.add_loop("2000")
    header.add("LX", "1")
    claim_payment(response, header).add("NM1", "QC", "1", "DOE", "CHILD", "", "", "", "MI", "M0001")
    return root


def test_payment_round_trip() -> None:
    response = first("835")
    again = transaction(written("835", remittance(response)))
    before = next(transaction(message("835")).descendants("2100"))
    after = next(again.descendants("2100"))
    for name in ("CLP", "CAS"):
        assert [segment.text for segment in after.segments(name)] == [segment.text for segment in before.segments(name)]
    assert [line.get("SVC", 3) for line in after.loops("2110")] == ["130", "70.5"]


cents = st.integers(0, 1_000_000).map(lambda number: Decimal(number) / 100)


@settings(max_examples=60, deadline=None)
@given(paid=cents, adjusted=st.lists(cents, min_size=1, max_size=8), wrong=st.booleans())
def test_what_does_not_balance_is_refused(paid: Decimal, adjusted: list[Decimal], wrong: bool) -> None:
    def money(value: Decimal) -> dict[str, Any]:
        return {"value": value, "currency": "USD"}

    charge = paid + sum(adjusted, Decimal(0)) + (Decimal("0.01") if wrong else 0)
    system = "http://terminology.hl7.org/CodeSystem/adjudication"
    response = {
        "identifier": [{"value": "PAY-1"}],
        "request": {"identifier": {"value": "CTRL-1"}},
        "adjudication": [
            {
                "category": {"coding": [{"system": "https://codesystem.x12.org/005010/1033", "code": "CO"}]},
                "reason": {"coding": [{"code": "45"}]},
                "amount": money(amount),
            }
            for amount in adjusted
        ],
        "total": [
            {"category": {"coding": [{"system": system, "code": kind}]}, "amount": money(amount)}
            for kind, amount in (("submitted", charge), ("benefit", paid))
        ],
    }
    if wrong:
        with pytest.raises(Unmappable):
            remittance(response)
        return
    tree = transaction(written("835", remittance(response)))
    claim = next(tree.descendants("2100"))
    triplets = [segment.get(at) for segment in claim.segments("CAS") for at in range(3, 20, 3) if segment.get(at)]
    assert Decimal(claim.get("CLP", 3)) == Decimal(claim.get("CLP", 4)) + sum(map(Decimal, triplets), Decimal(0))


@needs_data
def test_outside_corpus_is_mapped_and_valid() -> None:
    """Every accepted transaction set of the corpus has a mapping (834 has none) and gives valid R4."""
    for path in sorted(DATA.rglob("*")):
        if not path.is_file() or path.suffix in (".json", ".csv", ".md"):
            continue
        for intake in read_bytes(path.read_bytes()).intakes:
            assert not intake.parked or intake.type == "x12.834", path
            if intake.resource is not None:
                Bundle.model_validate(plain(intake.resource))
                assert intake.ledger is not None
                assert intake.ledger.counts()["unknown"] == 0
