"""A patient's lookup keys: how a message of any rail finds the open cases of the same person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.ids import person_keys

OFFICIAL = frozenset({"SS", "DL"})
"""Identifier types (v2-0203) that never become keys: they belong to the person everywhere, not to a record."""
SSN = "http://hl7.org/fhir/sid/us-ssn"
MOST = 20
"""Identifiers of one patient that become keys; real patients have up to five."""


def patient_keys(patient: Mapping[str, Any], merged: Sequence[Mapping[str, Any]] = ()) -> list[tuple[str, str, str]]:
    """Keys of a FHIR Patient, those of the records that were merged into it included."""
    held = [*patient.get("identifier", ())[:MOST], *(row for old in merged for row in old.get("identifier", ())[:MOST])]
    numbers = [str(row.get("value", "")) for row in held if not _official(row)]
    return person_keys(numbers, str(patient.get("birthDate", "")))


def _official(held: Mapping[str, Any]) -> bool:
    kinds = {coding.get("code") for coding in held.get("type", {}).get("coding", ())}
    return bool(kinds & OFFICIAL) or held.get("system") == SSN
