"""Beside another converter's bundles, the same resource types and references; each difference is reviewed.

Compared is the graph, not the bytes: which types of resources there are, and which type refers to which. The reviewed
file (differences.yaml) gives a reason for each difference; a reason that fits nothing any more is an error too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.hl7.wire import parse
from mappings.hl7_to_fhir import convert
from tests.mappings.hl7.corpus import OUTSIDE

REVIEWED: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "differences.yaml").read_text("utf-8"))
CORE = {
    "Account", "AllergyIntolerance", "Appointment", "Claim", "ClaimResponse", "Condition", "Coverage",
    "DiagnosticReport", "DocumentReference", "Encounter", "Immunization", "Location", "MedicationRequest",
    "Observation", "Organization", "Patient", "Practitioner", "PractitionerRole", "Procedure", "RelatedPerson",
    "ServiceRequest", "Specimen",
}  # fmt: skip

pytestmark = pytest.mark.skipif(OUTSIDE is None, reason="GATEWAY_OUTSIDE_DATA is not set")


def pairs() -> list[tuple[str, bytes, dict[str, Any]]]:
    """(name, message, the other converter's bundle)."""
    assert OUTSIDE is not None
    folder = OUTSIDE / "ms-fhir-converter"
    return [
        (path.stem, (folder / "in" / f"{path.stem}.hl7").read_bytes(), json.loads(path.read_text("utf-8")))
        for path in sorted((folder / "expected").glob("*.json"))
    ]


def graph(bundle: dict[str, Any]) -> tuple[set[str], set[str]]:
    """Types of resources, and `Type -> Type` for each kind of reference between them."""
    kinds: dict[str, str] = {}
    for entry in bundle["entry"]:
        resource = entry["resource"]
        kinds[entry.get("fullUrl", "")] = kinds[f"{resource['resourceType']}/{resource.get('id')}"] = resource[
            "resourceType"
        ]
    edges: set[str] = set()

    def walk(node: Any, root: str) -> None:
        if isinstance(node, dict):
            target = kinds.get(str(node.get("reference")))
            if target in CORE and root in CORE:
                edges.add(f"{root} -> {target}")
            for value in node.values():
                walk(value, root)
        elif isinstance(node, list):
            for value in node:
                walk(value, root)

    for entry in bundle["entry"]:
        walk(entry["resource"], entry["resource"]["resourceType"])
    return {kind for kind in kinds.values() if kind in CORE}, edges


def differences() -> dict[str, set[str]]:
    """What they have and we do not → the messages it is so for."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, raw, theirs in pairs():
        their_types, their_edges = graph(theirs)
        our_types, our_edges = graph(convert(parse(raw)).bundle)
        for difference in (their_types - our_types) | (their_edges - our_edges):
            found[difference].add(name)
    return found


def test_every_difference_is_reviewed() -> None:
    found = differences()
    unreviewed = {
        key: sorted(names - set(REVIEWED.get(key, {}).get("messages", names)))
        for key, names in found.items()
        if key not in REVIEWED or names - set(REVIEWED[key].get("messages", names))
    }
    assert unreviewed == {}
    assert set(REVIEWED) - set(found) == set(), "reviewed differences that are none any more"
    assert all(row["reason"] for row in REVIEWED.values())


def test_the_patient_is_always_there() -> None:
    for name, raw, _ in pairs():
        types, _ = graph(convert(parse(raw)).bundle)
        assert "Patient" in types, name
