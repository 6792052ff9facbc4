"""Asking a payer over Da Vinci PAS and reading what it says: the pure part, as payer_278 is for X12.

question       the request of a case → the Bundle for `Claim/$submit`, and what finds its answer again
read_answer    bytes of an answer (`$submit`, `$inquire`, a resource that was read) → the message a case gets
answer_of      a response Bundle of a notification → the same
decision_from  such a message + what was asked → the decision on the whole case
inquiry        what was asked → the Bundle for `Claim/$inquire`

An answer is known by the strongest of: our Bundle's identifier, which responses echo (BHT03); the Claim it names; its
trace numbers (TRN); authorization number and administrative reference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from adapters.fhir.wire import (
    FHIR_JSON,
    FHIR_XML,
    closure,
    entries,
    parse,
    serialize,
    terms,
    validate_submit,
)
from adapters.fhir.wire.answers import claim_responses
from adapters.fhir.wire.elements import code, coding, extension_value, rows, value_of
from adapters.fhir.wire.refusals import errors_in
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import InvalidMessage, Issue, MalformedMessage
from gateway.core.exact_json import dumps
from gateway.core.ports import Decision, ItemDecision
from gateway.stages.ask import REJECTION, RESPONSE
from gateway.stages.decide import PENDED
from mappings.bundle_echo import derived_uuid
from mappings.claim_to_pas import PROFILES, Rendering
from mappings.claimresponse_to_decision import read_decision, trace_numbers
from mappings.payer_278 import of_whole_case, pended
from mappings.review_actions import ACTIONS

Element = dict[str, Any]
RAIL = "fhir-pas-answer"
KEPT = frozenset({"ClaimResponse", "CommunicationRequest", "Task"})
"""Resources of an answer that say something; the rest are our own, echoed."""
NO_REASON = "The payer named no reason for this denial; please contact the payer."
INPUT_ERROR = {"code": "33", "followUp": "C"}
"""X12 901 input errors, 889 correct and resubmit: an error whose code the payer did not say."""
INQUIRED = ("type", "patient", "insurer", "provider", "priority", "insurance")
"""Elements of the Claim that an inquiry repeats (profile-claim-inquiry)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request to a payer, rendered."""

    data: bytes
    record: dict[str, Any]
    """What reading the answer needs: `by`, `bundle`, `claim`, `traces`, `sequences` (payer's → the case's)."""
    left_out: tuple[str, ...]

    def keys(self, partner: str) -> list[tuple[str, tuple[str, ...]]]:
        """What the answers of this partner are matched by."""
        named = [("bundle", self.record["bundle"]), ("claim", self.record["claim"])]
        named += [("trace", value) for value in self.record["traces"]]
        return [("asked", (f"fhir/{partner}", kind, value)) for kind, value in named]


def question(rendering: Rendering, *, version: str) -> Asked:
    """The bytes and the record of a request. Raises InvalidMessage where PAS would refuse what the case has."""
    issues = [issue for issue in validate_submit(rendering.bundle, version=version) if issue.severity == "error"]
    if issues:
        raise InvalidMessage("the request breaks rules of PAS", issues=tuple(issues))
    claim = rendering.claim
    traces = [str(row["value"]) for row in rows(claim, "identifier") if row.get("value")]
    traces += [str(found["value"]) for row in rows(claim, "item") if (found := _item_trace(row)).get("value")]
    record = {
        "by": "fhir",
        "bundle": rendering.bundle["identifier"]["value"],
        "claim": rendering.bundle["entry"][0]["fullUrl"],
        "traces": list(dict.fromkeys(traces)),
        "sequences": {str(theirs): ours for theirs, ours in rendering.sequences.items()},
    }
    return Asked(data=serialize(rendering.bundle), record=record, left_out=rendering.left_out)


def inquiry(asked: Element, *, numbers: Mapping[str, str], identity: str, now: str, version: str) -> bytes:
    """The `$inquire` about a request: by its number where the payer gave one, else by member, provider and services.

    `numbers`: `authorization` and `administrative-reference` the payer gave. Claim.identifier is the inquiry's own.
    """
    first = entries(asked)[0]
    claim: Element = {"resourceType": "Claim", "id": derived_uuid(identity, "Claim")}
    claim["meta"] = {"profile": [f"{PROFILES}profile-claim-inquiry"]}
    said = {"authorization": terms.AUTHORIZATION_NUMBER, "administrative-reference": terms.ADMINISTRATION_REFERENCE}
    number = next((kind for kind in said if numbers.get(kind)), "")
    extensions = [row for row in rows(first["resource"], "extension") if row["url"] == terms.TRANSMISSION_IDENTIFIERS]
    extensions += [{"url": said[number], "valueString": numbers[number]}] if number else []
    if extensions:
        claim["extension"] = extensions
    own = f"urn:uuid:{derived_uuid(identity, 'identifier')}"
    claim |= {"identifier": [{"system": "urn:ietf:rfc:3986", "value": own}], "status": "active"}
    claim |= {"use": "preauthorization", "created": now}
    claim |= {name: first["resource"][name] for name in INQUIRED if name in first["resource"]}
    if not number or version == "2.0.1":
        claim["item"] = [
            {"sequence": row["sequence"], "productOrService": row["productOrService"]}
            for row in rows(first["resource"], "item")
        ]
    whole = {**asked, "entry": [{"fullUrl": f"urn:uuid:{claim['id']}", "resource": claim}, *entries(asked)[1:]]}
    reached = closure(whole).reached
    return serialize(
        {
            "resourceType": "Bundle",
            "id": derived_uuid(identity, "Bundle"),
            "meta": {"profile": [f"{PROFILES}profile-pas-inquiry-request-bundle"]},
            "identifier": {"system": "urn:ietf:rfc:3986", "value": own},
            "type": "collection",
            "timestamp": now,
            "entry": [entries(whole)[number] for number in sorted(reached)],
        }
    )


def read_answer(data: bytes, reception: Reception) -> Intake | None:
    """What a payer answered on the line. None: it took note, or (`$inquire`) knows nothing.

    Raises MalformedMessage for what is no PAS answer: a proxy's page, bytes cut short.
    """
    form = FHIR_XML if data.lstrip()[:1] == b"<" else FHIR_JSON
    try:
        resource = parse(data, form)
    except MalformedMessage:
        raise
    except Exception as error:
        raise MalformedMessage("the payer's answer cannot be read") from error
    if resource.get("resourceType") == "OperationOutcome":
        return _refusal(resource, data, form, reception)
    if resource.get("resourceType") == "Parameters" and not rows(resource, "parameter"):
        return None
    found = claim_responses(data, form)
    return _intake(found, Raw.of(data, form), reception) if found else None


def answer_of(bundle: Element, reception: Reception) -> Intake:
    """The message of one response Bundle that a notification carries."""
    data = serialize(bundle)
    return _intake([bundle], Raw.of(data, FHIR_JSON), reception)


def _intake(bundles: Sequence[Element], raw: Raw, reception: Reception) -> Intake:
    kept = _readable(bundles)
    partner = reception.source.removeprefix("fhir/")
    parents = list(dict.fromkeys(key for bundle in kept for key in _keys(bundle, partner)))
    digest = hashlib.sha256(dumps(kept, sort_keys=True)).hexdigest()
    return Intake(
        type=RESPONSE,
        format="fhir-r4",
        natural_key=("fhir-pas-answer", partner, digest),
        case_key=parents[0] if parents else ("fhir-pas-answer", partner, digest),
        ordering_key=parents[0] if parents else ("fhir-pas-answer", partner, digest),
        raw=raw,
        facts={"request.receivedAt": reception.received_at.isoformat()},
        reply={
            "rail": RAIL,
            "client": partner,
            "answers": kept,
            "at": max((str(bundle.get("timestamp", "")) for bundle in kept), default=""),
            "parents": [list(key) for key in parents],
        },
    )


def _readable(bundles: Sequence[Element]) -> list[Element]:
    """What is kept of them. Fails here, before anything is accepted, where later reading would: a word for a number."""
    try:
        kept = [_kept(bundle) for bundle in bundles]
        for bundle in kept:
            decided = read_decision(bundle, case_id="", version=0, received_at=datetime.min.replace(tzinfo=UTC))
            tuple(_items(decided, {}, ()))
            tuple(_information(bundle, decided, {}))
            _named(bundle)
    except (AttributeError, IndexError, InvalidMessage, KeyError, TypeError, ValueError) as error:
        raise MalformedMessage("the payer's answer is not built as FHIR says") from error
    return kept


def _refusal(outcome: Element, data: bytes, form: str, reception: Reception) -> Intake | None:
    """An OperationOutcome in place of an answer: our request was not taken, unless it only informs."""
    issues = errors_in(outcome)
    if not issues:
        return None
    partner = reception.source.removeprefix("fhir/")
    digest = hashlib.sha256(data).hexdigest()
    return Intake(
        type=REJECTION,
        format="fhir-r4",
        natural_key=("fhir-pas-answer", partner, digest),
        case_key=("fhir-pas-answer", partner, digest),
        ordering_key=("fhir-pas-answer", partner, digest),
        raw=Raw.of(data, form),
        facts={"request.receivedAt": reception.received_at.isoformat()},
        reply={"rail": RAIL, "client": partner, "answers": [], "codes": codes_of(issues), "parents": []},
    )


def codes_of(issues: Sequence[Issue]) -> list[str]:
    """Codes and positions of issues, for people who mend our request."""
    return [f"{issue.code} {issue.location}".strip() for issue in issues]


def _kept(bundle: Element) -> Element:
    said = [row for row in entries(bundle) if (row.get("resource") or {}).get("resourceType") in KEPT]
    return {
        "resourceType": "Bundle",
        **{name: bundle[name] for name in ("identifier", "timestamp") if name in bundle},
        "entry": [{"resource": row["resource"]} for row in said],
    }


def _keys(bundle: Element, partner: str) -> Iterator[tuple[str, ...]]:
    """What a response says it is about, strongest first."""
    named = _named(bundle)
    for kind in ("bundle", "claim", "trace"):
        yield from (("asked", f"fhir/{partner}", kind, value) for value in named[kind])
    yield from ((kind, number) for kind, number in numbers_of(bundle).items())


def _named(bundle: Element) -> dict[str, list[str]]:
    response = _response(bundle)
    request = response.get("request") or {}
    reference = str(request.get("reference") or "") if isinstance(request, dict) else ""
    identifier = bundle.get("identifier") or {}
    value = str(identifier.get("value") or "") if isinstance(identifier, dict) else ""
    traces = [number for _, number in trace_numbers(bundle)]
    return {"bundle": [value] if value else [], "claim": [reference] if reference else [], "trace": traces}


def numbers_of(bundle: Element) -> dict[str, str]:
    """The payer's numbers in a response: `authorization`, `administrative-reference`."""
    response = _response(bundle)
    decided = (
        read_decision(bundle, case_id="", version=0, received_at=datetime.min.replace(tzinfo=UTC)) if response else None
    )
    if decided is None:
        return {}
    found = {
        "authorization": decided.authorization_number,
        "administrative-reference": decided.administrative_reference,
    }
    return {kind: number for kind, number in found.items() if number}


def _response(bundle: Element) -> Element:
    resources = [row.get("resource") or {} for row in entries(bundle)]
    return next((row for row in resources if row.get("resourceType") == "ClaimResponse"), {})


def answers(reply: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a payer's message is about this request."""
    return _about(reply, record) is not None


def _about(reply: Mapping[str, Any], record: Mapping[str, Any]) -> Element | None:
    """The response that is about this request: by the strongest thing that both name."""
    for kind, wanted in (("bundle", [record["bundle"]]), ("claim", [record["claim"]]), ("trace", record["traces"])):
        for bundle in reply["answers"]:
            if set(_named(bundle)[kind]) & set(wanted):
                found: Element = bundle
                return found
    numbers = set(record.get("numbers", ()))
    return next((one for one in reply["answers"] if numbers & set(numbers_of(one).values())), None)


def about(reply: Mapping[str, Any], record: Mapping[str, Any], *, alone: bool) -> dict[str, Any] | None:
    """An inquiry's answer cut down to the response that is about this request; None where none of them is.

    A number may have been replaced, and its authorization renamed: the only return of an inquiry by number is it.
    """
    found = _about(reply, record)
    if found is None and alone and len(reply["answers"]) == 1:
        found = reply["answers"][0]
    return {**reply, "answers": [found]} if found is not None else None


def decision_from(
    reply: Mapping[str, Any],
    record: Mapping[str, Any],
    *,
    case_id: str,
    version: int,
    received_at: datetime,
    wanted: Sequence[int],
    before: Decision | None,
) -> Decision:
    """The decision on the whole case by a PAS response to it; see `payer_278.decision_from`."""
    bundle = _about(reply, record) or reply["answers"][0]
    answer = read_decision(bundle, case_id=case_id, version=version, received_at=received_at)
    own = {int(theirs): int(ours) for theirs, ours in record["sequences"].items()}
    answer = replace(
        answer,
        items=tuple(_items(answer, own, wanted)),
        errors=tuple(error if error.get("code") else INPUT_ERROR | error for error in answer.errors),
        requested_information=tuple(_information(bundle, answer, own)),
    )
    if answer.errors and all(item.action == PENDED for item in answer.items):
        return replace(answer, items=(), action="")  # what a rejection is about is answered, but not decided
    if not answer.items:
        if answer.action not in ACTIONS or not ACTIONS[answer.action].final:
            waiting = pended(case_id, version, received_at, wanted)
            reference = answer.administrative_reference or waiting.administrative_reference
            information = answer.requested_information
            return replace(waiting, administrative_reference=reference, requested_information=information)
        whole = ItemDecision(sequence=0, action=answer.action, authorization_number=answer.authorization_number)
        answer = replace(answer, items=tuple(_reasoned(replace(whole, sequence=one)) for one in wanted))
    return of_whole_case(answer, before=before, wanted=wanted)


def _items(answer: Decision, own: Mapping[int, int], wanted: Sequence[int]) -> Iterator[ItemDecision]:
    """Items by the case's sequences. What the payer adds of itself follows the last one; other versions' items do not
    belong to this request."""
    following = max(wanted, default=0)
    for item in answer.items:
        if item.sequence in own:
            yield _reasoned(replace(item, sequence=own[item.sequence]))
        elif item.sequence == 0 and item.changes.get("code") and item.action in ACTIONS:
            following += 1
            yield replace(item, sequence=following)


def _reasoned(item: ItemDecision) -> ItemDecision:
    """A denial is never passed on without a word why (42 CFR 431.80): where the payer has none, that is said."""
    action = ACTIONS.get(item.action)
    silent = action is not None and action.needs_reason and not item.reasons and not item.note.strip()
    return replace(item, note=NO_REASON) if silent else item


def _information(bundle: Element, answer: Decision, own: Mapping[int, int]) -> Iterator[dict[str, str]]:
    """What the payer wants to see: its CommunicationRequests, else the inputs of its Tasks."""
    asked = list(answer.requested_information) or list(_of_tasks(bundle))
    for row in asked:
        line = row.get("line", "")
        known = {name: value for name, value in row.items() if name != "line"}
        yield known | ({"line": str(own[int(line)])} if line.isdecimal() and int(line) in own else {})


def _of_tasks(bundle: Element) -> Iterator[dict[str, str]]:
    resources = [row.get("resource") or {} for row in entries(bundle)]
    for task in (row for row in resources if row.get("resourceType") == "Task"):
        wanted = [row for row in rows(task, "input") if code(row.get("type")) != "payer-url"]
        numbers = [str(row.get("value", "")) for row in rows(task, "identifier")]
        words = str((task.get("statusReason") or {}).get("text") or "")
        for at, row in enumerate(wanted):
            kind = coding(row.get("valueCodeableConcept"))
            is_loinc = kind.get("system") == terms.LOINC
            found = {
                "controlNumber": numbers[at] if len(numbers) == len(wanted) else (numbers or [""])[0],
                "loinc": str(kind.get("code", "")) if is_loinc else "",
                "reportType": str(kind.get("code", "")) if not is_loinc else "",
                "questionnaire": str(row.get("valueString") or ""),
                "question": words if len(wanted) == 1 else "",
                "line": str(extension_value(row, terms.SERVICE_LINE) or ""),
            }
            yield {name: value for name, value in found.items() if value}


def _item_trace(item: Element) -> Element:
    found = value_of(next((row for row in rows(item, "extension") if row.get("url") == terms.ITEM_TRACE_NUMBER), {}))
    return found if isinstance(found, dict) else {}


def older(reply: Mapping[str, Any], read: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the payer has said something later already: notifications may overtake each other (R4 instants)."""
    moment = _moment(reply)
    known = [found for one in read if (found := _moment(one)) is not None]
    return moment is not None and any(moment < other for other in known)


def _moment(reply: Mapping[str, Any]) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(reply.get("at", "")))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
