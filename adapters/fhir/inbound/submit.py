"""`POST Claim/$submit`: accept first, then decide within the budget, else answer pended (PAS spec-7, design D6).

    authenticate → read → parse → validate → map → ACCEPT (durable) → decide ≤ 12 s → render → keep → 200
                 401/403  413/408   400     422     422      503          A4 when late

Once accepted, the rest runs in a task of its own: a client that disconnects, or an edge that is told to stop, does not
undo what was accepted. An edge that dies after accept loses nothing either: the starter opens the case from Kafka.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from dataclasses import dataclass

import structlog
from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import reply
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.services import Ids, Resource
from adapters.fhir.wire import validate_submit
from gateway.core.envelope import Envelope
from gateway.core.errors import GatewayError, MessageConflict, OwnError, Unavailable
from gateway.core.ports import Decision, ItemDecision
from gateway.security.principal import Principal

log = structlog.get_logger("adapters.fhir")

LONGEST_KEY = 200
"""Longest Idempotency-Key, in characters; longer ones are ignored rather than refused."""
KEPT = frozenset({"ClaimResponse", "CommunicationRequest", "Task"})
"""Resources of ours in an answer that can be read again by id."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One read and accepted request on its way to the answer."""

    principal: Principal
    version: str
    request: Resource
    envelope: Envelope


async def submit(edge: Edge, request: Request, version: str) -> Response:
    """Answer one `$submit`. Raises Failure and GatewayError for everything but a Response Bundle."""
    begun = edge.timer()
    principal = await edge.sender(request, *edge.operation_needs("Claim", "c"))
    key = request.headers.get("idempotency-key", "")
    extra = {"idempotency-key": key} if 0 < len(key) <= LONGEST_KEY else {}
    message = await edge.message(request, principal, operation="submit", version=version, **extra)
    strict = edge.strict(request, principal)
    intake = await edge.admit(message, validate_submit(message.resource, version=version, strict=strict))
    accepted = await edge.services.accept(intake, message.reception)
    submission = Submission(principal, version, message.resource, accepted.envelope)
    remaining = edge.settings.answer_seconds - (edge.timer() - begun)
    task = asyncio.create_task(_answer(edge, submission, remaining))
    edge.keep(task)
    return reply(request, await asyncio.shield(task))


async def _answer(edge: Edge, submission: Submission, seconds: float) -> Resource:
    decision = await _decide(edge, submission, seconds)
    pended = decision is None
    if decision is None:
        decision = pending(submission.envelope, submission.request)
    answer = _rendered(edge, submission, decision)
    principal = submission.principal
    try:
        await edge.services.issued.save(principal.tenant, principal.client, kept(answer))
    except Unavailable:
        # The request is durable and the answer is right; only reading it again by id will not work.
        log.warning("answer not kept", tenant=principal.tenant, correlation_id=submission.envelope.correlation_id)
    log.info("answered", tenant=principal.tenant, action=decision.action, outcome="pended" if pended else "decided")
    return answer


async def _decide(edge: Edge, submission: Submission, seconds: float) -> Decision | None:
    """The decision, or None when it takes too long or our workflow server is away: the case is safe either way."""
    if submission.envelope.parked or seconds <= 0:
        return None
    try:
        async with asyncio.timeout(seconds):
            return await edge.services.decide(submission.envelope, timeout=seconds)
    except TimeoutError:
        return None
    except MessageConflict:
        raise
    except GatewayError as error:
        log.warning("no decision in time", code=error.code, correlation_id=submission.envelope.correlation_id)
        return None


def _rendered(edge: Edge, submission: Submission, decision: Decision) -> Resource:
    """The Response Bundle. A decision that must not be sent as it stands (a denial without reason) stays pended."""
    render = edge.services.render
    try:
        return render(
            submission.request,
            decision,
            ids=ids_of(decision.case_id, str(decision.version)),
            now=decision.decided_at,
            version=submission.version,
        )
    except OwnError as error:
        log.error("decision withheld", code=error.code, case_id=decision.case_id)
        pended = pending(submission.envelope, submission.request)
        ids = ids_of(pended.case_id, "pended")
        return render(submission.request, pended, ids=ids, now=pended.decided_at, version=submission.version)


def pending(envelope: Envelope, request: Resource) -> Decision:
    """A4 for every requested item: the honest answer while nothing is decided."""
    claim = request["entry"][0]["resource"]
    items = tuple(ItemDecision(sequence=int(item["sequence"]), action="A4") for item in claim.get("item", ()))
    return Decision(case_id=envelope.subject, version=0, decided_at=envelope.time, action="A4", items=items)


def ids_of(*seed: str) -> Ids:
    """UUIDs (in version 4's form) that depend on the seed alone: rendering a decision again gives the same bytes."""
    count = 0

    def next_id() -> str:
        nonlocal count
        count += 1
        digest = hashlib.sha256("|".join((*seed, str(count))).encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))

    return next_id


def kept(bundle: Resource) -> list[Resource]:
    """What of an answer can be read again: the Bundle itself and the resources in it that are ours."""
    inside = (entry.get("resource") or {} for entry in bundle.get("entry", ()))
    ours = [resource for resource in inside if resource.get("resourceType") in KEPT and resource.get("id")]
    return [bundle, *ours] if bundle.get("id") else ours
