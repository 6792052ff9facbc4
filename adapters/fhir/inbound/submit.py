"""`POST Claim/$submit`: accept first, then decide within the budget, else answer pended (PAS spec-7, design D6).

    authenticate → read → parse → validate → map → ACCEPT (durable) → decide ≤ 12 s → render → keep → 200
                 401/403  413/408   400     422     422      503          A4 when late

Once accepted, the rest runs in a task of its own: a client that disconnects, or an edge that is told to stop, does not
undo what was accepted. An edge that dies after accept loses nothing either: the starter opens the case from Kafka.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog
from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import reply
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.services import Resource
from gateway.core.envelope import Envelope
from gateway.core.errors import GatewayError, MessageConflict, OwnError
from gateway.core.ports import Decision
from gateway.security.principal import Principal

log = structlog.get_logger("adapters.fhir")

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
    received = await edge.received(request, principal, "submit", version)
    (intake, *_) = await edge.mapped(received)
    accepted = await edge.services.accept(intake, received.reception)
    submission = Submission(principal, version, intake.resource or {}, accepted.envelope)
    remaining = edge.settings.answer_seconds - (edge.timer() - begun)
    task = asyncio.create_task(_answer(edge, submission, remaining))
    edge.keep(task)
    return reply(request, await asyncio.shield(task))


async def _answer(edge: Edge, submission: Submission, seconds: float) -> Resource:
    decision = await _decide(edge, submission, seconds)
    answer = await edge.aside(lambda: _rendered(edge, submission, decision), submission.envelope.raw.size)
    principal = submission.principal
    try:
        await edge.services.issued.save(principal.tenant, principal.client, kept(answer))
    except OwnError as error:
        # The request is durable and the answer is right; only reading it again by id will not work.
        log.warning("answer not kept", code=error.code, correlation_id=submission.envelope.correlation_id)
    action = decision.action if decision else "A4"
    log.info("answered", tenant=principal.tenant, action=action, outcome="decided" if decision else "late")
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


def _rendered(edge: Edge, submission: Submission, decision: Decision | None) -> Resource:
    """The Response Bundle. A decision that must not be sent as it stands (a denial without reason) stays pended."""
    base_url = edge.base(submission.version)
    if decision is not None:
        try:
            return edge.services.render(submission.request, decision, version=submission.version, base_url=base_url)
        except OwnError as error:
            log.error("decision withheld", code=error.code, case_id=decision.case_id)
    envelope = submission.envelope
    waiting = edge.services.pended(envelope.subject, 0, submission.request, envelope.time)
    return edge.services.render(submission.request, waiting, version=submission.version, base_url=base_url)


def kept(bundle: Resource) -> list[Resource]:
    """What of an answer can be read again: the Bundle itself and the resources in it that are ours."""
    inside = (entry.get("resource") or {} for entry in bundle.get("entry", ()))
    ours = [resource for resource in inside if resource.get("resourceType") in KEPT and resource.get("id")]
    return [bundle, *ours] if bundle.get("id") else ours
