"""FHIR → ADT and ORU: what we tell others about a patient, a visit, a result.

Written plainly in release 2.5.1 with the standard delimiters: MSH, EVN, PID, PV1; MSH, PID, OBR, OBX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from adapters.hl7.wire import Segment, Value, compose, segment, timestamp, write

Resource = Mapping[str, Any]
_SYSTEMS = {
    "http://loinc.org": "LN",
    "http://snomed.info/sct": "SCT",
    "http://hl7.org/fhir/sid/icd-10-cm": "I10",
    "http://www.ama-assn.org/go/cpt": "C4",
    "http://unitsofmeasure.org": "UCUM",
}
_CLASSES = {"IMP": "I", "AMB": "O", "EMER": "E", "PRENC": "P", "OBSENC": "B"}
_GENDERS = {"female": "F", "male": "M", "other": "O", "unknown": "U"}
_STATUS = {"final": "F", "preliminary": "P", "corrected": "C", "amended": "C", "registered": "I", "cancelled": "X",
           "entered-in-error": "W"}  # fmt: skip


def admission(
    patient: Resource, encounter: Resource | None, *, trigger: str, sender: tuple[str, str], receiver: tuple[str, str],
    control_id: str, at: datetime,
) -> bytes:  # fmt: skip
    """An ADT message for a FHIR Patient and Encounter; `sender` and `receiver` are (application, facility)."""
    parts = [_header("ADT", trigger, f"ADT_{trigger}", sender, receiver, control_id, at)]
    parts += [segment("EVN", {1: trigger, 2: timestamp(at)}), _patient(patient)]
    parts.append(_visit(encounter) if encounter else segment("PV1", {1: "1", 2: "N"}))
    return write(compose(parts))


def results(
    patient: Resource, report: Resource, observations: Sequence[Resource], *, sender: tuple[str, str],
    receiver: tuple[str, str], control_id: str, at: datetime,
) -> bytes:  # fmt: skip
    """An ORU^R01 for a DiagnosticReport and its Observations."""
    parts = [_header("ORU", "R01", "ORU_R01", sender, receiver, control_id, at), _patient(patient), _order(report)]
    parts += [_observation(number, observation) for number, observation in enumerate(observations, 1)]
    return write(compose(parts))


def _header(
    code: str,
    trigger: str,
    structure: str,
    sender: tuple[str, str],
    receiver: tuple[str, str],
    control_id: str,
    at: datetime,
) -> Segment:
    fields: dict[int, Value] = {
        3: sender[0], 4: sender[1], 5: receiver[0], 6: receiver[1], 7: timestamp(at), 9: (code, trigger, structure),
        10: control_id, 11: "P", 12: "2.5.1", 18: "UNICODE UTF-8",
    }  # fmt: skip
    return segment("MSH", fields)


def _stamp(text: str) -> str:
    """A FHIR date or dateTime as DTM."""
    day, _, time = text.partition("T")
    digits = day.replace("-", "")
    if not time:
        return digits
    clock, offset = time[:8], time[8:].lstrip(".0123456789")
    return digits + clock.replace(":", "") + offset.replace(":", "").replace("Z", "+0000")


def _identifier(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Identifier → CX."""
    system = str(row.get("system", ""))
    name = row.get("assigner", {}).get("display", "")
    authority: Any = (name, system[8:], "ISO") if system.startswith("urn:oid:") else (name or system)
    kind = next((coding.get("code", "") for coding in row.get("type", {}).get("coding", ())), "")
    return (str(row.get("value", "")), "", "", authority, kind)


def _name(row: Mapping[str, Any]) -> tuple[str, ...]:
    given = [*row.get("given", []), "", ""]
    return (
        row.get("family", ""), given[0], " ".join(part for part in given[1:] if part),
        " ".join(row.get("suffix", [])), " ".join(row.get("prefix", [])),
    )  # fmt: skip


def _address(row: Mapping[str, Any]) -> tuple[str, ...]:
    lines = [*row.get("line", []), "", ""]
    return (
        lines[0], " ".join(part for part in lines[1:] if part), row.get("city", ""), row.get("state", ""),
        row.get("postalCode", ""), row.get("country", ""),
    )  # fmt: skip


def _concept(concept: Mapping[str, Any] | None) -> tuple[str, ...]:
    """CodeableConcept → CWE."""
    concept = concept or {}
    parts: list[str] = []
    for coding in concept.get("coding", [])[:2]:
        system = str(coding.get("system", ""))
        parts += [
            coding.get("code", ""),
            coding.get("display", ""),
            _SYSTEMS.get(system, system.removeprefix("urn:id:")),
        ]
    if not parts:
        return ("", concept.get("text", ""))
    return tuple(parts) if "text" not in concept else (*(parts + [""] * 8)[:8], concept["text"])


def _patient(patient: Resource) -> Segment:
    fields: dict[int, Value] = {
        1: "1",
        3: [_identifier(row) for row in patient.get("identifier", [])],
        5: [_name(row) for row in patient.get("name", [])],
        7: _stamp(patient.get("birthDate", "")),
        8: _GENDERS.get(patient.get("gender", ""), ""),
        11: [_address(row) for row in patient.get("address", [])],
        13: [
            ("", "PRN", "PH" if row.get("system") == "phone" else "Internet", *_reach(row))
            for row in patient.get("telecom", [])
        ],
    }
    return segment("PID", fields)


def _reach(row: Mapping[str, Any]) -> tuple[str, ...]:
    value = row.get("value", "")
    return (value,) if row.get("system") == "email" else ("", "", "", "", "", "", "", "", value)


def _visit(encounter: Resource) -> Segment:
    period = encounter.get("period", {})
    numbers = encounter.get("identifier", [])
    fields: dict[int, Value] = {
        1: "1",
        2: _CLASSES.get(encounter.get("class", {}).get("code", ""), "U"),
        19: _identifier(numbers[0]) if numbers else None,
        44: _stamp(period.get("start", "")),
        45: _stamp(period.get("end", "")),
    }
    return segment("PV1", fields)


def _order(report: Resource) -> Segment:
    numbers = report.get("identifier", [])
    fields: dict[int, Value] = {
        1: "1",
        3: numbers[-1].get("value", "") if numbers else None,
        4: _concept(report.get("code")),
        7: _stamp(report.get("effectiveDateTime", "")),
        22: _stamp(report.get("issued", "")),
        25: _STATUS.get(report.get("status", ""), ""),
    }
    return segment("OBR", fields)


def _observation(number: int, row: Resource) -> Segment:
    kind, value, units = _value(row)
    fields: dict[int, Value] = {
        1: str(number),
        2: kind,
        3: _concept(row.get("code")),
        5: value,
        6: units,
        8: [_concept(one)[:3] for one in row.get("interpretation", [])],
        11: _STATUS.get(row.get("status", ""), "F"),
        14: _stamp(row.get("effectiveDateTime", "")),
    }
    return segment("OBX", fields)


def _value(row: Resource) -> tuple[str, Value, Value]:
    """OBX-2, 5 and 6 of value[x]; what v2 has no type for goes as text."""
    if quantity := row.get("valueQuantity"):
        units = (
            quantity.get("code") or quantity.get("unit", ""),
            quantity.get("unit", ""),
            _SYSTEMS.get(quantity.get("system", ""), ""),
        )
        if sign := quantity.get("comparator"):
            return "SN", (sign, str(quantity["value"])), units
        return "NM", str(quantity["value"]), units
    if concept := row.get("valueCodeableConcept"):
        return "CWE", _concept(concept), None
    if at := row.get("valueDateTime"):
        return "DTM", _stamp(at), None
    if text := row.get("valueString"):
        lines: Value = list(str(text).split("\n"))
        return "TX", lines, None
    return "", None, None
