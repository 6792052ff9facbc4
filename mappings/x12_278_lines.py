"""One Claim.item → a service loop (2000F) of a 278: UM, TRN, REF, DTP, SV1/SV2/SV3, HSD, MSG."""

from __future__ import annotations

from typing import Any

from adapters.fhir.wire.elements import code, coding, extension, extension_value, rows
from adapters.fhir.wire.terms import (
    CODE_END,
    EPSDT,
    NURSING_HOME_LEVEL,
    NURSING_HOME_STATUS,
    REVENUE_UNIT_RATE_LIMIT,
)
from adapters.x12.wire.tree import Loop
from mappings.claim_model import ServiceLine
from mappings.x12_278_terms import SERVICE_NOTE, TIMING, TRACE_ASSIGNER
from mappings.x12_dates import date_values
from mappings.x12_parties import Shorten
from mappings.x12_tables import procedure_qualifier, table

Element = dict[str, Any]


def names_service(line: ServiceLine) -> bool:
    """Whether the item says which service it is about, or carries anything only a service loop can."""
    return (line.code not in ("", "not-applicable")) or bool(line.traces or line.element.get("revenue"))


def is_assigner(system: str) -> bool:
    """Whether a trace number's system names who assigned it, as TRN03 can say it: nine characters at least."""
    return system.startswith(TRACE_ASSIGNER) and len(system) >= len(TRACE_ASSIGNER) + 9


def write_line(line: ServiceLine, loop: Loop, shorten: Shorten, *, kind: str, event_place: Any) -> None:
    """Write one item of a claim of this kind (professional, institutional, oral).

    UM04 is written only where it differs from the event's.
    """
    item = line.element
    loop.add("HL", "SS")
    for system, value in line.traces[:3]:
        assigner = system.removeprefix(TRACE_ASSIGNER) if is_assigner(system) else "0000000000"
        loop.add("TRN", "1", value[:50], assigner[:10])
    place = coding(item.get("locationCodeableConcept"))
    qualifier = "A" if "nubc" in str(place.get("system", "")).lower() else "B"
    where: Any = (str(place["code"]), qualifier) if place else ""
    loop.add(
        "UM",
        line.request_type or "HS",
        line.certification_type or "I",
        line.category,
        "" if where == event_place else where,
    )
    for qualifier, number in (("BB", line.authorization_number), ("NT", line.administration_reference)):
        if number:
            loop.add("REF", qualifier, number[:50])
    days = date_values(item, "serviced")
    if days[1]:
        loop.add("DTP", "472", *days)
    _service(line, loop, shorten, kind)
    write_quantity(item, loop)
    note = str(extension_value(item, SERVICE_NOTE) or "")
    if note:
        loop.add("MSG", shorten(note, 264, "Claim.item.extension"))


def write_quantity(item: Element, loop: Loop) -> None:
    """HSD: the quantity when it counts visits or days, and the timing extension."""
    quantity = item.get("quantity") or {}
    unit = str(quantity.get("code") or quantity.get("unit") or "")
    parts = {
        str(part.get("url")): str(part.get("valueString", "")) for part in rows(extension(item, TIMING), "extension")
    }
    counted = unit in table("codes")["visit_units"] and quantity.get("value") is not None
    first = (unit, plain(quantity["value"])) if counted else (parts.get("HSD01", ""), parts.get("HSD02", ""))
    rest = [parts.get(f"HSD{at:02d}", "") for at in range(3, 9)]
    if any(first) or any(rest):
        loop.add("HSD", *first, *rest)


def plain(value: Any) -> str:
    """A number as X12 writes it: no exponent, no trailing zeros."""
    text = f"{value:f}" if not isinstance(value, int) else str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _service(line: ServiceLine, loop: Loop, shorten: Shorten, kind: str) -> None:
    item = line.element
    if not line.code or line.code == "not-applicable":
        if item.get("revenue"):
            _institutional(line, loop, "")
        return
    procedure = _procedure(line, shorten)
    if procedure[0] == "AD" or kind == "oral":
        loop.add("SV3", procedure, *([""] * 4), plain(line.quantity) if line.quantity is not None else "")
    elif kind == "institutional" or item.get("revenue") or _has_institutional_parts(item):
        _institutional(line, loop, procedure)
    else:
        _professional(line, loop, procedure)


def _procedure(line: ServiceLine, shorten: Shorten) -> tuple[str, ...]:
    """Qualifier, code, four modifiers, description, end of range."""
    modifiers = [*line.modifiers[:4], "", "", "", ""][:4]
    service = line.element.get("productOrService") or {}
    text = shorten(str(service.get("text", "")), 80, "Claim.item.productOrService.text")
    last = code(extension_value(line.element, CODE_END))
    return (procedure_qualifier(line.system), line.code, *modifiers, text, last)


def _has_institutional_parts(item: Element) -> bool:
    return any(extension(item, url) for url in (REVENUE_UNIT_RATE_LIMIT, NURSING_HOME_STATUS))


def _counted(line: ServiceLine, units: dict[str, str]) -> tuple[str, str]:
    """(unit, quantity) for a service segment; ("", "") when HSD carries it."""
    if line.quantity is None or line.unit in table("codes")["visit_units"]:
        return "", ""
    return units.get(line.unit, "UN"), plain(line.quantity)


def _professional(line: ServiceLine, loop: Loop, procedure: tuple[str, ...]) -> None:
    unit, quantity = _counted(line, {"UN": "UN", "MJ": "MJ", "F2": "F2"})
    pointers = tuple(str(number) for number in line.element.get("diagnosisSequence", [])[:4])
    values: list[Any] = [procedure, _price(line), unit, quantity, "", "", pointers or ""]
    values += [""] * 3 + ["Y" if extension_value(line.element, EPSDT) is True else ""]
    values += [""] * 8 + [code(extension_value(line.element, NURSING_HOME_LEVEL))]
    loop.add("SV1", *values)


def _institutional(line: ServiceLine, loop: Loop, procedure: Any) -> None:
    item = line.element
    unit, quantity = _counted(line, {"UN": "UN", "DA": "DA", "F2": "F2"})
    rate = extension_value(item, REVENUE_UNIT_RATE_LIMIT)
    values: list[Any] = [code(item.get("revenue")), procedure, _price(line), unit, quantity]
    values += [plain(rate) if rate is not None else "", "", ""]
    values += [code(extension_value(item, NURSING_HOME_STATUS)), code(extension_value(item, NURSING_HOME_LEVEL))]
    loop.add("SV2", *values)


def _price(line: ServiceLine) -> str:
    return plain(line.amount) if line.amount is not None else ""
