"""One claim payment (2100) of an 835 ⇄ ClaimResponse, with the PaymentReconciliation it is part of.

Amounts are Decimal; group and reason codes of adjustments (CAS) are kept as codes of X12 1033 and external list 139.
The way back (`claim_payment`) writes CLP, CAS, SVC so that CLP03 = CLP04 + adjustments; what does not balance is
refused before it is written, as the writer would.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from adapters.fhir.wire.elements import code, coding, rows
from adapters.x12.wire.tree import Loop, Segment
from gateway.core.errors import Unmappable
from gateway.core.ledger import Ledger
from mappings.x12_278_items import exact
from mappings.x12_278_lines import plain
from mappings.x12_bundle import Build, Transmission
from mappings.x12_dates import iso_day, x12_day
from mappings.x12_parties import read_patient, read_practitioner
from mappings.x12_tables import X12, concept, procedure_qualifier, procedure_system
from mappings.x12_trace import Tracer, root_of

MAPPING = "x12_835_to_fhir@1"
Element = dict[str, Any]
ADJUDICATION = "http://terminology.hl7.org/CodeSystem/adjudication"
GROUP, REASON = X12 + "1033", "https://codesystem.x12.org/external/139"
STATUS = "urn:x12:005010:1029"
"""Extension: claim status code (CLP02)."""


def payment_bundle(loop: Loop, transmission: Transmission, received_at: datetime) -> tuple[Element, Element, Ledger]:
    """One 2100 with its ancestors → (Bundle, facts, ledger)."""
    ledger = Ledger(MAPPING)
    root = root_of(loop)
    tracer, build = Tracer(root, ledger), Build(transmission)
    issued = root.segment("DTM", "405")
    tracer.take(issued, 1, "PaymentReconciliation.created")
    created = iso_day(tracer.take(issued, 2, "PaymentReconciliation.created")) or received_at.date().isoformat()
    payer = build.add(_organization(root.loop("1000A"), tracer, "Organization(payer)"), "payer")
    payee = build.add(_organization(root.loop("1000B"), tracer, "Organization(payee)"), "payee")
    response, facts = _response(loop, created, payer, payee, build, tracer)
    build.add(_reconciliation(root, created, payer, response, tracer), "PaymentReconciliation")
    tracer.finish()
    number = root.get("TRN", 2) or transmission.transaction
    facts |= {"request.traceNumber": number, "request.receivedAt": received_at.isoformat()}
    return build.bundle(response, "ClaimResponse", number, f"{created}T00:00:00Z"), facts, ledger


def _organization(loop: Loop | None, tracer: Tracer, target: str) -> Element:
    """N1, N3, N4 of payer and payee."""
    name = loop.segment("N1") if loop else None
    organization: Element = {"resourceType": "Organization"}
    tracer.take(name, 1, target)
    qualifier, number = tracer.take(name, 3, f"{target}.identifier"), tracer.take(name, 4, f"{target}.identifier")
    if number:
        system = "http://hl7.org/fhir/sid/us-npi" if qualifier == "XX" else f"urn:x12:005010:66:{qualifier}"
        organization["identifier"] = [{"system": system, "value": number}]
    organization |= {"active": True, "name": tracer.take(name, 2, f"{target}.name") or "unnamed"}
    street, city = (loop.segment("N3"), loop.segment("N4")) if loop else (None, None)
    address: Element = {}
    lines = [line for line in (tracer.take(street, at, f"{target}.address") for at in (1, 2)) if line]
    address |= {"line": lines} if lines else {}
    for at, part in ((1, "city"), (2, "state"), (3, "postalCode")):
        value = tracer.take(city, at, f"{target}.address.{part}")
        address |= {part: value} if value else {}
    return organization | ({"address": [address]} if address else {})


def _response(
    loop: Loop, created: str, payer: Element, payee: Element, build: Build, tracer: Tracer
) -> tuple[Element, Element]:
    head = loop.segment("CLP")
    target = "ClaimResponse"
    control = tracer.take(head, 1, f"{target}.request.identifier")
    status = tracer.take(head, 2, f"{target}.extension(status)")
    filing = tracer.take(head, 6, f"{target}.type")
    patient_name, performer = loop.segment("NM1", "QC"), loop.segment("NM1", "82")
    patient = build.add(read_patient(_only(patient_name), tracer), "patient")
    response: Element = {"resourceType": "ClaimResponse"}
    response["extension"] = [{"url": STATUS, "valueCode": status}]
    number = tracer.take(head, 7, f"{target}.identifier")
    if number:
        response["identifier"] = [{"system": "urn:x12:005010:CLP07", "value": number}]
    response |= {"status": "active", "type": concept("1032", filing), "use": "claim", "patient": patient}
    response |= {"created": created, "insurer": payer, "requestor": payee}
    if performer is not None:
        build.add(read_practitioner(_only(performer), tracer, "Practitioner"), "performer")
    response["request"] = {"identifier": {"system": "urn:x12:005010:CLM01", "value": control}}
    response["outcome"] = "complete"
    lines = [_line(line, at, tracer) for at, line in enumerate(loop.loops("2110"), 1)]
    if lines:
        response["item"] = lines
    adjustments = _adjustments(loop, tracer)
    if adjustments:
        response["adjudication"] = adjustments
    totals = []
    for at, kind in ((3, "submitted"), (4, "benefit"), (5, "copay")):
        amount = exact(tracer.take(head, at, f"{target}.total"))
        if amount is not None:
            totals.append(_amount(kind, amount, name="amount"))
    response["total"] = totals
    paid = exact(head.get(4)) if head else None
    response["payment"] = {"type": {"text": "claim payment"}, "amount": _money(paid or 0)}
    return response, {"services": [_service_fact(line, at) for at, line in enumerate(loop.loops("2110"), 1)]}


def _only(segment: Segment | None) -> Loop:
    """A loop of one name segment, as the party mapping reads it."""
    loop = Loop("2100")
    if segment is not None:
        loop.items.append(segment)
    return loop


def _line(line: Loop, sequence: int, tracer: Tracer) -> Element:
    service = line.segment("SVC")
    system = procedure_system(tracer.take(service, 1, "ClaimResponse.item", 1))
    procedure = tracer.take(service, 1, "ClaimResponse.item", 2)
    adjudications = []
    for at, kind in ((2, "submitted"), (3, "benefit")):
        amount = exact(tracer.take(service, at, "ClaimResponse.item.adjudication"))
        if amount is not None:
            adjudications.append(_amount(kind, amount))
    adjudications += _adjustments(line, tracer)
    extensions = [
        {"url": "urn:x12:005010:SVC01", "valueCodeableConcept": {"coding": [{"system": system, "code": procedure}]}}
    ]
    for segment in line.segments("DTM"):
        tracer.take(segment, 1, "ClaimResponse.item.extension")
        day = iso_day(tracer.take(segment, 2, "ClaimResponse.item.extension"))
        if day:
            extensions.append({"url": f"urn:x12:005010:374:{segment.get(1)}", "valueDate": day})
    return {
        "extension": extensions,
        "itemSequence": sequence,
        "adjudication": adjudications or [_amount("benefit", 0)],
    }


def _service_fact(line: Loop, sequence: int) -> Element:
    """The line for rules and search: its code and what was paid."""
    fact = {"sequence": sequence, "code": line.get("SVC", 1, 2), "amount": exact(line.get("SVC", 3))}
    return {name: value for name, value in fact.items() if value not in ("", None)}


def _adjustments(loop: Loop, tracer: Tracer) -> list[Element]:
    """CAS: a group code and up to six reason, amount, quantity triplets."""
    found: list[Element] = []
    for segment in loop.segments("CAS"):
        group = tracer.take(segment, 1, "ClaimResponse.adjudication.category")
        for at in range(2, 20, 3):
            reason = tracer.take(segment, at, "ClaimResponse.adjudication.reason")
            amount = exact(tracer.take(segment, at + 1, "ClaimResponse.adjudication.amount"))
            count = exact(tracer.take(segment, at + 2, "ClaimResponse.adjudication.value"))
            if not reason or amount is None:
                continue
            row: Element = {
                "category": {"coding": [{"system": GROUP, "code": group}]},
                "reason": {"coding": [{"system": REASON, "code": reason}]},
                "amount": _money(amount),
            }
            found.append(row | ({"value": count} if count is not None else {}))
    return found


def _amount(kind: str, amount: int | Decimal, name: str = "amount") -> Element:
    return {"category": {"coding": [{"system": ADJUDICATION, "code": kind}]}, name: _money(amount)}


def _money(amount: int | Decimal) -> Element:
    return {"value": amount, "currency": "USD"}


def _reconciliation(root: Loop, created: str, payer: Element, response: Element, tracer: Tracer) -> Element:
    """BPR and TRN: the payment as a whole."""
    money, trace = root.segment("BPR"), root.segment("TRN")
    target = "PaymentReconciliation"
    total = exact(tracer.take(money, 2, f"{target}.paymentAmount")) or 0
    day = iso_day(tracer.take(money, 16, f"{target}.paymentDate")) or created
    tracer.take(trace, 1, f"{target}.paymentIdentifier")
    number = tracer.take(trace, 2, f"{target}.paymentIdentifier")
    assigner = tracer.take(trace, 3, f"{target}.paymentIdentifier")
    paid = next((row["amount"] for row in response["total"] if code(row["category"]) == "benefit"), _money(0))
    return {
        "resourceType": "PaymentReconciliation",
        "status": "active",
        "created": created,
        "paymentIssuer": payer,
        "paymentDate": day,
        "paymentAmount": _money(total),
        "paymentIdentifier": {"system": f"urn:trnorg:{assigner}", "value": number},
        "detail": [{"type": {"text": "claim payment"}, "request": response["request"], "amount": paid}],
    }


def claim_payment(response: Element, holder: Loop) -> Loop:
    """A ClaimResponse of this mapping's shape → 2100 in `holder`. Raises Unmappable when amounts do not balance."""
    loop = holder.add_loop("2100")
    totals = {code(row["category"]): Decimal(str(row["amount"]["value"])) for row in rows(response, "total")}
    charge, paid = totals.get("submitted", Decimal(0)), totals.get("benefit", Decimal(0))
    whole = [*rows(response, "adjudication")]
    adjusted = sum((_value(row) for row in whole if _is_adjustment(row)), Decimal(0))
    for item in rows(response, "item"):
        adjusted += sum((_value(row) for row in rows(item, "adjudication") if _is_adjustment(row)), Decimal(0))
    if charge != paid + adjusted:
        raise Unmappable("the charge is not payment plus adjustments", location="CLP03")
    status = next((str(row.get("valueCode")) for row in rows(response, "extension") if row.get("url") == STATUS), "1")
    number = next((str(row.get("value")) for row in rows(response, "identifier")), "")
    copay = plain(totals["copay"]) if "copay" in totals else ""
    control = str(((response.get("request") or {}).get("identifier") or {}).get("value", "0"))
    loop.add("CLP", control, status, plain(charge), plain(paid), copay, code(response.get("type")) or "12", number)
    _write_adjustments(loop, whole)
    for item in rows(response, "item"):
        _write_line(loop.add_loop("2110"), item)
    return loop


def _value(row: Element) -> Decimal:
    return Decimal(str((row.get("amount") or {}).get("value", 0)))


def _is_adjustment(row: Element) -> bool:
    return bool(coding(row.get("category"), GROUP))


def _write_adjustments(loop: Loop, found: list[Element]) -> None:
    groups: dict[str, list[str]] = {}
    for row in found:
        if _is_adjustment(row):
            count = row.get("value")
            groups.setdefault(code(row["category"]), []).extend(
                [code(row.get("reason")), plain(_value(row)), plain(count) if count is not None else ""]
            )
    for group, values in groups.items():
        for at in range(0, len(values), 18):
            loop.add("CAS", group, *values[at : at + 18])


def _write_line(loop: Loop, item: Element) -> None:
    amounts = {code(row["category"]): _value(row) for row in rows(item, "adjudication") if not _is_adjustment(row)}
    adjusted = sum((_value(row) for row in rows(item, "adjudication") if _is_adjustment(row)), Decimal(0))
    charge, paid = amounts.get("submitted", Decimal(0)), amounts.get("benefit", Decimal(0))
    if charge != paid + adjusted:
        raise Unmappable("the line's charge is not payment plus adjustments", location="SVC02")
    named = next((row for row in rows(item, "extension") if row.get("url") == "urn:x12:005010:SVC01"), {})
    service = coding(named.get("valueCodeableConcept"))
    qualifier = procedure_qualifier(str(service.get("system", "")))
    loop.add("SVC", (qualifier, str(service.get("code", ""))), plain(charge), plain(paid))
    for row in rows(item, "extension"):
        url = str(row.get("url", ""))
        if url.startswith("urn:x12:005010:374:"):
            loop.add("DTM", url.rpartition(":")[2], x12_day(str(row.get("valueDate"))))
    _write_adjustments(loop, rows(item, "adjudication"))
