"""ClaimResponse.item and .addItem: one item of the request with its decision (PAS 2.2.1 profile-claimresponse-base).

Everything the profile can carry and the request or decision knows is sent: trace numbers and sequences echo
byte-equal, requested dates come back beside the authorized ones, and the numbers stand in their X12 places
(HCR02 → number, REF-BB → authorizationNumber, REF-NT → administrationReferenceNumber).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from adapters.fhir.wire import terms
from adapters.fhir.wire.elements import code, extension, extensions, rows
from gateway.core.errors import Unmappable
from gateway.core.ports import Decision, ItemDecision
from mappings.review_actions import ACTIONS, ReviewAction

Element = dict[str, Any]

SUBMITTED: Element = {"coding": [{"system": terms.ADJUDICATION, "code": "submitted"}]}
"""The one adjudication category of the profile."""
CARRIED = (
    terms.ITEM_TRACE_NUMBER,
    terms.EPSDT,
    terms.NURSING_HOME_STATUS,
    terms.NURSING_HOME_LEVEL,
    terms.CODE_END,
    terms.REVENUE_UNIT_RATE_LIMIT,
    terms.REQUESTED_SERVICE,
    terms.REQUEST_TYPE,
    terms.CERTIFICATION_TYPE,
    terms.AUTHORIZATION_NUMBER,
)
"""Extensions of Claim.item that come back on addItem as they were sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemContext:
    """What the request says beyond the item itself."""

    decision: Decision
    version: str
    providers: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    """itemSequence (0: the whole claim) → (absolute reference, entity type code X12 98) of who may perform it."""
    admission: Any = None
    """`{"valueDate": …}` or `{"valuePeriod": …}` requested."""
    discharge: Any = None
    diagnoses: dict[int, Element] = field(default_factory=dict)
    """Diagnosis sequence → concept."""
    absolute: Callable[[Element], Any]
    """An element → its copy with absolute references, whose targets are then echoed."""

    @property
    def issued(self) -> str:
        """The date of the decision."""
        return self.decision.decided_at.date().isoformat()


def action_of(item: ItemDecision) -> ReviewAction:
    """The table row of a decision. Raises Unmappable for unknown codes and for denials without a reason."""
    action = ACTIONS.get(item.action)
    if action is None:
        raise Unmappable("a review action outside X12 element 306", location=f"item {item.sequence}")
    if action.needs_reason and not item.reasons and not item.note.strip():
        raise Unmappable("a denial without reason code or note is never sent", location=f"item {item.sequence}")
    return action


def response_item(item: Element, decided: ItemDecision, context: ItemContext, note: int | None) -> Element:
    """One ClaimResponse.item: the requested item's sequence, its decision, and what came of it."""
    action = action_of(decided)
    found: list[Element] = [_copy(row) for row in extensions(item, terms.ITEM_TRACE_NUMBER)]
    if action.final and action.approved:
        found += _authorization(context)
    previous = extension(item, terms.AUTHORIZATION_NUMBER)
    found += [_copy(previous)] if previous else []
    found += _administrative(item, context)
    serviced = {f"value{kind}": item[f"serviced{kind}"] for kind in ("Date", "Period") if f"serviced{kind}" in item}
    if serviced:
        day = serviced.get("valueDate")
        value = {"valueDateTime": day} if day else {"valuePeriod": serviced["valuePeriod"]}
        found.append({"url": terms.REQUESTED_SERVICE_DATE, **value})
    if action.approved:
        found += authorized_providers(context, decided.sequence)
        if not action.replaces:
            found.append(_authorized_detail(item, decided))
    if context.version != "2.0.1":
        found += _stay(context) if action.approved else []
    found += [
        {"url": terms.COMMUNICATED_DIAGNOSIS, "valueCodeableConcept": context.diagnoses[number]}
        for number in item.get("diagnosisSequence", [])
        if number in context.diagnoses
    ]
    element: Element = {"extension": found} if found else {}
    element["itemSequence"] = decided.sequence
    if note is not None:
        element["noteNumber"] = [note]
    return element | {"adjudication": [adjudication(decided, context.decision)]}


def undecided_item(item: Element, sequence: int) -> Element:
    """An item a business rejection is about: it is answered (spec-46), but by `error`, not by a review action."""
    traces = [_copy(row) for row in extensions(item, terms.ITEM_TRACE_NUMBER)]
    element: Element = {"extension": traces} if traces else {}
    return element | {"itemSequence": sequence, "adjudication": [{"category": SUBMITTED}]}


def added_item(item: Element, decided: ItemDecision, context: ItemContext) -> Element:
    """One ClaimResponse.addItem: what is authorized instead of the requested item, or beside all of them."""
    found = [context.absolute(row) for url in CARRIED for row in extensions(item, url)]
    found += _authorization(context) + _administrative(item, context)
    revenue = item.get("revenue")
    found += [{"url": terms.REVENUE_CODE, "valueCodeableConcept": revenue}] if revenue else []
    category = item.get("category")
    found += [{"url": terms.ITEM_CATEGORY, "valueCodeableConcept": category}] if category else []
    found += _stay(context)
    element: Element = {"itemSequence": [decided.sequence]}
    providers = context.providers.get(decided.sequence, [])
    if providers:
        element["provider"] = [_provider(reference, kind) for reference, kind in providers]
    if context.version != "2.0.1":
        element = {"extension": found} | element  # 2.0.1 knows none of these on addItem
    element |= _authorized(item, decided)
    approved = ItemDecision(sequence=decided.sequence, action="A1", authorization_number=decided.authorization_number)
    return element | {"adjudication": [adjudication(approved, context.decision)]}


def adjudication(decided: ItemDecision, decision: Decision) -> Element:
    """One adjudication with its reviewAction: HCR01 code, HCR02 number, HCR03 reasons."""
    coding = {"system": terms.X12_ACTION, "code": decided.action, "display": ACTIONS[decided.action].words}
    parts = numbers_and_reasons(decided, decision)
    parts.append({"url": terms.REVIEW_ACTION_CODE, "valueCodeableConcept": {"coding": [coding]}})
    return reviewed(parts)


def numbers_and_reasons(decided: ItemDecision, decision: Decision) -> list[Element]:
    """The parts of a reviewAction beside its code."""
    action = ACTIONS[decided.action]
    parts: list[Element] = []
    number = decided.authorization_number or decision.authorization_number
    if number and action.approved:
        parts.append({"url": "number", "valueString": number})
    for reason in decided.reasons:
        concept = {"coding": [{"system": terms.X12_REASON, "code": reason}]}
        parts.append({"url": "reasonCode", "valueCodeableConcept": concept})
    return parts


def reviewed(parts: list[Element]) -> Element:
    """An adjudication that holds a reviewAction of these parts."""
    return {
        "extension": [{"extension": parts, "url": terms.REVIEW_ACTION}],
        "category": SUBMITTED,
    }


def authorized_providers(context: ItemContext, sequence: int) -> list[Element]:
    """The itemAuthorizedProvider extensions of an item (0: of the whole claim)."""
    found = []
    for reference, kind in context.providers.get(sequence, []):
        parts: list[Element] = [{"url": "provider", "valueReference": {"reference": reference}}]
        if context.version != "2.0.1" and sequence:  # on the whole claim the extension's context forbids the type
            parts.append({"url": terms.AUTHORIZED_PROVIDER_TYPE, "valueCodeableConcept": _entity(kind)})
        found.append({"extension": parts, "url": terms.AUTHORIZED_PROVIDER})
    return found


def _authorization(context: ItemContext) -> list[Element]:
    found: list[Element] = [{"url": terms.ISSUE_DATE, "valueDate": context.issued}]
    period = validity(context.decision)
    return found + ([{"url": terms.PRE_AUTH_PERIOD, "valuePeriod": period}] if period else [])


def validity(decision: Decision) -> Element:
    """The authorization's first and last day as a Period; {} when the decision names none."""
    days = {"start": decision.valid_from, "end": decision.valid_to}
    return {name: day for name, day in days.items() if day}


def _administrative(item: Element, context: ItemContext) -> list[Element]:
    reference = context.decision.administrative_reference
    asked = extension(item, terms.ADMINISTRATION_REFERENCE)
    if reference:
        return [{"url": terms.ADMINISTRATION_REFERENCE, "valueString": reference}]
    return [_copy(asked)] if asked else []


def _stay(context: ItemContext) -> list[Element]:
    found = [{"url": terms.ADMISSION_DATES, **context.admission}] if context.admission else []
    return found + ([{"url": terms.DISCHARGE_DATE, **context.discharge}] if context.discharge else [])


def _authorized(item: Element, decided: ItemDecision) -> Element:
    """productOrService, modifier, serviced, location, quantity and unitPrice as authorized."""
    changes = decided.changes
    element: Element = {"productOrService": item.get("productOrService") or _absent()}
    for name in ("modifier", "servicedDate", "servicedPeriod", "locationCodeableConcept", "quantity", "unitPrice"):
        if name in item:
            element[name] = item[name]
    if changes.get("code"):
        coding = {"system": changes.get("system") or _system(item), "code": changes["code"]}
        element["productOrService"] = {"coding": [{name: value for name, value in coding.items() if value}]}
    if "quantity" in changes:
        unit = changes.get("unit")
        requested = item.get("quantity") or {}
        kept = {k: v for k, v in requested.items() if k in ("unit", "system", "code")} if not unit else {}
        element["quantity"] = {"value": changes["quantity"], **kept} | ({"unit": unit} if unit else {})
    if changes.get("servicedPeriod"):
        element.pop("servicedDate", None)
        element["servicedPeriod"] = changes["servicedPeriod"]
    return element


def _authorized_detail(item: Element, decided: ItemDecision) -> Element:
    granted = _authorized(item, decided)
    parts: list[Element] = [{"url": "productOrServiceCode", "valueCodeableConcept": granted["productOrService"]}]
    parts += [{"url": "modifier", "valueCodeableConcept": row} for row in granted.get("modifier", [])]
    if "unitPrice" in granted:
        parts.append({"url": "unitPrice", "valueMoney": granted["unitPrice"]})
    if "quantity" in granted:
        parts.append({"url": "quantity", "valueQuantity": granted["quantity"]})
    return {"extension": parts, "url": terms.AUTHORIZED_DETAIL}


def _provider(reference: str, kind: str) -> Element:
    return {
        "extension": [{"url": terms.AUTHORIZED_PROVIDER_TYPE, "valueCodeableConcept": _entity(kind)}],
        "reference": reference,
    }


def _entity(kind: str) -> Element:
    return {"coding": [{"system": terms.X12_ENTITY, "code": kind}]}


def _system(item: Element) -> str:
    return next((str(row.get("system", "")) for row in rows(item.get("productOrService"), "coding")), "")


def _absent() -> Element:
    return {"coding": [{"system": terms.DATA_ABSENT_CODES, "code": "not-applicable"}]}


def _copy(row: Element) -> Element:
    return {"url": row["url"]} | {name: value for name, value in row.items() if name.startswith("value")}


def entity_code(row: Element, default: str) -> str:
    """The X12 98 entity code of a care team row or organization; `default` where the request has none."""
    return code(row.get("role"), terms.X12_ENTITY) or default
