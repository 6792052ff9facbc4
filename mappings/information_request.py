"""What the payer still needs → CommunicationRequest and PAS Task (PAS ainfo-1 to ainfo-7).

One CommunicationRequest per missing thing, one Task per kind of request (report type PWK01, LOINC, questionnaire).
The attachment control number is derived from the case and the thing asked, so it stays the same while the case is
pended, and `$submit-attachment` finds the case by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.fhir.wire import terms
from gateway.core.ports import Decision
from mappings.bundle_echo import derived_uuid

Element = dict[str, Any]

QUESTIONNAIRE = "102089-0"
"""LOINC code that asks for a questionnaire in a single-LOINC request (ainfo-3)."""
SUPPORT_DATA = "77"
"""X12 755 code used when the rules name neither LOINC nor report type."""
TASK_LINE_201 = f"{terms.PAS}/StructureDefinition/extension-paLineNumber"
KINDS = ("report-type", "loinc", "questionnaire")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """Who asks whom about whom: References as they stand in the ClaimResponse, and the provider's identifier."""

    patient: Element
    insurer: Element
    requestor: Element
    recipient: Element
    provider_identifier: Element
    claim: Element
    diagnoses: Sequence[Element] = ()


def control_number(case_id: str, wanted: dict[str, str]) -> str:
    """The attachment control number (PWK06, TrackingId) of one missing thing: 20 characters, stable per case."""
    named = (wanted.get("line", ""), wanted.get("fact", ""), wanted.get("loinc", ""), wanted.get("reportType", ""))
    return derived_uuid(case_id, "attachment", *named).replace("-", "").upper()[:20]


def information_keys(decision: Decision) -> tuple[tuple[str, str], ...]:
    """Lookup keys ("attachment-control", number) under which the answers to this request will come."""
    return tuple(
        ("attachment-control", control_number(decision.case_id, row)) for row in decision.requested_information
    )


def kind_of(wanted: dict[str, str]) -> str:
    """`questionnaire`, `loinc` or `report-type`."""
    if wanted.get("questionnaire") or wanted.get("loinc") == QUESTIONNAIRE:
        return "questionnaire"
    return "loinc" if wanted.get("loinc") else "report-type"


def communication_requests(
    decision: Decision, parties: Parties, ids: Callable[[str], str], base_url: str
) -> list[Element]:
    """One CommunicationRequest per missing thing."""
    return [
        _communication_request(decision, number, wanted, parties, ids, base_url)
        for number, wanted in enumerate(decision.requested_information, 1)
    ]


def tasks(
    decision: Decision, parties: Parties, ids: Callable[[str], str], base_url: str, version: str
) -> list[Element]:
    """One Task per kind of request present."""
    grouped: dict[str, list[dict[str, str]]] = {kind: [] for kind in KINDS}
    for wanted in decision.requested_information:
        grouped[kind_of(wanted)].append(wanted)
    return [_task(decision, kind, rows, parties, ids, base_url, version) for kind, rows in grouped.items() if rows]


def _communication_request(
    decision: Decision, number: int, wanted: dict[str, str], parties: Parties, ids: Callable[[str], str], base_url: str
) -> Element:
    report_type = wanted.get("reportType") or (SUPPORT_DATA if kind_of(wanted) == "report-type" else "")
    element: Element = {
        "resourceType": "CommunicationRequest",
        "id": ids(f"CommunicationRequest/{number}"),
        "meta": {"profile": [f"{terms.PAS}/StructureDefinition/profile-communicationrequest"]},
    }
    line = wanted.get("line")
    if line:
        element["extension"] = [{"url": terms.SERVICE_LINE, "valuePositiveInt": int(line)}]
    element["identifier"] = [
        {"system": control_system(base_url), "value": control_number(decision.case_id, wanted)},
    ]
    element["status"] = "active"
    if report_type:
        element["category"] = [{"coding": [{"system": terms.X12_REPORT_TYPE, "code": report_type}]}]
    element["medium"] = [{"coding": [{"system": terms.X12 + "756", "code": wanted.get("medium") or "EL"}]}]
    extensions: list[Element] = [
        {"url": terms.COMMUNICATED_DIAGNOSIS, "valueCodeableConcept": row} for row in parties.diagnoses
    ]
    if wanted.get("modifier"):
        concept = {"coding": [{"system": terms.LOINC, "code": wanted["modifier"]}]}
        extensions.append({"url": terms.CONTENT_MODIFIER, "valueCodeableConcept": concept})
    payload: Element = {"extension": extensions} if extensions else {}
    element["payload"] = [payload | {"contentString": wanted.get("loinc") or wanted.get("question") or report_type}]
    return element | {
        "requester": parties.insurer,
        "recipient": [parties.recipient],
        "sender": parties.requestor,
    }


def _task(
    decision: Decision,
    kind: str,
    rows: list[dict[str, str]],
    parties: Parties,
    ids: Callable[[str], str],
    base_url: str,
    version: str,
) -> Element:
    questionnaire = kind == "questionnaire"
    task_code = "attachment-request-questionnaire" if questionnaire else "attachment-request-code"
    numbers = [control_number(decision.case_id, wanted) for wanted in rows]
    inputs: list[Element] = [{"type": _pas("payer-url"), "valueUrl": base_url}]
    inputs += [_input(wanted, questionnaire, decision.case_id, version) for wanted in rows]
    element: Element = {
        "resourceType": "Task",
        "id": ids(f"Task/{kind}"),
        "meta": {"profile": [f"{terms.PAS}/StructureDefinition/profile-task"]},
        "identifier": [{"system": control_system(base_url), "value": number} for number in numbers],
        "status": "requested",
        "intent": "order",
        "code": _pas(task_code),
        "for": parties.patient,
        "authoredOn": decision.decided_at.isoformat(),
        "requester": {"identifier": parties.provider_identifier},
        "owner": {"identifier": parties.provider_identifier},
        "reasonCode": _pas("priorAuthorization"),
        "reasonReference": parties.claim,
        "input": inputs,
    }
    questions = "; ".join(wanted["question"] for wanted in rows if wanted.get("question"))
    if questions:
        element["statusReason"] = {"text": questions}
    due = max((wanted.get("due", "") for wanted in rows), default="")
    if due:
        element["restriction"] = {"period": {"end": due}}
    return element


def _input(wanted: dict[str, str], questionnaire: bool, case_id: str, version: str) -> Element:
    line = {
        "url": TASK_LINE_201 if version == "2.0.1" else terms.SERVICE_LINE,
        ("valueInteger" if version == "2.0.1" else "valuePositiveInt"): int(wanted.get("line") or 1),
    }
    extensions: list[Element] = [line]
    if questionnaire:
        # The context id retrieves the questionnaire by DTR; the control number stands in where rules name none.
        context = wanted.get("questionnaire") or control_number(case_id, wanted)
        return {"extension": extensions, "type": _pas("questionnaire-context"), "valueString": context}
    if wanted.get("modifier") and version != "2.0.1":
        concept = {"coding": [{"system": terms.LOINC, "code": wanted["modifier"]}]}
        extensions.append({"url": terms.CONTENT_MODIFIER, "valueCodeableConcept": concept})
    loinc = wanted.get("loinc")
    system = terms.LOINC if loinc else terms.X12_REPORT_TYPE
    asked = {"coding": [{"system": system, "code": loinc or wanted.get("reportType") or SUPPORT_DATA}]}
    return {"extension": extensions, "type": _pas("attachments-needed"), "valueCodeableConcept": asked}


def control_system(base_url: str) -> str:
    """Identifier system of our attachment control numbers."""
    return f"{base_url.rstrip('/')}/attachment-control-number"


def _pas(code: str) -> Element:
    return {"coding": [{"system": terms.PAS_CODES, "code": code}]}
