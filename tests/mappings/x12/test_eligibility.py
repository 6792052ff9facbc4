"""270 → CoverageEligibilityRequest and the 271 back, both ways."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fhir.resources.R4B.bundle import Bundle

from mappings.x12_270_to_fhir import Eligibility, eligibility_of, eligibility_response
from tests.mappings.x12.bench import NOW, plain, read_bytes, transaction, written

FOLDER = Path(__file__).parent / "eligibility"
CASES = sorted(FOLDER.iterdir())
DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "")) / "x12"
needs_data = pytest.mark.skipif(not os.environ.get("GATEWAY_OUTSIDE_DATA"), reason="GATEWAY_OUTSIDE_DATA is not set")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden(case: Path) -> None:
    reading = read_bytes((case / "request.x12").read_bytes())
    (intake,) = reading.intakes
    assert intake.type == "eligibility.request"
    assert plain(intake.facts) == json.loads((case / "facts.json").read_text())
    assert plain(intake.resource) == json.loads((case / "bundle.json").read_text())
    Bundle.model_validate(plain(intake.resource))
    assert intake.ledger is not None
    assert intake.ledger.counts()["unknown"] == 0
    assert b"TA1*000000051*" in (reading.answer(None) or b"")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("active", [True, False])
def test_response_reads_back(case: Path, active: bool) -> None:
    (intake,) = read_bytes((case / "request.x12").read_bytes()).intakes
    found = Eligibility(active=active, plan="GOLD", start="2026-01-01", end="2026-12-31")
    data = written("271", eligibility_response(intake.reply["event"], found, NOW))
    (answer,) = read_bytes(data).intakes
    assert answer.type == "eligibility.response"
    assert answer.case_key[2] == intake.facts["request.traceNumber"]
    member = next(transaction(data).descendants("2000C"))
    back = eligibility_of(member)
    assert (back.active, back.plan, back.start, back.end) == (active, "GOLD", "2026-01-01", "2026-12-31")
    if case.name == "subscriber":
        assert back.services == ("30", "98", "UC")


@pytest.mark.parametrize("location", ["2000A", "2100A", "2100B", "2100C"])
def test_rejection(location: str) -> None:
    (intake,) = read_bytes((FOLDER / "subscriber" / "request.x12").read_bytes()).intakes
    found = Eligibility(rejections=({"code": "75", "followUp": "C", "location": location},))
    tree = transaction(written("271", eligibility_response(intake.reply["event"], found, NOW)))
    back = eligibility_of(next(tree.descendants("2000C"), tree))
    assert back.rejections == ({"code": "75", "followUp": "C", "location": location},)
    assert not back.active


@needs_data
@pytest.mark.parametrize(
    "path",
    sorted((DATA / "linuxforhealth/270_005010X279A1").glob("*")) if DATA.is_dir() else [],
    ids=lambda path: path.name,
)
def test_outside_inquiries(path: Path) -> None:
    reading = read_bytes(path.read_bytes())
    for intake in reading.intakes:
        Bundle.model_validate(plain(intake.resource))
        if intake.type == "eligibility.request":
            found = eligibility_response(intake.reply["event"], Eligibility(active=True), NOW)
            assert transaction(written("271", found)).get("BHT", 2) == "11"
    assert reading.issues or list(reading.intakes)


def test_each_dependent_is_a_message_of_its_own() -> None:
    text = (FOLDER / "dependent" / "request.x12").read_text()
    start, end = text.index("HL*4*"), text.index("SE*")
    second = text[start:end].replace("HL*4*3", "HL*5*3").replace("E-200", "E-201").replace("CHILD", "OTHER")
    both = (text[:end] + second + text[end:]).replace("SE*16*", "SE*23*")
    intakes = list(read_bytes(both.encode()).intakes)
    assert [intake.facts["request.traceNumber"] for intake in intakes] == ["E-200", "E-201"]
    assert [intake.natural_key[-1] for intake in intakes] == ["1", "1.1"]
    assert b"OTHER" not in (intakes[0].raw.data or b"")
    for intake in intakes:
        tree = transaction(written("271", eligibility_response(intake.reply["event"], Eligibility(active=True), NOW)))
        assert len(list(tree.descendants("2000D"))) == 1
