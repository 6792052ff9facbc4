"""CDS Hooks 2.0 and Da Vinci CRD 2.2.1: orders in a hook → facts per order; requirements → cards and system actions.

The same rules that decide a request answer here: does this order need authorization, and which documents. The answer
is the coverage-information extension on each order (a system action: no click needed), plus a card a person reads.
Not handled: hooks other than order-sign, order-select and order-dispatch; resources missing from prefetch are not
fetched (the rules then see unknown facts and answer `conditional`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from adapters.fhir.wire import entries, validate_resource
from gateway.core.envelope import Reception
from gateway.core.errors import InvalidMessage, Issue
from gateway.core.ports import Decision
from mappings.bundle_echo import derived_uuid
from mappings.fhir_r4 import facts_of_bundle

Element = dict[str, Any]
HOOKS = ("order-sign", "order-select", "order-dispatch")
CRD = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/"
COVERAGE_INFORMATION = CRD + "ext-coverage-information"
ORDER_TYPES = frozenset(
    {"ServiceRequest", "DeviceRequest", "MedicationRequest", "NutritionOrder", "VisionPrescription", "Appointment"}
)
PREFETCH = {
    "patient": "Patient/{{context.patientId}}",
    "coverage": "Coverage?patient={{context.patientId}}&status=active",
}

NEEDED = {"NA": "no-auth", "A1": "no-auth", "A3": "auth-needed", "A4": "auth-needed", "CT": "auth-needed"}
"""Review action of a dry run of the rules → coverage-information pa-needed; anything else is `conditional`."""
COVERED = {"A3": "conditional", "CT": "conditional"}
"""Review action → covered; else `covered`. Rules alone never say `not-covered`: a denial is a person's."""
SUMMARIES = {
    "auth-needed": "Prior authorization is needed",
    "no-auth": "No prior authorization is needed",
    "satisfied": "Prior authorization is in place",
    "conditional": "Prior authorization may be needed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HookOrder:
    """One order of a hook call: its address, itself, the coverage it is for, and the facts rules read."""

    reference: str
    resource: Element
    coverage: str
    facts: Element


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What the rules say of one order."""

    order: HookOrder
    needed: str
    """`auth-needed`, `no-auth`, `satisfied` or `conditional`."""
    covered: str = "covered"
    documents: tuple[tuple[str, str], ...] = ()
    """(code, words) of each document or answer that is asked for."""
    satisfied_by: str = ""
    """The authorization number in place, for `satisfied`."""


def services() -> Element:
    """The CDS Hooks discovery document."""
    return {
        "services": [
            {
                "hook": hook,
                "id": f"{hook}-crd",
                "title": f"Coverage requirements at {hook}",
                "description": "Whether an order needs prior authorization, and which documents belong to it.",
                "prefetch": PREFETCH,
                "extension": {"davinci-crd.version": ["2.2"]},
            }
            for hook in HOOKS
        ]
    }


def read_hook(body: Element, reception: Reception) -> tuple[HookOrder, ...]:
    """The orders of a hook call. Raises InvalidMessage naming what is missing, as positions only."""
    issues = [Issue("required", name, "missing") for name in ("hook", "hookInstance", "context") if not body.get(name)]
    if body.get("hook") not in HOOKS and not issues:
        issues.append(Issue("unsupported", "hook", "this hook is not served"))
    context = body.get("context")
    context = context if isinstance(context, dict) else {}
    given = context.get("draftOrders")
    drafts: Element = given if isinstance(given, dict) else {}
    if not issues and not entries(drafts):
        issues.append(Issue("required", "context.draftOrders.entry", "missing"))
    if issues:
        raise InvalidMessage("not a CRD hook call", issues=tuple(issues))
    prefetch = _prefetched(body.get("prefetch"))
    for number, entry in enumerate(entries(drafts)):
        issues += _misshapen(f"context.draftOrders.entry[{number}].resource", entry.get("resource"))
    for row in prefetch:
        issues += _misshapen(f"prefetch.{row.get('resourceType', '')}", row)
    if issues:
        raise InvalidMessage("not a CRD hook call", issues=tuple(issues))
    coverage = next((row for row in prefetch if row.get("resourceType") == "Coverage"), {})
    selections = context.get("selections")
    chosen = selections if isinstance(selections, list) and body["hook"] == "order-select" else []
    selected = {str(name) for name in chosen}
    found = []
    for entry in entries(drafts):
        order = entry.get("resource") or {}
        reference = f"{order.get('resourceType')}/{order.get('id')}"
        if order.get("resourceType") not in ORDER_TYPES or (selected and reference not in selected):
            continue
        bundle = {"resourceType": "Bundle", "entry": [{"resource": row} for row in (order, *prefetch)]}
        found.append(
            HookOrder(
                reference=reference,
                resource=order,
                coverage=f"Coverage/{coverage['id']}" if coverage.get("id") else "",
                facts=facts_of_bundle(bundle, reception),
            )
        )
    return tuple(found)


def requirement(order: HookOrder, decision: Decision) -> Requirement:
    """What a dry run of the rules on the order's facts means for the person ordering."""
    documents = tuple((row.get("loinc", ""), row.get("question", "")) for row in decision.requested_information)
    if decision.action == "A1" and decision.authorization_number:
        return Requirement(order=order, needed="satisfied", satisfied_by=decision.authorization_number)
    return Requirement(
        order=order,
        needed=NEEDED.get(decision.action, "conditional"),
        covered=COVERED.get(decision.action, "covered"),
        documents=documents,
    )


def render(requirements: Sequence[Requirement], *, now: datetime, source: str, url: str = "") -> Element:
    """The CDS Hooks response: one card per order that asks something of a person, one system action per order.

    `source` = the payer's name; ids derive from the order and its answer, so the same call gets the same answer.
    """
    label: Element = {"label": source} | ({"url": url} if url else {})
    cards = [_card(row, label) for row in requirements if row.needed != "no-auth" or row.documents]
    actions = [_action(row, now) for row in requirements if row.order.coverage]
    return {"cards": cards} | ({"systemActions": actions} if actions else {})


def _card(row: Requirement, source: Element) -> Element:
    card: Element = {
        "uuid": derived_uuid("crd", row.order.reference, row.needed, *(words for _, words in row.documents)),
        "summary": SUMMARIES[row.needed],
        "indicator": "info",
        "source": source
        | {"topic": {"system": "http://terminology.hl7.org/CodeSystem/cdshooks-card-type", "code": "coverage-info"}},
        "extension": {"davinci-crd.associated-resource": [{"reference": row.order.reference}]},
    }
    asked = [f"- {words or code}" for code, words in row.documents]
    return card | ({"detail": "Please have ready:\n" + "\n".join(asked)} if asked else {})


def _action(row: Requirement, now: datetime) -> Element:
    parts: list[Element] = [
        {"url": "coverage", "valueReference": {"reference": row.order.coverage}},
        {"url": "covered", "valueCode": row.covered},
        {"url": "pa-needed", "valueCode": row.needed},
        {"url": "doc-needed", "valueCode": "clinical" if row.documents else "no-doc"},
        {"url": "date", "valueDate": now.date().isoformat()},
        {"url": "coverage-assertion-id", "valueString": derived_uuid("crd", row.order.reference, now.isoformat())},
    ]
    if row.satisfied_by:
        parts.append({"url": "satisfied-pa-id", "valueString": row.satisfied_by})
    resource = copy.deepcopy(row.order.resource)
    others = [e for e in resource.get("extension", []) if e.get("url") != COVERAGE_INFORMATION]
    resource["extension"] = [*others, {"url": COVERAGE_INFORMATION, "extension": parts}]
    description = f"{SUMMARIES[row.needed]} for this order"
    return {"type": "update", "description": description, "resource": resource}


def _misshapen(where: str, resource: Any) -> list[Issue]:
    if not isinstance(resource, dict):
        return [Issue("structure", where, "a resource expected")]
    name = str(resource.get("resourceType", ""))
    return [replace(issue, location=issue.location.replace(name, where, 1)) for issue in validate_resource(resource)]


def _prefetched(prefetch: Any) -> list[Element]:
    """The resources of all prefetch results; search results are unpacked."""
    found: list[Element] = []
    for value in (prefetch or {}).values() if isinstance(prefetch, dict) else ():
        if isinstance(value, dict) and value.get("resourceType") == "Bundle":
            found += [entry["resource"] for entry in entries(value) if isinstance(entry.get("resource"), dict)]
        elif isinstance(value, dict) and isinstance(value.get("resourceType"), str):
            found.append(value)
    return found
