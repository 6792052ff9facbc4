"""278 requests: golden cases, nothing lost on the way to FHIR and back, outside examples."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from fhir.resources.R4B.bundle import Bundle

from mappings.claim_to_x12_278 import request
from mappings.x12_278_to_fhir import request_bundle
from mappings.x12_bundle import Transmission
from tests.mappings.x12.bench import CASES, NOW, plain, read_bytes, read_case, segments, transaction, written

DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "")) / "x12" / "derived" / "278"
needs_data = pytest.mark.skipif(not os.environ.get("GATEWAY_OUTSIDE_DATA"), reason="GATEWAY_OUTSIDE_DATA is not set")
ids = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@ids
def test_golden(case: Path) -> None:
    (intake,) = read_case(case).intakes
    assert plain(intake.resource) == json.loads((case / "bundle.json").read_text())
    assert plain(intake.facts) == json.loads((case / "facts.json").read_text())


@ids
def test_bundle_is_valid_r4(case: Path) -> None:
    (intake,) = read_case(case).intakes
    bundle = Bundle.model_validate(plain(intake.resource))
    assert bundle.entry[0].resource.get_resource_type() == "Claim"


@ids
def test_ledger_accounts_for_every_leaf_once(case: Path) -> None:
    (intake,) = read_case(case).intakes
    tree = transaction((case / "request.x12").read_bytes())
    leaves = [leaf for _, segment in tree.walk() if segment.id != "SE" for leaf in segment.leaves()]
    assert intake.ledger is not None
    entries = [entry for entry in intake.ledger.entries if "/SE" not in entry.path]
    assert len(entries) == len(leaves)
    assert intake.ledger.counts()["unknown"] == 0
    assert max(Counter(entry.path for entry in entries).values()) <= 3  # REF and TRN may repeat inside a loop


@ids
def test_round_trip_gives_the_same_segments(case: Path) -> None:
    data = (case / "request.x12").read_bytes()
    (intake,) = read_bytes(data).intakes
    assert intake.resource is not None
    again = transaction(written("278_request", request(intake.resource, now=NOW).tree))
    before, after = segments(transaction(data)), segments(again)
    assert after[1:] == before[1:]
    assert after[0].split("*")[:5] == before[0].split("*")[:5]


@needs_data
@pytest.mark.parametrize("path", sorted(DATA.glob("*Request*")), ids=lambda path: path.name)
def test_outside_examples_round_trip(path: Path) -> None:
    tree = transaction(path.read_bytes())
    event = next(tree.descendants("2000E"))
    bundle, _ = request_bundle(event, Transmission(sender="S"), "2026-01-15T12:00:00Z")
    again = transaction(written("278_request", request(bundle, now=NOW).tree))
    assert segments(again)[1:] == segments(tree)[1:]


@ids
def test_keys(case: Path) -> None:
    (first,) = read_case(case).intakes
    (again,) = read_case(case).intakes
    assert first.natural_key == again.natural_key
    assert first.raw.sha256 == again.raw.sha256
    assert first.natural_key[:3] == ("x12", "CLINIC7", "PLAN0009")
    assert first.case_key[0] == "x12-278"
    assert "TR-" in first.case_key[-1]


def test_types() -> None:
    types = {case.name: next(iter(read_case(case).intakes)).type for case in CASES}
    assert types["cancel"] == "authorization.cancel"
    assert types["inpatient"] == "authorization.request"


def test_two_events_are_two_cases_without_each_other() -> None:
    text = (CASES[0].parent / "event-only" / "request.x12").read_text()
    start, end = text.index("HL*4*"), text.index("SE*")
    second = text[start:end].replace("HL*4*3", "HL*5*3").replace("TR-300", "TR-301").replace("J449", "J459")
    count = text[text.index("ST*") : end].count("~") + second.count("~") + 1
    head = text[:end] + second
    both = head + text[end:].replace(text[end : text.index("*0001", end)], f"SE*{count}", 1)
    intakes = list(read_bytes(both.encode()).intakes)
    assert [intake.facts["request.traceNumber"] for intake in intakes] == ["TR-300", "TR-301"]
    assert b"TR-301" not in (intakes[0].raw.data or b"")
    assert len({intake.natural_key for intake in intakes}) == 2
    assert [row["code"] for row in intakes[1].facts["diagnoses"]] == ["J45.9"]


@needs_data
def test_all_parked_or_mapped() -> None:
    """Whatever the corpus holds: an accepted transaction set gives at least one intake, and nothing raises."""
    for path in sorted(DATA.parents[1].rglob("*")):
        if not path.is_file() or path.suffix in (".json", ".csv", ".md"):
            continue
        data = path.read_bytes()
        reading = read_bytes(data)
        intakes = list(reading.intakes)
        assert reading.refused == (not intakes), path
        reading.answer(None)
