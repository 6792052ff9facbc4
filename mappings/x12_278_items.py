"""Service lines (2000F) of a 278 → Claim.item. An event without lines is one item whose service is not named."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from adapters.fhir.wire.terms import (
    ADMINISTRATION_REFERENCE,
    AUTHORIZATION_NUMBER,
    CERTIFICATION_TYPE,
    CODE_END,
    DATA_ABSENT_CODES,
    EPSDT,
    ITEM_TRACE_NUMBER,
    NURSING_HOME_LEVEL,
    NURSING_HOME_STATUS,
    REQUEST_TYPE,
    REVENUE_UNIT_RATE_LIMIT,
    X12,
)
from adapters.x12.wire.tree import Loop, Segment
from mappings.x12_278_terms import (
    BILL_TYPE,
    CATEGORY_ELEMENT,
    CERTIFICATION_ELEMENT,
    MEASURE_ELEMENT,
    PLACE_OF_SERVICE,
    REQUEST_TYPE_ELEMENT,
    REVENUE,
    SERVICE_NOTE,
    TIMING,
    TRACE_ASSIGNER,
    UNIT_ELEMENT,
)
from mappings.x12_dates import timed
from mappings.x12_tables import concept, procedure_system
from mappings.x12_trace import Tracer

Element = dict[str, Any]


def exact(text: str) -> int | Decimal | None:
    """A number as int where whole, else Decimal; None when it is none."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite():
        return None
    return int(number) if number == number.to_integral_value() and abs(number) < 10**15 else number


def read_items(event: Loop, tracer: Tracer) -> list[Element]:
    """Claim.item in the order of the service loops, `sequence` from 1."""
    lines = list(event.loops("2000F"))
    if not lines:
        return [_item(event, event, 1, tracer)]
    return [_item(line, event, number, tracer) for number, line in enumerate(lines, 1)]


def _item(line: Loop, event: Loop, sequence: int, tracer: Tracer) -> Element:
    """`line` is the event itself when there are no service loops."""
    target = "Claim.item"
    extensions = _review_extensions(line, event, tracer)
    item: Element = {"extension": extensions, "sequence": sequence}
    review, whole = line.segment("UM"), event.segment("UM")
    category = tracer.take(review, 3, f"{target}.category") or tracer.take(whole, 3, f"{target}.category")
    if category:
        item["category"] = concept(CATEGORY_ELEMENT, category)
    item |= read_service(line, extensions, tracer)
    item.setdefault("productOrService", {"coding": [{"system": DATA_ABSENT_CODES, "code": "not-applicable"}]})
    for segment in line.segments("DTP", "472"):
        tracer.take(segment, 1, f"{target}.serviced")
        tracer.take(segment, 2, f"{target}.serviced")
        item |= timed(segment.get(2), tracer.take(segment, 3, f"{target}.serviced"), "serviced")
    place = location(review, tracer) or location(whole, tracer)
    if place:
        item["locationCodeableConcept"] = place
    quantity = _delivery(line, extensions, tracer, is_second="quantity" in item)
    if quantity:
        item["quantity"] = quantity
    note = tracer.take(line.segment("MSG"), 1, f"{target}.extension") if line is not event else ""
    if note:
        extensions.append({"url": SERVICE_NOTE, "valueString": note})
    return item


def _review_extensions(line: Loop, event: Loop, tracer: Tracer) -> list[Element]:
    """UM01, UM02 (the event's where the line has none), TRN, REF*BB, REF*NT."""
    found: list[Element] = []
    review, whole = line.segment("UM"), event.segment("UM")
    codes = ((1, REQUEST_TYPE, REQUEST_TYPE_ELEMENT), (2, CERTIFICATION_TYPE, CERTIFICATION_ELEMENT))
    for at, url, element in codes:
        code = tracer.take(review, at, "Claim.item.extension") or tracer.take(whole, at, "Claim.item.extension")
        if code:
            found.append({"url": url, "valueCodeableConcept": concept(element, code)})
    if line is event:
        return found
    for trace in line.segments("TRN"):
        found.append({"url": ITEM_TRACE_NUMBER, "valueIdentifier": trace_identifier(trace, tracer)})
    for qualifier, url in (("BB", AUTHORIZATION_NUMBER), ("NT", ADMINISTRATION_REFERENCE)):
        number = reference(line, qualifier, url, tracer)
        if number:
            found.append({"url": url, "valueString": number})
    return found


def trace_identifier(trace: Segment, tracer: Tracer) -> Element:
    """TRN02 and TRN03 as an identifier whose system names the assigner."""
    tracer.take(trace, 1, "identifier")
    number, assigner = tracer.take(trace, 2, "identifier.value"), tracer.take(trace, 3, "identifier.system")
    identifier: Element = {"system": f"{TRACE_ASSIGNER}{assigner}", "value": number}
    if assigner:
        identifier["assigner"] = {"identifier": {"value": assigner}}
    return identifier


def reference(loop: Loop, qualifier: str, target: str, tracer: Tracer) -> str:
    """REF02 of the loop's REF with this qualifier."""
    segment = loop.segment("REF", qualifier)
    tracer.take(segment, 1, target)
    return tracer.take(segment, 2, target)


def location(review: Segment | None, tracer: Tracer) -> Element | None:
    """UM04: place of service (qualifier B) or type of bill (A)."""
    place = tracer.take(review, 4, "Claim.item.location", 1)
    qualifier = tracer.take(review, 4, "Claim.item.location", 2)
    if not place:
        return None
    return {"coding": [{"system": BILL_TYPE if qualifier == "A" else PLACE_OF_SERVICE, "code": place}]}


def read_service(line: Loop, extensions: list[Element], tracer: Tracer) -> Element:
    """SV1, SV2 or SV3 → productOrService, modifier, revenue, quantity, unitPrice and their extensions."""
    for name, code_at, price_at, unit_at, quantity_at in (
        ("SV1", 1, 2, 3, 4),
        ("SV2", 2, 3, 4, 5),
        ("SV3", 1, 2, 0, 6),
    ):
        segment = line.segment(name)
        if segment is None:
            continue
        found = _procedure(segment, code_at, extensions, tracer)
        price = exact(tracer.take(segment, price_at, "Claim.item.unitPrice"))
        if price is not None:
            found["unitPrice"] = {"value": price, "currency": "USD"}
        amount = exact(tracer.take(segment, quantity_at, "Claim.item.quantity"))
        unit = tracer.take(segment, unit_at, "Claim.item.quantity") if unit_at else ""
        if amount is not None:
            found["quantity"] = _quantity(amount, unit, MEASURE_ELEMENT)
        _service_extensions(segment, extensions, tracer)
        revenue = tracer.take(segment, 1, "Claim.item.revenue") if name == "SV2" else ""
        if revenue:
            found["revenue"] = {"coding": [{"system": REVENUE, "code": revenue}]}
        if name == "SV1":
            pointers = [int(at) for at in segment.components(7) if at.isdigit()]
            for position in range(1, 5):
                tracer.take(segment, 7, "Claim.item.diagnosisSequence", position)
            if pointers:
                found["diagnosisSequence"] = pointers
        return found
    return {}


def _procedure(segment: Segment, at: int, extensions: list[Element], tracer: Tracer) -> Element:
    """The composite procedure: qualifier, code, up to four modifiers, description, end of a code range."""
    system = procedure_system(tracer.take(segment, at, "Claim.item.productOrService", 1))
    code = tracer.take(segment, at, "Claim.item.productOrService", 2)
    if not code:
        return {}
    service: Element = {"coding": [{"system": system, "code": code}]}
    text = tracer.take(segment, at, "Claim.item.productOrService.text", 7)
    if text:
        service["text"] = text
    found: Element = {"productOrService": service}
    modifiers = [tracer.take(segment, at, "Claim.item.modifier", component) for component in (3, 4, 5, 6)]
    if any(modifiers):
        found["modifier"] = [{"coding": [{"system": system, "code": code}]} for code in modifiers if code]
    last = tracer.take(segment, at, "Claim.item.extension", 8)
    if last:
        end = {"coding": [{"system": system, "code": last}]}
        extensions.append({"url": CODE_END, "valueCodeableConcept": end})
    return found


def _service_extensions(segment: Segment, extensions: list[Element], tracer: Tracer) -> None:
    """EPSDT (SV111), nursing home status and level (SV209, SV120, SV210), unit rate limit (SV206)."""
    target = "Claim.item.extension"
    if segment.id == "SV1":
        if tracer.take(segment, 11, target) == "Y":
            extensions.append({"url": EPSDT, "valueBoolean": True})
        level = tracer.take(segment, 20, target)
    elif segment.id == "SV2":
        rate = exact(tracer.take(segment, 6, target))
        if rate is not None:
            extensions.append({"url": REVENUE_UNIT_RATE_LIMIT, "valueDecimal": rate})
        status = tracer.take(segment, 9, target)
        if status:
            extensions.append({"url": NURSING_HOME_STATUS, "valueCodeableConcept": concept("1345", status)})
        level = tracer.take(segment, 10, target)
    else:
        level = ""
    if level:
        extensions.append({"url": NURSING_HOME_LEVEL, "valueCodeableConcept": concept("1337", level)})


def _delivery(loop: Loop, extensions: list[Element], tracer: Tracer, *, is_second: bool) -> Element | None:
    """HSD: the quantity, unless the service segment gave one (`is_second`); everything else in an extension."""
    delivery = loop.segment("HSD")
    values = {at: tracer.take(delivery, at, "Claim.item.quantity") for at in range(1, 9)}
    amount = None if is_second else exact(values[2])
    first = 1 if amount is None else 3
    parts: list[Element] = [
        {"url": f"HSD{at:02d}", "valueString": value} for at, value in values.items() if value and at >= first
    ]
    if parts:
        extensions.append({"url": TIMING, "extension": parts})
    return _quantity(amount, values[1], UNIT_ELEMENT) if amount is not None else None


def _quantity(amount: int | Decimal, unit: str, element: str) -> Element:
    quantity: Element = {"value": amount}
    return quantity | ({"system": X12 + element, "code": unit} if unit else {})
