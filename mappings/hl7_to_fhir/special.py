"""Small converters that one or two rows need: extensions of fixed shape, identifiers of a known type, flags."""

from __future__ import annotations

from typing import Any

from . import primitives
from .datatypes import NPI, SSN, TYPES, coding, cwe, datatype, identifier
from .environment import Env, Parts, part, subs, within
from .vocabulary import Vocabulary, vocabulary

_CWE = {1: "coding.code", 2: "coding.display", 3: "coding.system", 4: "coding.code", 5: "coding.display",
        6: "coding.system",
        9: "text"}  # fmt: skip


@datatype("birthTime", {1: ""})
def birth_time(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """The time of birth where the field has more than a date."""
    value = primitives.date_time(parts[1], env.zone)
    return value if value and "T" in value else None


_OMB = {"1002-5", "2028-9", "2054-5", "2076-8", "2106-3", "2135-2", "2186-5"}
"""Race and ethnicity categories of the US Office of Management and Budget, code system CDCREC."""
_ETHNIC = {"H": "2135-2", "N": "2186-5"}


@datatype("race", {1: "ombCategory", 2: "text", 3: "ombCategory", 4: "detailed", 5: "text", 6: "detailed"})
def race(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """Race or ethnicity → the extension of US Core: category where the code is one, text always."""
    own = coding(part(parts, 1), part(parts, 2), part(parts, 3))
    text = primitives.string(part(parts, 2) or part(parts, 5) or part(parts, 1))
    if text is None or text == '""':
        return None
    inner: list[dict[str, Any]] = []
    if own is not None:
        category = _ETHNIC.get(own["code"], own["code"])
        if category in _OMB:
            value = {"system": "urn:oid:2.16.840.1.113883.6.238", "code": category}
            if "display" in own:
                value["display"] = own["display"]
            inner.append({"url": "ombCategory", "valueCoding": value})
        else:
            inner.append({"url": "detailed", "valueCoding": own})
    if alternate := coding(part(parts, 4), part(parts, 5), part(parts, 6)):
        inner.append({"url": "detailed", "valueCoding": alternate})
    return {"extension": [*inner, {"url": "text", "valueString": text}]}


def _coded(name: str, parts: Parts, env: Env) -> Any:
    concept = cwe(parts, env, None)
    return [{"url": name, "valueCodeableConcept": concept}] if concept else None


@datatype("coded-extension", _CWE)
def coded_extension(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """Citizenship, nationality: an extension with one inner `code`."""
    return _coded("code", parts, env)


@datatype("species-extension", _CWE)
def species_extension(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """Species: an extension with one inner `species`."""
    return _coded("species", parts, env)


@datatype("address-text", {1: "text"})
def address_text(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """A place named in words → Address.text."""
    text = primitives.string(parts[1])
    return {"text": text} if text else None


@datatype("text-list", {1: "text"})
def text_list(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """A text → a list of one CodeableConcept."""
    text = primitives.string(parts[1])
    return [{"text": text}] if text else None


@datatype("annotation", dict.fromkeys(range(1, 10), "text"))
def annotation(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """Text, coded or not → Annotation."""
    text = primitives.string(part(parts, 2) or part(parts, 1))
    return {"text": text} if text and text != '""' else None


@datatype("SSN", {1: "value"})
def ssn(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """Social security number → Identifier of type SS."""
    value = primitives.string(parts[1])
    if value is None:
        return None
    return {"type": {"coding": [{"system": TYPES, "code": "SS"}]}, "system": SSN, "value": value}


@datatype("DLN", {1: "value", 2: "assigner", 3: "period.end"})
def dln(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """Driver's licence → Identifier of type DL."""
    value = primitives.string(part(parts, 1))
    if value is None:
        return None
    result: dict[str, Any] = {"type": {"coding": [{"system": TYPES, "code": "DL"}]}, "value": value}
    if state := primitives.string(part(parts, 2)):
        result["assigner"] = {"display": state}
    if end := primitives.date_time(part(parts, 3), env.zone):
        result["period"] = {"end": end}
    return result


@datatype("PLN", {1: "value", 2: "type", 3: "assigner", 4: "period.end"})
def pln(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """Practitioner licence or other id number → Identifier; an NPI gets its system."""
    value, kind = primitives.string(part(parts, 1)), primitives.code(part(parts, 2)) or ""
    if value is None:
        return None
    result: dict[str, Any] = {}
    if kind:
        result["type"] = {"coding": [{"system": TYPES, "code": kind}]}
    if kind == "NPI":
        result["system"] = NPI
    result["value"] = value
    if state := primitives.string(part(parts, 3)):
        result["assigner"] = {"display": state}
    if end := primitives.date_time(part(parts, 4), env.zone):
        result["period"] = {"end": end}
    return result


@datatype("plain-identifier", {1: "value"})
def plain_identifier(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """A bare number → Identifier."""
    value = primitives.string(parts[1])
    return {"value": value} if value else None


@datatype("member-number", {1: "value"})
def member_number(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """Policy number → Identifier of type MB."""
    value = primitives.string(parts[1])
    return {"type": {"coding": [{"system": TYPES, "code": "MB"}]}, "value": value} if value else None


_CLASS = "http://terminology.hl7.org/CodeSystem/coverage-class"


def coverage_class(kind: str, value: str, name: str = "") -> dict[str, Any]:
    """One class of a Coverage: group, plan …"""
    result: dict[str, Any] = {"type": {"coding": [{"system": _CLASS, "code": kind}]}, "value": value}
    return result | ({"name": name} if name.strip() else {})


@datatype("plan-class", {1: "value", 2: "name", 3: "!coding system of the plan: the payer's own"})
def plan_class(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """Plan id → Coverage.class of type plan."""
    value = part(parts, 1).strip() or part(parts, 2).strip()
    return coverage_class("plan", value, part(parts, 2)) if value and value != '""' else None


_RELATIONSHIPS = {"SEL": "self", "SELF": "self", "1": "self", "01": "self", "18": "self", "SPO": "spouse",
                  "2": "spouse",
                  "02": "spouse", "DOM": "common", "CHD": "child", "3": "child", "03": "child", "NCH": "child",
                  "SCH": "child", "PAR": "parent", "MTH": "parent", "FTH": "parent"}  # fmt: skip


@datatype("subscriber-relationship", _CWE)
def subscriber_relationship(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """Insured's relationship to patient (0063) → the code FHIR uses, the original beside it."""
    concept = cwe(parts, env, None)
    if concept is None:
        return None
    code = _RELATIONSHIPS.get(part(parts, 1).upper(), "other")
    system = "http://terminology.hl7.org/CodeSystem/subscriber-relationship"
    return concept | {"coding": [{"system": system, "code": code}, *concept.get("coding", [])]}


@datatype("substitution", {1: ""})
def substitution(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """Table 0161 → whether substitution is allowed."""
    return {"N": False, "G": True, "T": True, "Y": True}.get(parts[1].strip().upper())


@datatype("DR-start", {1: "start", 2: "!end of the collection: its start is kept"})
def dr_start(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """The start of a range of times."""
    return primitives.date_time(part(parts, 1), env.zone)


@datatype("quantity-number", {1: "value"})
def quantity_number(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """A number → Quantity."""
    value = primitives.number(parts[1])
    return None if value is None else {"value": value}


@datatype("days", {1: "value"})
def days(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """A number of days → Duration."""
    value = primitives.number(parts[1])
    system = "http://unitsofmeasure.org"
    return None if value is None else {"value": value, "unit": "d", "system": system, "code": "d"}


@datatype("SPD", {1: "text", 2: "text", 3: "!board status", 4: "!certification date"})
def specialty(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """A specialty named in words."""
    text = primitives.string(part(parts, 1))
    return {"text": text} if text else None


@datatype("SPS", {1: "coding", 2: "~additives", 3: "~method", 4: "~site", 5: "~site", 6: "~site", 7: "~role"})
def sps(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """Specimen source of old messages → the specimen's type."""
    return cwe(within(parts, 1), env, vocabulary("SpecimenType"))


@datatype("active-inactive", _CWE)
def active(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """Table 0183 → boolean."""
    return {"A": True, "I": False}.get(part(parts, 1).upper())


@datatype("allergy-status", _CWE)
def allergy_status(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """Table 0438 → clinical status; unknown words are kept as text."""
    code = part(parts, 1).upper()
    system = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
    value = {"I": "inactive", "D": "resolved"}.get(code, "active")
    text = primitives.string(part(parts, 2)) or primitives.string(code)
    return {"coding": [{"system": system, "code": value}]} | ({"text": text} if text else {})


@datatype("document-status", {1: ""})
def document_status(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """Table 0271 (completion) → docStatus."""
    final = {"AU", "LA", "DO", "PA"}
    code = parts[1].upper()
    if code in final:
        return "final"
    return {"DI": "preliminary", "IN": "preliminary", "IP": "preliminary", "UC": "preliminary"}.get(code)


_EIP = {1: "placer", 2: "filler"}


@datatype("EIP", _EIP)
def eip(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """A pair of placer and filler numbers → the placer's Identifier, else the filler's."""
    for number in (1, 2):
        told = [*subs(parts, number), "", "", ""]
        if held := identifier(told[0], "", told[1:4], env):
            return held
    return None


@datatype("EIP-reference", _EIP)
def eip_reference(parts: Parts, env: Env, vocabulary: Vocabulary | None) -> Any:
    """A pair of numbers of something outside this message → a logical reference."""
    held = eip(parts, env, vocabulary)
    return {"identifier": held} if held else None


@datatype("EI-reference", {1: "value", 2: "assigner", 3: "system", 4: "system"})
def ei_reference(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """A number of something outside this message → a logical reference."""
    held = identifier(part(parts, 1), "", [part(parts, 2), part(parts, 3), part(parts, 4)], env)
    return {"identifier": held} if held else None
