"""RF1, AUT and what REF, RQA, RPA, RRI are made of: the family HL7's guide lacks.

REF^I12–I15, RQA^I08–I11 → Claim (use = preauthorization) with its ServiceRequest; RPA, RRI → ClaimResponse. A referral
that already carries a payer's answer (AUT-9, AUT-10) gives a ClaimResponse too. RF1-1 is table 0283 (accepted,
expired, pending, rejected); AUT-4/5 the period, AUT-6 the number, AUT-8/9 the visits asked for and granted.
"""

from __future__ import annotations

from typing import Any

from . import primitives
from .actors import organization
from .cursor import CODED, LEAF, PAIR, Components, Cursor
from .datatypes import cp, cwe, ei
from .graph import Resource, absent, reference
from .job import Job, Scope, concept, handles
from .special import coverage_class

REQUESTS = frozenset({"RQA", "REF"})
RESPONSES = frozenset({"RPA", "RRI"})
CANCELLING = frozenset({"I11", "I14"})
CLAIM_TYPE = "http://terminology.hl7.org/CodeSystem/claim-type"
PRIORITY = "http://terminology.hl7.org/CodeSystem/processpriority"
DIAGNOSES = 25
"""Up to so many diagnoses, each item points at all of them; v2 does not say which is for which."""
REVIEW_ACTION = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewAction"
REVIEW_CODE = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewActionCode"
OUTCOMES = {"A": "complete", "E": "complete", "R": "complete", "P": "queued"}
ACTIONS = {"A": "A1", "R": "A3", "P": "A4", "E": "A3"}
"""Table 0283 → X12 element 306."""
_NUMBER = Components({1: "value", 2: "assigner", 3: "system", 4: "system"})
_NUMBER_ALONE = Components({1: "", 2: "~assigner", 3: "~assigner", 4: "~assigner"})


@handles("RF1")
def referral(cursor: Cursor, scope: Scope) -> None:
    """RF1 → ServiceRequest."""
    number, assigner = cursor.get(6), cursor.get(6, 2)
    resource = scope.make(
        "ServiceRequest", f"referral|{assigner}|{number}" if number else scope.local_key(cursor), cursor
    )
    cancelled = scope.job.trigger in CANCELLING
    status = {"E": "completed", "R": "revoked"}.get(cursor.get(1), "active")
    resource["status"] = "revoked" if cancelled else status
    resource["intent"] = "order"
    resource["priority"] = {"S": "stat", "A": "asap", "U": "urgent"}.get(cursor.get(2), "routine")
    for number_, path in ((1, "ServiceRequest.status"), (2, "ServiceRequest.priority")):
        cursor.mark(number_, path, CODED, 1)
    scope.link(resource)
    if cursor.get(25):
        cursor.mark(25, "!segment action: the message says what changes")


@handles("AUT")
def authorization(cursor: Cursor, scope: Scope) -> None:
    """AUT: kept for the end, with the procedure it stands under."""
    procedures = scope.job.made.get("PR1", [])
    inside = scope.group.name == "AUTHORIZATION" and procedures
    scope.job.note(cursor, procedures[-1][1] if inside else {})


def _reached(job: Job, name: str) -> list[tuple[Cursor, Resource]]:
    return job.made.get(name, [])


def _of_kind(job: Job, kind: str) -> list[Resource]:
    return job.env.graph.of_kind(kind)


def _covered_by(job: Job) -> Resource | None:
    """The payer of IN1."""
    payers = (job.env.graph.find(coverage["payor"][0]) for coverage in _of_kind(job, "Coverage"))
    return next((payer for payer in payers if payer), None)


def _payor(job: Job, cursor: Cursor, covered: Resource | None, role: str) -> Resource | None:
    """The authorizing payor (AUT-2, AUT-3): the payer of IN1 where number or name agree, else one of its own."""
    number, name = cursor.get(2), cursor.get(3) or cursor.get(2, 2)
    if not (number or name):
        return None
    numbers = {held["value"] for held in (covered or {}).get("identifier", ())}
    if covered is not None and (number in numbers or (name and name == covered.get("name"))):
        found: Resource | None = covered
        if number and number not in numbers:
            covered.setdefault("identifier", []).append({"value": number})
    else:
        found = organization(["", name or number, "", number], job.env)
    if found is not None:
        told = {1: "identifier", 3: "!coding system of the payer's number: its own"}
        if cursor.get(2, 2) in {"", found.get("name")}:
            told[2] = "name"
        cursor.mark(2, role, Components(told), 1)
        if cursor.get(3) == found.get("name"):
            cursor.mark(3, f"{role}.name", LEAF, 1)
    return found


def _insurer(job: Job, cursors: list[Cursor]) -> Resource | None:
    """Whom a request asks: the first authorizing payor, else the payer of IN1."""
    covered = _covered_by(job)
    role = "Claim.insurer" if job.code in REQUESTS else "ClaimResponse.insurer"
    payors = [_payor(job, cursor, covered, role) for cursor in cursors]
    return next((payor for payor in payors if payor), covered)


def _coverage(job: Job, cursors: list[Cursor], insurer: Resource | None) -> Resource | None:
    """The coverage: of IN1, else one of AUT-1 alone; the plan of AUT-1 is one of its classes."""
    held = _of_kind(job, "Coverage")
    coverage = held[0] if held else None
    if coverage is None and cursors and cursors[0].get(1):
        coverage = job.env.graph.add("Coverage", f"{job.env.control}|AUT")
        coverage |= {"status": "active", "payor": [reference(insurer) if insurer else absent()]}
        job.env.pending.append((coverage, "beneficiary"))
    for cursor in cursors:
        if coverage is not None and (plan := cursor.get(1)):
            classes = coverage.setdefault("class", [])
            entry = next((one for one in classes if one["value"] == plan), None)
            if entry is None:
                entry = coverage_class("plan", plan, cursor.get(1, 2))
                classes.append(entry)
            told = {1: "value", 3: "!coding system of the plan: the payer's own"}
            if cursor.get(1, 2) in {"", entry.get("name")}:
                told[2] = "name"
            cursor.mark(1, "Coverage.class", Components(told), 1)
    return coverage


def _base(job: Job, kind: str, key: str, insurer: Resource | None) -> Resource:
    """What Claim and ClaimResponse have in common."""
    resource = job.env.graph.add(kind, key)
    referrals = _reached(job, "RF1")
    resource["status"] = "cancelled" if job.trigger in CANCELLING and job.code in REQUESTS else "active"
    inpatient = bool(referrals) and referrals[0][0].get(5) == "I"
    resource["type"] = concept(CLAIM_TYPE, "institutional" if inpatient else "professional")
    resource["use"] = "preauthorization"
    job.env.pending.append((resource, "patient"))
    if job.sent:
        resource["created"] = job.sent
    else:
        resource["_created"] = absent()
    resource["insurer"] = reference(insurer) if insurer else absent()
    return resource


def _claim_key(job: Job) -> str:
    referrals = _reached(job, "RF1")
    for cursor, _ in referrals:
        if cursor.get(6):
            return f"referral|{cursor.get(6, 2)}|{cursor.get(6)}"
    return job.env.control


def _period(cursor: Cursor, job: Job) -> dict[str, str]:
    """AUT-4 and AUT-5."""
    period = {}
    for field, element in ((4, "start"), (5, "end")):
        if value := primitives.date_time(cursor.get(field), job.env.zone):
            period[element] = value
    return period


def finish_authorization(job: Job) -> None:
    """Build the Claim or ClaimResponse from what the segments became."""
    if job.code not in REQUESTS | RESPONSES:
        return
    autos = [cursor for cursor, _ in _reached(job, "AUT")]
    insurer = _insurer(job, autos)
    coverage = _coverage(job, autos, insurer)
    if job.code in REQUESTS:
        claim = _claim(job, insurer, coverage)
        for cursor in autos:
            if job.code == "REF" and (cursor.get(9) or cursor.get(10) or cursor.get(7)):
                payor = _payor(job, cursor, insurer, "ClaimResponse.insurer") or insurer
                _response(job, [cursor], payor, f"{_claim_key(job)}|{cursor.index}")["request"] = reference(claim)
    else:
        _response(job, autos, insurer, _claim_key(job))
    for cursor in autos:
        cursor.owner = cursor.owner or (_of_kind(job, "ClaimResponse") or _of_kind(job, "Claim"))[0]


def _claim(job: Job, insurer: Resource | None, coverage: Resource | None) -> Resource:
    claim = _base(job, "Claim", _claim_key(job), insurer)
    referrals = [resource for _, resource in _reached(job, "RF1")]
    _providers(job, claim)
    if referrals:
        order = referrals[0]
        cursor = _reached(job, "RF1")[0][0]
        claim["identifier"] = order.get("identifier", [])[:1] or None
        if claim["identifier"] is None:
            del claim["identifier"]
        claim["referral"] = reference(order)
        _complete_order(job, order, coverage)
        priority = {"S": "stat", "A": "stat", "U": "stat"}.get(cursor.get(2), "normal")
        original = cwe(cursor.first(2), job.env, None) or {"coding": []}
        claim["priority"] = {"coding": [{"system": PRIORITY, "code": priority}, *original.get("coding", [])]}
    claim.setdefault("priority", concept(PRIORITY, "normal"))
    insurance: dict[str, Any] = {
        "sequence": 1,
        "focal": True,
        "coverage": reference(coverage) if coverage else absent(),
    }
    numbers = []
    for cursor, _ in _reached(job, "AUT"):
        if (number := cursor.take(6, "Claim.insurance.preAuthRef")) and number not in numbers:
            numbers.append(number)
            cursor.mark(6, "Claim.insurance.preAuthRef", _NUMBER_ALONE, 1)
    if numbers:
        insurance["preAuthRef"] = numbers
    claim["insurance"] = [insurance]
    _diagnoses(job, claim)
    _items(job, claim)
    _support(job, claim)
    return claim


def _providers(job: Job, claim: Resource) -> None:
    """PRD: the referring provider asks, the others are its care team."""
    team = []
    for number, (cursor, role) in enumerate(_reached(job, "PRD"), 1):
        entry: dict[str, Any] = {"sequence": number, "provider": reference(role)}
        if role.get("code"):
            entry["role"] = role["code"][0]
        team.append(entry)
        if cursor.get(1) == "RP" and "provider" not in claim:
            claim["provider"] = reference(role)
    if team:
        claim["careTeam"] = team
        claim.setdefault("provider", team[0]["provider"])
    claim.setdefault("provider", absent())


def _complete_order(job: Job, order: Resource, coverage: Resource | None) -> None:
    """The ServiceRequest gets its requester, performer, code, reasons and insurance from the other segments."""
    for cursor, role in _reached(job, "PRD"):
        if cursor.get(1) == "RP":
            order.setdefault("requester", reference(role))
        elif cursor.get(1) == "RT" and reference(role) not in order.setdefault("performer", []):
            order["performer"].append(reference(role))
    if coverage is not None:
        order["insurance"] = [reference(coverage)]
    for _, procedure in _reached(job, "PR1")[:1]:
        if "code" in procedure:
            order.setdefault("code", procedure["code"])
    reasons = [reference(condition) for _, condition in _reached(job, "DG1")]
    if reasons:
        order["reasonReference"] = reasons


def _diagnoses(job: Job, claim: Resource) -> None:
    entries = []
    for number, (cursor, condition) in enumerate(_reached(job, "DG1"), 1):
        entry: dict[str, Any] = {"sequence": number, "diagnosisCodeableConcept": condition.get("code") or absent()}
        if kind := cwe(cursor.first(6), job.env, None) if cursor.raw(6) else None:
            for coding in kind.get("coding", ()):
                coding.setdefault("system", "http://terminology.hl7.org/CodeSystem/v2-0052")
            entry["type"] = [kind]
            cursor.mark(6, "Claim.diagnosis.type", None, 1)
        entries.append(entry)
        cursor.mark(1, "Claim.diagnosis.sequence", LEAF, 1)
    if entries:
        claim["diagnosis"] = entries


def _items(job: Job, claim: Resource) -> None:
    """One item for each procedure asked for; without any, one for the referral itself."""
    items = []
    autos = _reached(job, "AUT")
    general = [held for held, target in autos if not target][:1]
    below: dict[int, list[Cursor]] = {}
    for held, target in autos:
        below.setdefault(id(target), []).append(held)
    for number, (cursor, procedure) in enumerate(_reached(job, "PR1"), 1):
        item: dict[str, Any] = {"sequence": number, "productOrService": procedure.get("code") or absent()}
        own = below.get(id(procedure)) or general
        _item_details(item, own, job, primitives.date_time(cursor.get(5), job.env.zone))
        if 0 < len(claim.get("diagnosis", ())) <= DIAGNOSES:
            item["diagnosisSequence"] = [entry["sequence"] for entry in claim["diagnosis"]]
        cursor.mark(1, "Claim.item.sequence", LEAF, 1)
        items.append(item)
    if not items:
        orders = _of_kind(job, "ServiceRequest")
        code = next((order["code"] for order in orders if order.get("code")), None)
        category = next((order["category"][0] for order in orders if order.get("category")), None)
        item = {"sequence": 1, "productOrService": code or category or {"text": "referral"}}
        _item_details(item, [held for held, _ in autos][:1], job, None)
        items.append(item)
    claim["item"] = items


def _item_details(item: dict[str, Any], autos: list[Cursor], job: Job, day: str | None) -> None:
    for cursor in autos:
        if period := _period(cursor, job):
            item["servicedPeriod"] = period
            cursor.mark(4, "Claim.item.servicedPeriod.start", LEAF, 1)
            cursor.mark(5, "Claim.item.servicedPeriod.end", LEAF, 1)
        if (count := primitives.number(cursor.get(8))) is not None:
            item["quantity"] = {"value": count}
            cursor.mark(8, "Claim.item.quantity", LEAF, 1)
    if "servicedPeriod" not in item and day:
        item["servicedDate"] = day[:10]


def _support(job: Job, claim: Resource) -> None:
    """Observations and documents of the request as supporting information."""
    information = claim.setdefault("supportingInfo", [])
    system = "http://terminology.hl7.org/CodeSystem/claiminformationcategory"
    for _, resource in _reached(job, "OBX"):
        category = "attachment" if resource["resourceType"] == "DocumentReference" else "info"
        entry = {"sequence": len(information) + 1, "category": concept(system, category)}
        information.append(entry | {"valueReference": reference(resource)})
    if not information:
        del claim["supportingInfo"]


def _response(job: Job, autos: list[Cursor], insurer: Resource | None, key: str) -> Resource:
    response = _base(job, "ClaimResponse", key, insurer)
    referrals = _reached(job, "RF1")
    status = referrals[0][0].get(1) if referrals else ""
    outcomes = _of_kind(job, "OperationOutcome")
    response["outcome"] = "error" if outcomes else OUTCOMES.get(status, "complete")
    if referrals:
        response["identifier"] = list(referrals[0][1].get("identifier", [])) or []
        if not response["identifier"]:
            del response["identifier"]
        referrals[0][0].mark(1, "ClaimResponse.outcome", CODED, 1)
        if text := referrals[0][0].get(1, 2):
            response["disposition"] = text
    if outcomes:
        issues = [issue for outcome in outcomes for issue in outcome["issue"]]
        response["error"] = [{"code": issue.get("details") or {"text": issue["code"]}} for issue in issues]
    for cursor in autos:
        _granted(response, cursor, status, job)
    for role in [role for cursor, role in _reached(job, "PRD") if cursor.get(1) == "RP"][:1]:
        response["requestor"] = reference(role)
    return response


def _granted(response: Resource, cursor: Cursor, status: str, job: Job) -> None:
    """One AUT of the answer."""
    if number := cursor.get(6):
        response["preAuthRef"] = number
        cursor.mark(6, "ClaimResponse.preAuthRef", LEAF, 1)
        if held := ei(cursor.first(6), job.env, None):
            response.setdefault("identifier", []).append(held)
            cursor.mark(6, "ClaimResponse.identifier", _NUMBER, 1)
    if text := cursor.get(28):
        notes = response.setdefault("processNote", [])
        notes.append({"number": len(notes) + 1, "type": "display", "text": text})
        cursor.mark(28, "ClaimResponse.processNote.text", LEAF, 1)
    if action_code := cursor.get(29):
        response["status"] = "cancelled" if action_code == "D" else response["status"]
        cursor.mark(29, "ClaimResponse.status", LEAF, 1)
    cursor.owner = response
    if period := _period(cursor, job):
        response["preAuthPeriod"] = period
        cursor.mark(4, "ClaimResponse.preAuthPeriod.start", LEAF, 1)
        cursor.mark(5, "ClaimResponse.preAuthPeriod.end", LEAF, 1)
    if (amount := cp(cursor.first(7), job.env, None)) if cursor.raw(7) else None:
        category = concept("http://terminology.hl7.org/CodeSystem/adjudication", "benefit")
        response.setdefault("total", []).append({"category": category, "amount": amount})
        cursor.mark(7, "ClaimResponse.total.amount", PAIR, 1)
    if at := primitives.date_time(cursor.get(10), job.env.zone):
        response["created"] = at
        response.pop("_created", None)
        cursor.mark(10, "ClaimResponse.created", LEAF, 1)
    action = {
        "url": REVIEW_ACTION,
        "extension": [
            {
                "url": REVIEW_CODE,
                "valueCodeableConcept": concept("https://codesystem.x12.org/005010/306", ACTIONS.get(status, "A1")),
            }
        ],
    }
    adjudications: list[dict[str, Any]] = [
        {"extension": [action], "category": concept("http://terminology.hl7.org/CodeSystem/adjudication", "submitted")}
    ]
    for field, name in ((8, "submitted"), (9, "eligible")):
        if (count := primitives.number(cursor.get(field))) is not None:
            entry = {"category": concept("http://terminology.hl7.org/CodeSystem/adjudication", name), "value": count}
            adjudications.append(entry)
            cursor.mark(field, "ClaimResponse.item.adjudication.value", LEAF, 1)
    items = response.setdefault("item", [])
    items.append({"itemSequence": len(items) + 1, "adjudication": adjudications})
