"""One `Decision` → the PAS Response Bundle (PAS 2.2.1 §3.3; 2.0.1 by version), byte-equal for the same decision.

Table-driven by X12 306 (review_actions.py). What is decided here and nowhere else: `outcome` (complete, partial,
error: never queued), which entries come back, and that a denial without a reason is refused instead of sent.
Ids are UUIDv5 of the case and the decision's version: rendering twice gives the same bytes (promise 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from adapters.fhir.wire import entries, terms
from adapters.fhir.wire.elements import cancelled, code, extension, extension_value, rows, value_of, withdrawn
from gateway.core.errors import Unmappable
from gateway.core.ports import Decision, ItemDecision
from mappings.bundle_echo import Echo, derived_uuid
from mappings.claimresponse_items import (
    ItemContext,
    action_of,
    added_item,
    authorized_providers,
    entity_code,
    numbers_and_reasons,
    response_item,
    reviewed,
    undecided_item,
    validity,
)
from mappings.fhir_claim import party
from mappings.information_request import Parties, communication_requests, tasks
from mappings.review_actions import ACTIONS, roll_up

Element = dict[str, Any]
PROFILE = f"{terms.PAS}/StructureDefinition/profile-claimresponse"
BUNDLE_PROFILE = f"{terms.PAS}/StructureDefinition/profile-pas-response-bundle"
INQUIRY_PROFILE = f"{terms.PAS}/StructureDefinition/profile-claiminquiryresponse"
INQUIRY_BUNDLE_PROFILE = f"{terms.PAS}/StructureDefinition/profile-pas-inquiry-response-bundle"
SERVICE_PROVIDER = "SJ"
"""X12 98 entity code of a provider whose role the request does not name."""
NOT_NAMEABLE = "unsupported"
"""data-absent-reason of a Claim that has no address we could name."""
SWAPPED = {
    "applicationSenderCode": "applicationReceiverCode",
    "applicationReceiverCode": "applicationSenderCode",
    "interchangeSenderID": "interchangeReceiverID",
    "interchangeReceiverID": "interchangeSenderID",
}


def render(
    request_bundle: Element,
    decision: Decision,
    *,
    ids: Callable[[str], str] | None = None,
    now: datetime | None = None,
    version: str = "2.2.1",
    base_url: str = "https://localhost/fhir/pas/2.2.1",
    inquiry: bool = False,
    request_absent: str = "",
) -> Element:
    """The PAS Response Bundle for a request and the decision on it.

    `ids` names a created resource → its UUID (default: derived from case id and version); `now` = when the Bundle is
    put together (default: the time of the decision, which makes the result byte-equal); `base_url` = our endpoint,
    named in requests for information; `inquiry` = an answer to `$inquire` (its own profiles, no communicationRequest);
    `request_absent` = the data-absent-reason why no Claim can be named (the request came by another rail; also read
    from the decision's record under `requestAbsent`). Raises
    Unmappable for a denial without a reason, for codes outside X12 306, and for a decision on an item nobody knows.
    """
    name_id = ids or (lambda name: derived_uuid(decision.case_id, str(decision.version), name))
    echo = Echo(request_bundle, decision.case_id)
    claim: Element = entries(request_bundle)[0]["resource"]
    context = _context(claim, decision, echo, version)
    notes: list[str] = []
    response = _head(claim, decision, echo, name_id, request_absent or str(decision.record.get("requestAbsent", "")))
    response["meta"] = {"profile": [INQUIRY_PROFILE if inquiry else PROFILE]}
    response |= _results(claim, decision, context, notes)
    created = _information(claim, decision, response, echo, name_id, base_url, version)
    if inquiry:
        created = [entry for entry in created if entry["resource"]["resourceType"] != "CommunicationRequest"]
    elif created:
        asked = [e for e in created if e["resource"]["resourceType"] == "CommunicationRequest"]
        response["communicationRequest"] = [{"reference": entry["fullUrl"]} for entry in asked]
    if notes:
        response["processNote"] = [
            {"number": number, "type": "display", "text": text} for number, text in enumerate(notes, 1)
        ]
    extensions = _claim_extensions(claim, decision, context)
    if version != "2.0.1" and extensions:
        response["extension"] = extensions
    return {
        "resourceType": "Bundle",
        "id": name_id("Bundle"),
        "meta": {"profile": [INQUIRY_BUNDLE_PROFILE if inquiry else BUNDLE_PROFILE]},
        "identifier": request_bundle.get("identifier") or {"system": "urn:ietf:rfc:3986", "value": name_id("Bundle")},
        "type": "collection",
        "timestamp": _instant(now or decision.decided_at),
        "entry": [{"fullUrl": f"urn:uuid:{response['id']}", "resource": response}, *created, *echo.entries()],
    }


def pended(case_id: str, version: int, request_bundle: Element, decided_at: datetime) -> Decision:
    """The answer when no decision came in time: every item A4 (spec-7; a notification must follow).

    What the sender withdrew is C at once: there is nothing to decide. An empty `request_bundle` (a case of another
    rail) gives a decision without items: A4 as a whole.
    """
    claim = next(iter(entries(request_bundle)), {}).get("resource") or {}
    undecided = Decision(case_id=case_id, version=version, decided_at=decided_at, action="A4")
    items = tuple(decided_items(claim, undecided).values())
    return replace(undecided, items=items, action=roll_up([item.action for item in items]))


def decided_items(claim: Element, decision: Decision) -> dict[int, ItemDecision]:
    """A decision for every submitted item (spec-46), by its sequence.

    C for what the sender withdrew, whatever the policy says of it; else the item's own decision; else the one on the
    request as a whole (sequence 0, or a decision without items). Items a business rejection is about have none.
    """
    own = {item.sequence: item for item in decision.items}
    whole = own.get(0) or (None if decision.items else ItemDecision(sequence=0, action=decision.action))
    all_withdrawn = withdrawn(claim)
    found: dict[int, ItemDecision] = {}
    for item in rows(claim, "item"):
        sequence = int(item["sequence"])
        if all_withdrawn or cancelled(item):
            found[sequence] = ItemDecision(sequence=sequence, action="C")
        elif sequence in own:
            found[sequence] = own[sequence]
        elif whole is not None:
            found[sequence] = replace(whole, sequence=sequence)
        elif not decision.errors:
            raise Unmappable("a submitted item has no decision", location=f"item {sequence}")
    return found


def outcome_of_items(actions: list[str], *, errors: bool) -> str:
    """`error` with business rejections; `partial` when some items are pended and some are not; else `complete`."""
    if errors:
        return "error"
    pending = {ACTIONS[action].final for action in actions}
    return "partial" if pending == {True, False} else "complete"


def _results(claim: Element, decision: Decision, context: ItemContext, notes: list[str]) -> Element:
    """outcome, preAuthRef, preAuthPeriod, item, addItem, adjudication, error."""
    if decision.errors and not decision.items:
        return {"outcome": "error", "error": [_error(located(row, claim), context.version) for row in decision.errors]}
    requested = {int(item["sequence"]): item for item in rows(claim, "item")}
    by_sequence = decided_items(claim, decision)
    answered = list(by_sequence.values())
    for item in answered:
        action_of(item)
    actions = [item.action for item in answered] or [decision.action if decision.action in ACTIONS else "A4"]
    result: Element = {"outcome": outcome_of_items(actions, errors=bool(decision.errors))}
    approved = any(ACTIONS[action].approved for action in actions)
    if decision.authorization_number and approved:
        result["preAuthRef"] = decision.authorization_number
    if validity(decision) and approved:
        result["preAuthPeriod"] = validity(decision)
    items = []
    for sequence, element in requested.items():
        decided = by_sequence.get(sequence)
        note = _note(decided.note, notes) if decided else None
        items.append(response_item(element, decided, context, note) if decided else undecided_item(element, sequence))
    if items:
        result["item"] = items
    added = list(_added(requested, decision, answered, context))
    if added:
        result["addItem"] = added
    summary = _summary(decision, answered)
    if summary:
        result["adjudication"] = [reviewed(summary)]
    if decision.errors:
        result["error"] = [_error(located(row, claim), context.version) for row in decision.errors]
    return result


def _summary(decision: Decision, answered: list[ItemDecision]) -> list[Element]:
    """The reviewAction of the whole claim: number and reasons. The code stands on items only (its context)."""
    overall = decision.action if decision.action in ACTIONS else roll_up([item.action for item in answered])
    reasons = tuple(dict.fromkeys(reason for item in answered for reason in item.reasons))
    return numbers_and_reasons(ItemDecision(sequence=0, action=overall, reasons=reasons), decision)


def _added(
    requested: dict[int, Element], decision: Decision, answered: list[ItemDecision], context: ItemContext
) -> Iterator[Element]:
    for item in answered:
        if ACTIONS[item.action].replaces:
            yield added_item(requested[item.sequence], item, context)
    for item in decision.items:
        if item.sequence in requested or not item.sequence:
            continue
        if not action_of(item).approved or not item.changes.get("code"):
            raise Unmappable("a decision on an item that was not requested", location=f"item {item.sequence}")
        yield added_item({}, item, context)


def _note(text: str, notes: list[str]) -> int | None:
    if not text.strip():
        return None
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1


def _head(claim: Element, decision: Decision, echo: Echo, ids: Callable[[str], str], absent: str) -> Element:
    head: Element = {
        "resourceType": "ClaimResponse",
        "id": ids("ClaimResponse"),
        "identifier": claim.get("identifier") or [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{ids('Claim')}"}],
        "status": "active",
        "type": claim.get("type", {"coding": [{"system": terms.CLAIM_TYPE, "code": "professional"}]}),
        "use": "preauthorization",
        "patient": echo.refer(claim.get("patient")),
        "created": _instant(decision.decided_at),
        "insurer": echo.refer(claim.get("insurer")),
        "requestor": echo.refer(claim.get("provider")),
    }
    if absent:
        return head | {"request": {"extension": [{"url": terms.DATA_ABSENT, "valueCode": absent}]}}
    echoed = echo.claim_fits() and not rows(claim, "related")
    if echoed:
        echo.want(0)  # not an update: `request` may mean a profile-claim only, which forbids `related`
    request: Element = {"reference": echo.url(0)}
    if not echoed and request["reference"].startswith("urn:"):
        # Outside of the Bundle that defines it a urn means nothing to anyone.
        request = {"extension": [{"url": terms.DATA_ABSENT, "valueCode": NOT_NAMEABLE}]}
    if rows(claim, "identifier"):
        request["identifier"] = rows(claim, "identifier")[0]
    return head | {"request": request}


def _context(claim: Element, decision: Decision, echo: Echo, version: str) -> ItemContext:
    stay: dict[str, Element] = {}
    for row in rows(claim, "supportingInfo"):
        kind = code(row.get("category"), terms.PAS_CODES)
        if kind in ("admissionDates", "dischargeDates"):
            stay[kind] = {f"value{name.removeprefix('timing')}": row[name] for name in row if name.startswith("timing")}
    diagnoses = {
        row["sequence"]: row["diagnosisCodeableConcept"]
        for row in rows(claim, "diagnosis")
        if "diagnosisCodeableConcept" in row
    }
    return ItemContext(
        decision=decision,
        version=version,
        providers=_providers(claim, echo),
        admission=stay.get("admissionDates"),
        discharge=stay.get("dischargeDates"),
        diagnoses=diagnoses,
        absolute=lambda element: _wanting(element, echo),
    )


def _wanting(element: Element, echo: Echo) -> Any:
    reference = element.get("valueReference")
    if isinstance(reference, dict):
        return {"url": element["url"], "valueReference": echo.refer(reference)}
    return echo.absolute(element)


def _providers(claim: Element, echo: Echo) -> dict[int, list[tuple[str, str]]]:
    """Who may perform which item: care team members of the claim (key 0 and all items) and of single items."""
    scoped: dict[int, list[tuple[str, str]]] = {0: []}
    for item in rows(claim, "item"):
        scoped[int(item["sequence"])] = []
    for row in rows(claim, "careTeam"):
        found = _performer(echo, row.get("provider"))
        if found is None:
            continue
        entity = (echo.url(found), entity_code(row, SERVICE_PROVIDER))
        for_all = extension_value(row, terms.CARE_TEAM_SCOPE) is not False
        for item in rows(claim, "item"):
            if for_all or row.get("sequence") in item.get("careTeamSequence", []):
                scoped[int(item["sequence"])].append(entity)
        if for_all:
            scoped[0].append(entity)
    requester = _performer(echo, claim.get("provider"))
    if requester is not None:
        for sequence, listed in scoped.items():
            if not listed and sequence:
                listed.append((echo.url(requester), SERVICE_PROVIDER))
    return scoped


def _performer(echo: Echo, reference: Any, holder: int = 0) -> int | None:
    """Entry number of the Practitioner or Organization meant; a PractitionerRole is followed to one of them."""
    number = echo.index.entry_number(reference, holder)
    if number is None:
        return None
    resource = entries(echo.bundle)[number].get("resource") or {}
    if resource.get("resourceType") == "PractitionerRole":
        person = _performer(echo, resource.get("practitioner"), number)
        return person if person is not None else _performer(echo, resource.get("organization"), number)
    if resource.get("resourceType") not in ("Practitioner", "Organization"):
        return None
    echo.want(number)
    return number


def _claim_extensions(claim: Element, decision: Decision, context: ItemContext) -> list[Element]:
    found: list[Element] = []
    asked = extension(claim, terms.TRANSMISSION_IDENTIFIERS)
    if asked:
        said = {str(row.get("url")): value_of(row) for row in rows(asked, "extension")}
        swapped = [{"url": url, "valueString": said[mirror]} for url, mirror in SWAPPED.items() if said.get(mirror)]
        if swapped:
            found.append({"extension": swapped, "url": terms.TRANSMISSION_IDENTIFIERS})
    action = ACTIONS.get(decision.action)
    if action and action.final and not decision.errors:
        found.append(_reviewer(decision))  # false, too, is an answer: no person decided this
    if action and action.approved:
        found += authorized_providers(context, 0)
    return found


def _reviewer(decision: Decision) -> Element:
    parts: list[Element] = [{"url": "wasHumanReviewedFlag", "valueBoolean": decision.human_reviewed}]
    npi, specialty = decision.reviewer.get("npi"), decision.reviewer.get("specialty")
    if npi:
        parts.append({"url": "reviewerNPI", "valueIdentifier": {"system": terms.NPI, "value": npi}})
    if specialty:
        concept = {"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": specialty}]}
        parts.append({"url": "reviewerSpecialty", "valueCodeableConcept": concept})
    return {"extension": parts, "url": terms.REVIEWER}


def located(row: dict[str, str], claim: Element) -> dict[str, str]:
    """A business rejection with loop and FHIRPath: what the policy gave, else those of the line it is about."""
    sequences = [str(item.get("sequence")) for item in rows(claim, "item")]
    if row.get("line") in sequences:
        found = {"location": "2000F", "path": f"Bundle.entry[0].resource.item[{sequences.index(row['line'])}]"}
    else:
        found = {"location": "2000E", "path": "Bundle.entry[0].resource"}
    return found | {name: value for name, value in row.items() if value}


def _error(row: dict[str, str], version: str) -> Element:
    """A business rejection (AAA03, AAA04, loop and element, FHIRPath)."""
    if not row.get("code"):
        raise Unmappable("a business rejection without a reject reason code")
    found: list[Element] = []
    if row.get("followUp"):
        concept = {"coding": [{"system": terms.X12_FOLLOW_UP, "code": row["followUp"]}]}
        found.append({"url": terms.ERROR_FOLLOW_UP, "valueCodeableConcept": concept})
    if row.get("location") and version == "2.0.1":
        found.append({"url": terms.ERROR_ELEMENT, "valueString": row["location"]})
    elif row.get("location"):
        part = {"url": "error", "valueString": row["location"]}
        found.append({"extension": [part], "url": terms.ERROR_ELEMENT})
    if row.get("path"):
        found.append({"url": terms.ERROR_PATH, "valueString": row["path"]})
    element: Element = {"extension": found} if found else {}
    return element | {"code": {"coding": [{"system": terms.X12_REJECT_REASON, "code": row["code"]}]}}


def _information(
    claim: Element,
    decision: Decision,
    response: Element,
    echo: Echo,
    ids: Callable[[str], str],
    base_url: str,
    version: str,
) -> list[Element]:
    if not decision.requested_information:
        return []
    requester = party(echo.index, claim.get("provider"))
    performer = _performer(echo, claim.get("provider"))
    named = next(iter(requester.identifiers), ("urn:ietf:rfc:3986", decision.case_id))
    provider = (terms.NPI, requester.npi) if requester.npi else named
    parties = Parties(
        patient=response["patient"],
        insurer=response["insurer"],
        requestor=response["requestor"],
        recipient={"reference": echo.url(performer)} if performer is not None else response["requestor"],
        provider_identifier={"system": provider[0], "value": provider[1]},
        claim=response["request"],
        diagnoses=[row["diagnosisCodeableConcept"] for row in rows(claim, "diagnosis")[:1] if "sequence" in row],
    )
    created = communication_requests(decision, parties, ids, base_url)
    created += tasks(decision, parties, ids, base_url, version)
    return [{"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource} for resource in created]


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
