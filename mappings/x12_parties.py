"""X12 names (NM1 with REF, N3, N4, PER, PRV, DMG, INS) ⇄ FHIR people and organizations.

What FHIR has no element for is carried under identifiers `urn:x12:005010:128:<REF01>` or the extensions named here,
so that the way back gives the same segments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adapters.fhir.wire.elements import code, extension_value, rows
from adapters.fhir.wire.terms import COVERAGE_CLASS, EXTENSION, IDENTIFIER_TYPE, X12_ENTITY
from adapters.x12.wire.tree import Loop, Segment
from gateway.core.ledger import Ledger
from mappings.x12_dates import iso_day, x12_day
from mappings.x12_tables import (
    concept,
    inverse,
    name_qualifier,
    name_system,
    reference_qualifier,
    reference_system,
    table,
)
from mappings.x12_trace import Tracer

Element = dict[str, Any]

MILITARY_STATUS = EXTENSION + "militaryStatus"
TAXONOMY = "http://nucc.org/provider-taxonomy"
X12_PROVIDER_CODE = "https://codesystem.x12.org/005010/1221"
CONTACT_SYSTEMS = {"TE": "phone", "FX": "fax", "EM": "email", "UR": "url"}
"""PER03 (element 365) ⇄ ContactPoint.system. EX extends the number before it."""


def read_organization(loop: Loop, tracer: Tracer, target: str) -> Element:
    """A loop that begins with NM1 → Organization, without id."""
    name = loop.segment("NM1")
    organization: Element = {"resourceType": "Organization"}
    identifiers = _identifiers(loop, tracer, target)
    if identifiers:
        organization["identifier"] = identifiers
    organization["active"] = True
    kind = tracer.take(name, 1, f"{target}.type")
    tracer.take(name, 2, f"{target}.resourceType")
    organization["type"] = [concept("98", kind)]
    organization["name"] = tracer.take(name, 3, f"{target}.name") or "unnamed"
    return organization | _whereabouts(loop, tracer, target)


def read_practitioner(loop: Loop, tracer: Tracer, target: str) -> Element:
    """A loop that begins with NM1 of a person → Practitioner, without id."""
    name = loop.segment("NM1")
    practitioner: Element = {"resourceType": "Practitioner"}
    identifiers = _identifiers(loop, tracer, target)
    if identifiers:
        practitioner["identifier"] = identifiers
    tracer.take(name, 2, f"{target}.resourceType")
    practitioner["name"] = [_human_name(name, tracer, target)]
    whereabouts = _whereabouts(loop, tracer, target)
    whereabouts.pop("contact", None)
    return practitioner | whereabouts


def read_specialty(loop: Loop, tracer: Tracer, target: str) -> list[Element]:
    """PRV → specialty concepts: taxonomy code, with the provider code (PRV01) beside it."""
    provider = loop.segment("PRV")
    taxonomy = tracer.take(provider, 3, f"{target}.specialty")
    if provider is None or not taxonomy:
        return []
    tracer.take(provider, 2, f"{target}.specialty")
    role = tracer.take(provider, 1, f"{target}.specialty")
    return [
        {"coding": [{"system": TAXONOMY, "code": taxonomy}, {"system": X12_PROVIDER_CODE, "code": role}]},
    ]


def read_patient(loop: Loop, tracer: Tracer) -> Element:
    """2010C or 2010D → Patient, without id."""
    name, demographics, relation = loop.segment("NM1"), loop.segment("DMG"), loop.segment("INS")
    patient: Element = {"resourceType": "Patient"}
    military = tracer.take(relation, 8, "Patient.extension(militaryStatus)")
    if military:
        patient["extension"] = [{"url": MILITARY_STATUS, "valueCodeableConcept": concept("584", military)}]
    identifiers = _identifiers(loop, tracer, "Patient")
    if identifiers:
        patient["identifier"] = identifiers
    for element in (1, 2):
        tracer.take(name, element, "Patient")
    patient["name"] = [_human_name(name, tracer, "Patient")]
    whereabouts = _whereabouts(loop, tracer, "Patient")
    whereabouts.pop("contact", None)
    gender = table("codes")["genders"].get(tracer.take(demographics, 3, "Patient.gender"))
    if gender:
        patient["gender"] = gender
    tracer.take(demographics, 1, "Patient.birthDate")
    born = iso_day(tracer.take(demographics, 2, "Patient.birthDate"))
    if born:
        patient["birthDate"] = born
    order = tracer.take(relation, 17, "Patient.multipleBirthInteger")
    if order.isdigit():
        patient["multipleBirthInteger"] = int(order)
    return patient | whereabouts


def group_and_plan(subscriber: Element) -> dict[str, str]:
    """What the subscriber's own numbers say of the coverage: group or policy number, plan network (2010C REF)."""
    numbers = {str(row.get("system", "")): str(row.get("value", "")) for row in subscriber.get("identifier", [])}
    return {
        kind: next((found for qualifier in qualifiers if (found := numbers.get(reference_system(qualifier), ""))), "")
        for kind, qualifiers in {"group": ("6P", "1L"), "plan": ("N6",)}.items()
    }


def coverage_classes(values: Mapping[str, str]) -> Element:
    """Coverage.class by kind (`group`, `plan`), of those that have a value."""
    found = [
        {"type": {"coding": [{"system": COVERAGE_CLASS, "code": kind}]}, "value": value}
        for kind, value in values.items()
        if value
    ]
    return {"class": found} if found else {}


def _identifiers(loop: Loop, tracer: Tracer, target: str) -> list[Element]:
    name = loop.segment("NM1")
    found: list[Element] = []
    qualifier = tracer.take(name, 8, f"{target}.identifier.system")
    value = tracer.take(name, 9, f"{target}.identifier.value")
    if value:
        identifier: Element = {}
        if qualifier == "MI":
            identifier["type"] = {"coding": [{"system": IDENTIFIER_TYPE, "code": "MB"}]}
        found.append(identifier | {"system": name_system(qualifier), "value": value})
    for reference in loop.segments("REF"):
        kind = tracer.take(reference, 1, f"{target}.identifier.system")
        number = tracer.take(reference, 2, f"{target}.identifier.value")
        if number:
            found.append({"system": reference_system(kind), "value": number})
    return found


def _human_name(name: Segment | None, tracer: Tracer, target: str) -> Element:
    places = {"family": 3, "given": 4, "middle": 5, "prefix": 6, "suffix": 7}
    parts = {part: tracer.take(name, at, f"{target}.name") for part, at in places.items()}
    human: Element = {"family": parts["family"]} if parts["family"] else {}
    given = [part for part in (parts["given"], parts["middle"]) if part]
    if given:
        human["given"] = given
    for part in ("prefix", "suffix"):
        if parts[part]:
            human[part] = [parts[part]]
    return human or {"text": "unnamed"}


def _whereabouts(loop: Loop, tracer: Tracer, target: str) -> Element:
    """N3, N4 → address; PER → telecom (and contact name of an organization)."""
    found: Element = {}
    street, city = loop.segment("N3"), loop.segment("N4")
    address: Element = {}
    lines = [line for line in (tracer.take(street, at, f"{target}.address.line") for at in (1, 2)) if line]
    if lines:
        address["line"] = lines
    for part, at in {"city": 1, "state": 2, "postalCode": 3, "country": 4, "district": 6}.items():
        value = tracer.take(city, at, f"{target}.address.{part}")
        if part == "postalCode" and len(value) == 9 and value.isdecimal():
            value = f"{value[:5]}-{value[5:]}"
        if value:
            address[part] = value
    if address:
        found["address"] = [address]
    contact = loop.segment("PER")
    telecom: list[Element] = []
    for at in (3, 5, 7):
        kind = tracer.take(contact, at, f"{target}.telecom.system")
        value = tracer.take(contact, at + 1, f"{target}.telecom.value")
        if kind == "EX" and telecom and value:
            telecom[-1]["value"] += f" x{value}"
        elif value and kind in CONTACT_SYSTEMS:
            telecom.append({"system": CONTACT_SYSTEMS[kind], "value": value})
    if telecom:
        found["telecom"] = telecom
    person = tracer.take(contact, 2, f"{target}.contact.name")
    if contact is not None:
        tracer.take(contact, 1, f"{target}.contact")
    if person:
        found["contact"] = [{"name": {"text": person}}]
    return found


NAME_LENGTHS = (60, 35, 25, 10, 10)
"""Characters of NM103–NM107."""
_MARKS = str.maketrans(dict.fromkeys("*:^~|\r\n\t", " "))

Shorten = Callable[[str, int, str], str]
"""(value, most characters, what it is) → the value as X12 can carry it; a cut is noted by whoever gives it."""


def fitting(value: str, most: int) -> str:
    """The value without separators and line ends, at most `most` characters."""
    return " ".join(value.translate(_MARKS).split())[:most].rstrip()


def noting(left_out: Ledger) -> Shorten:
    """A `Shorten` that notes every cut."""

    def shorten(value: str, most: int, what: str) -> str:
        whole = " ".join(value.translate(_MARKS).split())
        if len(whole) > most:
            left_out.add(what, "ignored", f"the 278 carries {most} characters of it")
        return fitting(value, most)

    return shorten


def write_party(
    loop: Loop, entity: str, resource: Element, shorten: Shorten, specialty: list[Element] | None = None
) -> None:
    """A person or organization as NM1, REF, N3, N4, PER, PRV into `loop`, in the guides' order."""
    is_person = resource.get("resourceType") in ("Practitioner", "Patient", "RelatedPerson")
    main, others = _split_identifiers(resource)
    parts = [str(resource.get("name") or ""), "", "", "", ""]
    if is_person:
        human = next(iter(rows(resource, "name")), {})
        given = [str(part) for part in human.get("given", [])]
        parts = [
            str(human.get("family") or human.get("text") or ""),
            given[0] if given else "",
            " ".join(given[1:]),
            str(next(iter(human.get("prefix", [])), "")),
            str(next(iter(human.get("suffix", [])), "")),
        ]
    where = f"{resource.get('resourceType')}.name"
    name = [shorten(part, most, where) for part, most in zip(parts, NAME_LENGTHS, strict=True)]
    loop.add("NM1", entity, "1" if is_person else "2", *name, *main)
    for qualifier, value in others:
        loop.add("REF", qualifier, value)
    _write_whereabouts(loop, resource, shorten)
    if resource.get("resourceType") != "Patient":
        _write_contact(loop, resource, shorten)
        _write_specialty(loop, specialty or [])


def _split_identifiers(resource: Element) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """((NM108, NM109), [(REF01, REF02) …]): the number NM1 names (member number, NPI, others); the rest."""
    found = [row for row in rows(resource, "identifier") if row.get("value")]
    ranked = sorted(found, key=_rank)
    main = ("", "")
    rest: list[tuple[str, str]] = []
    for row in ranked:
        qualifier = (
            "MI" if code(row.get("type"), IDENTIFIER_TYPE) == "MB" else name_qualifier(str(row.get("system", "")))
        )
        reference = reference_qualifier(str(row.get("system", "")))
        if not main[1] and qualifier:
            main = (qualifier, str(row["value"]))
        elif reference:
            rest.append((reference, str(row["value"])))
    return main, rest


def _rank(row: Element) -> int:
    if code(row.get("type"), IDENTIFIER_TYPE) == "MB":
        return 0
    return 1 if name_qualifier(str(row.get("system", ""))) == "XX" else 2


def _write_whereabouts(loop: Loop, resource: Element, shorten: Shorten) -> None:
    address = next(iter(rows(resource, "address")), {})
    where = f"{resource.get('resourceType')}.address"
    lines = [shorten(str(line), 55, where) for line in address.get("line", [])][:2]
    if lines:
        loop.add("N3", *lines)
    # X12 writes ZIP+4 without its dash.
    postal = str(address.get("postalCode", "")).replace("-", "")
    country = str(address.get("country", ""))
    # A state spelled out is not its code, and half of it is another one's.
    spelled = str(address.get("state", ""))
    state = spelled if len(shorten(spelled, 2, f"{where}.state")) == len(spelled) else ""
    place = [shorten(str(address.get("city", "")), 30, where), state, postal, "" if country == "US" else country]
    district = str(address.get("district", ""))
    if any(place) or district:
        loop.add("N4", *place, "", district)


def _write_contact(loop: Loop, resource: Element, shorten: Shorten) -> None:
    codes = {system: code for code, system in CONTACT_SYSTEMS.items()}
    numbers: list[str] = []
    for row in rows(resource, "telecom"):
        kind, value = codes.get(str(row.get("system"))), str(row.get("value", ""))
        if kind and value and len(numbers) < 6:
            plain, _, more = value.partition(" x")
            numbers += [kind, plain] + (["EX", more] if more and len(numbers) < 4 else [])
    person = str(((next(iter(rows(resource, "contact")), {})).get("name") or {}).get("text", ""))
    if numbers or person:
        loop.add("PER", "IC", shorten(person, 60, f"{resource.get('resourceType')}.contact"), *numbers)


def _write_specialty(loop: Loop, specialty: list[Element]) -> None:
    taxonomy = next((code(row, TAXONOMY) for row in specialty if code(row, TAXONOMY)), "")
    if taxonomy:
        role = next((code(row, X12_PROVIDER_CODE) for row in specialty if code(row, X12_PROVIDER_CODE)), "PE")
        loop.add("PRV", role, "PXC", taxonomy)


def write_demographics(loop: Loop, patient: Element) -> None:
    """DMG of a Patient, where anything is known."""
    gender = inverse("codes", "genders").get(str(patient.get("gender", "")), "")
    born = x12_day(str(patient.get("birthDate", "")))
    if born:
        loop.add("DMG", "D8", born, gender)


def write_relation(loop: Loop, patient: Element, relationship: str, *, is_subscriber: bool) -> None:
    """INS: of a subscriber only for the military status; of a dependent always, as it names the relationship."""
    military = code(extension_value(patient, MILITARY_STATUS))
    if is_subscriber:
        if military:
            loop.add("INS", "Y", "18", "", "", "", "", "", military)
        return
    order = str(patient.get("multipleBirthInteger", ""))
    filler = [""] * 14 if order else []
    loop.add("INS", "N", relationship or "G8", *filler, *([order] if order else []))


def entity_type(resource: Element, default: str) -> str:
    """X12 98 entity code of an Organization; `default` where it names none."""
    return next((code(row, X12_ENTITY) for row in rows(resource, "type") if code(row, X12_ENTITY)), default)
