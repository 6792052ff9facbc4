"""PAS `$inquire` (PAS 2.2.1 spec-42 to spec-53): query by example in, current answers out.

Rules decided here: Claim.identifier is the inquiry's own trace and never a search key; a product or service of
`not-applicable` means none; an authorization number or administrative reference wins over every other criterion and
leads to the *current* answer, whatever number it now has; otherwise member number and an ordering, rendering or
requesting NPI must match, and every item of the inquiry that names a service must be among the case's services.
No match is 200 with an empty answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.fhir.wire import entries, operation_outcome, terms
from adapters.fhir.wire.elements import certification_type, code, extension_value, rows
from gateway.core.errors import Issue
from gateway.core.ports import Decision
from mappings.bundle_echo import derived_uuid
from mappings.claim_model import ClaimView
from mappings.decision_to_claimresponse import NOT_NAMEABLE, render
from mappings.fhir_claim import view_claim
from mappings.fhir_pas import LookupKey, number_keys, provider_npis

Element = dict[str, Any]
NOT_APPLICABLE = "not-applicable"


@dataclass(frozen=True, slots=True, kw_only=True)
class InquiryQuery:
    """What an inquiry asks for."""

    member_id: str
    npis: tuple[str, ...]
    """Providers named in the inquiry, of whom one must be the case's."""
    payers: tuple[str, ...]
    numbers: tuple[LookupKey, ...]
    """Authorization numbers (REF-BB) and administrative references (REF-NT) asked for."""
    services: tuple[str, ...] = ()
    diagnoses: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    """Review action codes asked for."""
    certification_type: str = ""
    start: str = ""
    end: str = ""
    """Dates of service (billablePeriod, or over the items), ISO."""

    @property
    def keys(self) -> tuple[LookupKey, ...]:
        """Lookup keys, strongest first: numbers when given, else the member."""
        return self.numbers or ((("member", self.member_id),) if self.member_id else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCase:
    """A case of ours that an inquiry may mean. `decision` is the current one, whatever number the inquiry named."""

    facts: Element
    decision: Decision
    npis: tuple[str, ...] = ()
    request_bundle: Element | None = None
    """The newest PAS request of the case; None when it came by another rail."""
    numbers: tuple[str, ...] = field(default=())
    """Every authorization number and administrative reference the case ever had."""


def match_query(bundle: Element) -> InquiryQuery:
    """Read a validated inquiry Bundle."""
    view: ClaimView = view_claim(bundle)
    claim: Element = entries(bundle)[0]["resource"]
    period = claim.get("billablePeriod") or {}
    starts = sorted(line.start for line in view.lines if line.start)
    ends = sorted(line.end for line in view.lines if line.end)
    lines = [line for line in view.lines if line.code and line.code != NOT_APPLICABLE]
    return InquiryQuery(
        member_id=view.member_id,
        npis=provider_npis(bundle),
        payers=tuple(value for _, value in view.insurer.identifiers),
        numbers=number_keys(claim, view),
        services=tuple(line.code for line in lines),
        diagnoses=tuple(code(row.get("diagnosisCodeableConcept")) for row in rows(claim, "diagnosis")),
        actions=tuple(
            found for line in view.lines if (found := code(extension_value(line.element, terms.REVIEW_ACTION_CODE)))
        ),
        certification_type=certification_type(claim),
        start=str(period.get("start") or (starts[0] if starts else "")),
        end=str(period.get("end") or (ends[-1] if ends else "")),
    )


def matches(query: InquiryQuery, case: FoundCase) -> bool:
    """Does a case answer an inquiry? The member must always be the inquiry's (spec-53)."""
    if not query.member_id or case.facts.get("coverage.memberId", "") != query.member_id:
        return False
    known = set(case.npis) | {case.facts.get("provider.npi"), case.facts.get("performer.npi")}
    if not known & set(query.npis):
        return False
    if query.numbers:
        return bool({key[-1] for key in query.numbers} & set(case.numbers))
    services = {row.get("code") for row in case.facts.get("services", [])}
    diagnoses = {row.get("code") for row in case.facts.get("diagnoses", [])}
    if (query.services and not services & set(query.services)) or (
        query.diagnoses and not diagnoses & set(query.diagnoses)
    ):
        return False
    given = {item.action for item in case.decision.items} | {case.decision.action}
    if query.actions and not given & set(query.actions):
        return False
    return _overlaps(query, case.facts)


def render_inquiry_response(
    query_bundle: Element,
    found: Sequence[FoundCase],
    *,
    now: datetime,
    version: str = "2.2.1",
    base_url: str = "https://localhost/fhir/pas/2.2.1",
    withheld: str = "",
) -> Element:
    """Parameters with a `return` Bundle per case (2.2.1), or one bare Bundle (2.0.1).

    `withheld` = the words, with a telephone number, of the warning that some authorizations are not shown (spec-50).
    """
    bundles = [_answer(query_bundle, case, now, version, base_url) for case in found]
    warning = operation_outcome([Issue("suppressed", "", withheld, "warning")]) if withheld else None
    if version == "2.0.1":
        return _bare(query_bundle, bundles, now, warning)
    parameters: list[Element] = [{"name": "return", "resource": bundle} for bundle in bundles]
    if warning:
        # The operation defines `return` only; the warning joins the last Bundle, or stands alone when there is none.
        if bundles:
            bundles[-1]["entry"].append(_entry(warning, bundles[-1]["id"]))
        else:
            parameters.append({"name": "outcome", "resource": warning})
    answer: Element = {"resourceType": "Parameters"}
    return answer | ({"parameter": parameters} if parameters else {})


def _answer(query_bundle: Element, case: FoundCase, now: datetime, version: str, base_url: str) -> Element:
    if case.request_bundle is not None:
        return render(case.request_bundle, case.decision, now=now, version=version, base_url=base_url, inquiry=True)
    return render(
        _as_request(query_bundle, case),
        case.decision,
        now=now,
        version=version,
        base_url=base_url,
        inquiry=True,
        request_absent=NOT_NAMEABLE,
    )


def _as_request(query_bundle: Element, case: FoundCase) -> Element:
    """A case of another rail in the shape of a PAS request: its services, with the people of the inquiry."""
    inquiry: Element = entries(query_bundle)[0]["resource"]
    claim: Element = {name: inquiry[name] for name in ("type", "patient", "insurer", "provider") if name in inquiry}
    trace = case.facts.get("request.traceNumber")
    claim |= {
        "resourceType": "Claim",
        "identifier": [{"system": "urn:trnorg", "value": trace}] if trace else inquiry.get("identifier", []),
        "item": [_item(row) for row in case.facts.get("services", [])],
    }
    return query_bundle | {"entry": [{"resource": claim}, *entries(query_bundle)[1:]]}


def _item(service: Element) -> Element:
    coded = {"system": service.get("system"), "code": service.get("code")}
    item: Element = {"sequence": service.get("sequence", 1)}
    item["productOrService"] = {"coding": [{name: value for name, value in coded.items() if value}]}
    if service.get("quantity") is not None:
        item["quantity"] = {"value": service["quantity"], "unit": service.get("unit") or "UN"}
    if service.get("start"):
        item["servicedPeriod"] = {"start": service["start"], "end": service.get("end", service["start"])}
    return item


def _bare(query_bundle: Element, bundles: list[Element], now: datetime, warning: Element | None) -> Element:
    merged: dict[str, Element] = {}
    for bundle in bundles:
        for entry in bundle["entry"]:
            merged.setdefault(entry["fullUrl"], entry)
    ordered = sorted(merged.values(), key=lambda entry: entry["resource"]["resourceType"] != "ClaimResponse")
    identity = derived_uuid("inquiry", *(bundle["id"] for bundle in bundles), now.isoformat())
    if warning:
        ordered.append(_entry(warning, identity))
    answer: Element = {"resourceType": "Bundle", "id": identity, "type": "collection"}
    if query_bundle.get("identifier"):
        answer["identifier"] = query_bundle["identifier"]
    answer["timestamp"] = now.isoformat(timespec="milliseconds")
    return answer | ({"entry": ordered} if ordered else {})


def _entry(resource: Element, seed: str) -> Element:
    identity = derived_uuid(seed, str(resource["resourceType"]))
    return {"fullUrl": f"urn:uuid:{identity}", "resource": {"id": identity} | resource}


def _overlaps(query: InquiryQuery, facts: Element) -> bool:
    start, end = facts.get("request.serviceStart", ""), facts.get("request.serviceEnd", "")
    if query.end and start and str(start)[:10] > query.end[:10]:
        return False
    return not (query.start and end and str(end)[:10] < query.start[:10])
