"""A payer's PAS answer → `Decision`: what our client side reads from $submit, $inquire and notifications.

Liberal on purpose: it takes 2.2.1 and 2.0.1, `return` and the guide's own `responseBundle`, Bundles without
identifier, ClaimResponses without `request`, and references that lead nowhere. What decides is reviewActionCode only;
`outcome`, preAuthRef or status never turn an answer into an approval or a denial.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from adapters.fhir.wire import entries, terms
from adapters.fhir.wire.elements import code, extension, extension_value, identifier, rows, value_of
from gateway.core.errors import InvalidMessage
from gateway.core.ports import Decision, ItemDecision
from mappings.review_actions import ACTIONS, roll_up

Element = dict[str, Any]
LOINC_CODE = re.compile(r"[0-9]{1,7}-[0-9]")
"""Digits and a check digit: a report type (X12 755) may be digits, too."""
RETURNED = frozenset({"return", "responseBundle"})


def response_bundles(answer: Element) -> list[Element]:
    """The PAS Response Bundles of any answer: a Bundle, `$inquire` Parameters, or a notification (history)."""
    if answer.get("resourceType") == "Parameters":
        return [
            row["resource"] for row in rows(answer, "parameter") if row.get("name") in RETURNED and "resource" in row
        ]
    if answer.get("type") == "history":
        inside = [entry.get("resource") or {} for entry in entries(answer)]
        return [resource for resource in inside if resource.get("resourceType") == "Bundle"]
    return [answer] if answer.get("resourceType") == "Bundle" else []


def read_decision(bundle: Element, *, case_id: str, version: int, received_at: datetime) -> Decision:
    """The decision of a response Bundle. Raises InvalidMessage when there is no ClaimResponse in it."""
    resources = [entry.get("resource") or {} for entry in entries(bundle)]
    response = next((row for row in resources if row.get("resourceType") == "ClaimResponse"), None)
    if response is None:
        raise InvalidMessage("no ClaimResponse in the answer", location="Bundle.entry")
    notes = {row.get("number"): str(row.get("text", "")) for row in rows(response, "processNote")}
    items = tuple(_item(row, notes) for row in rows(response, "item"))
    overall = _action(response)
    period = response.get("preAuthPeriod") or next(iter(_periods(response)), {})
    return Decision(
        case_id=case_id,
        version=version,
        decided_at=received_at,
        action=overall or roll_up([item.action for item in items]),
        items=items + tuple(_added(response, items)),
        authorization_number=str(response.get("preAuthRef") or next((i.authorization_number for i in items), "")),
        administrative_reference=_administrative(response),
        valid_from=str(period.get("start", ""))[:10],
        valid_to=str(period.get("end", ""))[:10],
        requested_information=tuple(
            _asked(row) for row in resources if row.get("resourceType") == "CommunicationRequest"
        ),
        errors=tuple(_error(row) for row in rows(response, "error")),
        human_reviewed=_reviewer(response, "wasHumanReviewedFlag") is True,
        reviewer=_reviewed_by(response),
    )


def trace_numbers(bundle: Element) -> tuple[tuple[str, str], ...]:
    """Trace numbers the answer carries, ClaimResponse first: they tell which of our requests is answered."""
    found: list[tuple[str, str]] = []
    for entry in entries(bundle):
        resource = entry.get("resource") or {}
        if resource.get("resourceType") == "ClaimResponse":
            found += [
                (str(row.get("system", "")), str(row["value"]))
                for row in rows(resource, "identifier")
                if row.get("value")
            ]
            for item in rows(resource, "item"):
                trace = extension_value(item, terms.ITEM_TRACE_NUMBER) or {}
                found += [(str(trace.get("system", "")), str(trace["value"]))] if trace.get("value") else []
    return tuple(dict.fromkeys(found))


def _item(row: Element, notes: dict[Any, str]) -> ItemDecision:
    review = _review(row)
    texts = [notes[number] for number in row.get("noteNumber", []) if notes.get(number)]
    return ItemDecision(
        sequence=int(row.get("itemSequence", 0)),
        action=_action(row) or "A4",
        reasons=tuple(code(value_of(part)) for part in rows(review, "extension") if part.get("url") == "reasonCode"),
        note=" ".join(texts),
        authorization_number=str(value_of(extension(review, "number")) or ""),
        changes=_detail(row),
    )


def _added(response: Element, items: tuple[ItemDecision, ...]) -> Iterator[ItemDecision]:
    """addItem of an unmatched sequence is a new item; of a matched one it is what A6 authorizes."""
    by_sequence = {item.sequence: item for item in items}
    for row in rows(response, "addItem"):
        sequence = int(next(iter(row.get("itemSequence", [])), 0))
        changes = _granted(row)
        if sequence in by_sequence:
            by_sequence[sequence].changes.update(changes)
        else:
            number = str(value_of(extension(_review(row), "number")) or "")
            action = _action(row) or "A1"
            yield ItemDecision(sequence=sequence, action=action, authorization_number=number, changes=changes)


def _granted(row: Element) -> Element:
    quantity = row.get("quantity") or {}
    found = {
        "code": code(row.get("productOrService")),
        "quantity": quantity.get("value"),
        "unit": quantity.get("unit"),
        "servicedPeriod": row.get("servicedPeriod"),
    }
    return {name: value for name, value in found.items() if value}


def _detail(row: Element) -> Element:
    if _action(row) not in ("A2", "A6"):
        return {}
    detail = extension(row, terms.AUTHORIZED_DETAIL)
    quantity = value_of(extension(detail, "quantity")) or {}
    found = {
        "code": code(value_of(extension(detail, "productOrServiceCode"))),
        "quantity": quantity.get("value"),
        "unit": quantity.get("unit"),
    }
    return {name: value for name, value in found.items() if value}


def _review(row: Element) -> Element:
    for adjudication in rows(row, "adjudication"):
        found = extension(adjudication, terms.REVIEW_ACTION)
        if found:
            return found
    return {}


def _action(row: Element) -> str:
    found = code(extension_value(_review(row), terms.REVIEW_ACTION_CODE))
    return found if found in ACTIONS else ""


def _periods(response: Element) -> Iterator[Element]:
    for item in rows(response, "item"):
        period = extension_value(item, terms.PRE_AUTH_PERIOD)
        if isinstance(period, dict):
            yield period


def _administrative(response: Element) -> str:
    found = [extension_value(row, terms.ADMINISTRATION_REFERENCE) for row in [response, *rows(response, "item")]]
    return next((str(value) for value in found if value), "")


def _asked(request: Element) -> dict[str, str]:
    payload = next(iter(rows(request, "payload")), {})
    said = str(payload.get("contentString", ""))
    loinc = said if LOINC_CODE.fullmatch(said) else ""
    report_type = next((code(row) for row in rows(request, "category")), "")
    found = {
        "controlNumber": identifier(request),
        "loinc": loinc,
        "question": "" if loinc else said,
        "reportType": report_type,
        "line": str(extension_value(request, terms.SERVICE_LINE) or ""),
    }
    return {name: value for name, value in found.items() if value}


def _error(row: Element) -> dict[str, str]:
    element = extension(row, terms.ERROR_ELEMENT) or {}
    location = element.get("valueString") or value_of(extension(element, "error"))
    found = {
        "code": code(row.get("code")),
        "followUp": code(extension_value(row, terms.ERROR_FOLLOW_UP)),
        "location": location,
        "path": extension_value(row, terms.ERROR_PATH),
    }
    return {name: str(value) for name, value in found.items() if value}


def _reviewer(response: Element, name: str) -> Any:
    return value_of(extension(extension(response, terms.REVIEWER), name))


def _reviewed_by(response: Element) -> dict[str, str]:
    npi = (_reviewer(response, "reviewerNPI") or {}).get("value", "")
    found = {"npi": npi, "specialty": code(_reviewer(response, "reviewerSpecialty"))}
    return {name: str(value) for name, value in found.items() if value}
