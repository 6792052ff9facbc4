"""The X12 mapping tables (tables/x12/*.yaml) as immutable lookups, both ways."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

X12 = "https://codesystem.x12.org/005010/"
"""Prefix of X12 code systems; the element number follows."""


@cache
def table(name: str) -> dict[str, Any]:
    """One table by file name without ending."""
    text = (files("mappings") / "tables" / "x12" / f"{name}.yaml").read_text("utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


@cache
def inverse(name: str, section: str) -> dict[str, str]:
    """A section of plain values turned round: value → code; the first code wins."""
    turned: dict[str, str] = {}
    for code, value in table(name)[section].items():
        turned.setdefault(str(value), str(code))
    return turned


def procedure_system(qualifier: str) -> str:
    """FHIR system of a procedure qualifier."""
    return str(table("codes")["procedures"].get(qualifier, f"urn:x12:005010:235:{qualifier}"))


def procedure_qualifier(system: str) -> str:
    """X12 qualifier of a FHIR system; HC when the system is unknown, as plain codes are HCPCS."""
    if system.startswith("urn:x12:005010:235:"):
        return system.rpartition(":")[2]
    return inverse("codes", "procedures").get(system) or str(table("codes")["aliases"].get(system, "HC"))


def name_system(qualifier: str) -> str:
    """FHIR identifier system of an NM108 qualifier."""
    row = table("identifiers")["names"].get(qualifier)
    return str(row["system"]) if row else f"urn:x12:005010:66:{qualifier}"


def name_qualifier(system: str) -> str:
    """NM108 of a FHIR identifier system; "" when it has none."""
    if system.startswith("urn:x12:005010:66:"):
        return system.rpartition(":")[2]
    return next((code for code, row in table("identifiers")["names"].items() if row["system"] == system), "")


def reference_system(qualifier: str) -> str:
    """FHIR identifier system of a REF01 qualifier."""
    row = table("identifiers")["references"].get(qualifier)
    return str(row["system"]) if row else f"urn:x12:005010:128:{qualifier}"


def reference_qualifier(system: str) -> str:
    """REF01 of a FHIR identifier system; "" when it has none."""
    if system.startswith("urn:x12:005010:128:"):
        return system.rpartition(":")[2]
    return next((code for code, row in table("identifiers")["references"].items() if row["system"] == system), "")


def concept(element: str, code: str) -> dict[str, Any]:
    """A CodeableConcept of one X12 element's code."""
    return {"coding": [{"system": X12 + element, "code": code}]}


def dotted(code: str, kind: str) -> str:
    """A diagnosis code as FHIR writes it: with its point (X12 has none). `kind`: icd10 or icd9."""
    at = 4 if kind == "icd9" and code.startswith("E") else 3
    return code if "." in code or len(code) <= at else f"{code[:at]}.{code[at:]}"
