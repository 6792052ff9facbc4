"""The only effects of workflows: decide, human tasks, delivery, closing.

Each is safe to repeat: its command id is stored with the event it leads to, and a repetition returns what the first
execution did.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from gateway.core.errors import EndpointRefused, EndpointUnavailable
from gateway.core.exact_json import dumps
from gateway.core.ports import Decision, ItemDecision
from gateway.infra.postgres import Connection
from gateway.infra.telemetry import DECISIONS, logger, span
from gateway.stages.ask import AGAIN
from gateway.stages.decide import APPROVED, PENDED, Policy, Verdict, as_json, decide, from_json
from gateway.stages.deliver import DeliverStage, Letter, reason
from gateway.stages.revise import Told, refusal
from gateway.store import events, tasks
from gateway.store.cases import Case, CaseStore
from mappings.pas_metrics import decided_lines
from workflows.inputs import CLINICAL, MESSAGE, AskInput, DeliveryInput, StepInput, StepOutcome, TaskInput

WaysBack = Callable[[Connection, Case, str], Awaitable[tuple[str, ...]]]
"""(connection, case, lane) → the endpoints that must hear of it; none when the caller has its answer already."""

LookupKeys = Callable[[Decision], tuple[tuple[str, tuple[str, ...]], ...]]
"""Numbers a decision makes its case findable under: authorization, administrative reference, attachment control."""


log = logger("deliver")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseActivities:
    """The activities, built once by app.py with everything they need."""

    cases: CaseStore
    policy: Policy
    deliver_stage: DeliverStage
    ways_back: WaysBack
    lookup_keys: LookupKeys
    clock: Callable[[], datetime]

    @activity.defn(name="decide")
    async def decide(self, given: StepInput) -> StepOutcome:
        """Apply a rule set to the case as it stands and record the decision."""
        async with self.command(given) as (connection, case, known):
            if known is not None:
                return outcome_of(case, known)
            with span("decide", case.context.get("traceParent"), case_id=case.id, step=given.step_id):
                facts = case.context["facts"]
                stream = await events.stream(connection, self.cases.cipher, case.id) if case.version > 1 else ()
                verdict = refusal(told(stream), facts) or self.policy(
                    facts,
                    ruleset=given.executor["ruleset"],
                    tenant=case.tenant,
                    as_of=case.received_at,
                    now=self.clock(),
                )
                return await self._record(connection, case, verdict, facts, given)

    @activity.defn(name="look")
    async def look(self, given: StepInput) -> StepOutcome:
        """Whether the rules decide otherwise now that clinical messages have joined: `message`, else `same`.

        Nothing is recorded. Every open case of a patient hears of a result; most are about something else, and their
        requester must not get the same answer again, nor their reviewer a new task.
        """
        async with self.cases.database.transaction(given.tenant) as connection:
            case = await self.cases.lock(connection, given.case_id)
            stream = await events.stream(connection, self.cases.cipher, given.case_id)
        same = StepOutcome(outcome="same", version=case.version)
        decisions = [row.decision for row in told(stream) if row.decision]
        before = next(reversed(decisions), None)
        by_rules = [decision for decision in decisions if not decision.human_reviewed]
        if before is None or not by_rules or not _only_clinical_since_then(stream):
            return replace(same, outcome=MESSAGE)
        facts, last = case.context["facts"], by_rules[-1]
        verdict = self.policy(
            facts, ruleset=given.executor["ruleset"], tenant=case.tenant, as_of=case.received_at, now=self.clock()
        )
        now = decide(
            verdict, case_id=case.id, version=last.version, now=last.decided_at, facts=facts, due_at=case.due_at
        )
        return same if _said(now) == _said(last) else replace(same, outcome=MESSAGE)

    @activity.defn(name="conclude")
    async def conclude(self, given: StepInput) -> StepOutcome:
        """Record the action a definition prescribes where nobody decided (`executor.action`), for every open item."""
        async with self.command(given) as (connection, case, known):
            if known is not None:
                return outcome_of(case, known)
            if await self._missed(connection, given):
                return StepOutcome(outcome=MESSAGE, version=case.version)
            facts = case.context["facts"]
            verdict = Verdict(items=_same_for_all(facts, given.executor["action"]))
            return await self._record(connection, case, verdict, facts, given)

    @activity.defn(name="open_task")
    async def open_task(self, given: TaskInput) -> StepOutcome:
        """Put a task on a role's list, or hand it to another role."""
        async with self.command(given) as (connection, case, known):
            if known is not None:
                return StepOutcome(outcome="open", version=known.version)
            await tasks.open_task(
                connection,
                task_id=given.task_id,
                tenant=given.tenant,
                case_id=given.case_id,
                role=given.role,
                step_id=given.step_id,
                due_at=given.due_at,
            )
            event = events.NewEvent(
                type="TaskOpened", data={"taskId": given.task_id, "role": given.role}, step_id=given.step_id
            )
            version = await self.cases.record(
                connection, case, [event], command_id=given.command_id, status="waiting", step=given.step_id
            )
            return StepOutcome(outcome="open", version=version)

    @activity.defn(name="close_task")
    async def close_task(self, given: TaskInput) -> StepOutcome:
        """Close a task; with a review, record the reviewer's decision.

        `message` when one joined the case since the task was opened: the reviewer has not seen it.
        """
        async with self.command(given) as (connection, case, known):
            if known is not None:
                return outcome_of(case, known)
            await tasks.close_task(connection, given.task_id)
            stale = given.review is not None and await events.messages_after(connection, given.case_id, given.opened)
            if given.review is None or stale or given.review.action == AGAIN:
                outcome = MESSAGE if stale else AGAIN if given.review else "closed"
                data = {"taskId": given.task_id, "outcome": outcome}
                event = events.NewEvent(type="TaskClosed", data=data, step_id=given.step_id)
                version = await self.cases.record(
                    connection, case, [event], command_id=given.command_id, status="running", step=given.step_id
                )
                return StepOutcome(outcome=outcome, version=version)
            step = StepInput(
                case_id=given.case_id,
                tenant=given.tenant,
                step_id=given.step_id,
                command_id=given.command_id,
                closing=given.closing,
            )
            facts = case.context["facts"]
            review = given.review
            verdict = Verdict(
                items=_same_for_all(facts, review.action, tuple(review.reasons), review.note),
                reviewer={"id": review.reviewer, "npi": review.npi, "specialty": review.specialty},
            )
            return await self._record(connection, case, verdict, facts, step, user=review.reviewer)

    @activity.defn(name="close_case")
    async def close_case(self, given: StepInput) -> StepOutcome:
        """The case has ended; `message` when it has one that the workflow has not heard of.

        Who joins a case looks at its status under the same lock: before us, the message is seen here; after us, it
        starts another run.
        """
        async with self.command(given) as (connection, case, known):
            if known is not None:
                return StepOutcome(outcome="closed", version=known.version, closed=True)
            if await self._missed(connection, given):
                return StepOutcome(outcome=MESSAGE, version=case.version)
            status = given.executor["status"]
            event = events.NewEvent(type="CaseClosed", data={"status": status, "action": case.action})
            version = await self.cases.record(connection, case, [event], command_id=given.command_id, status=status)
            return StepOutcome(outcome="closed", version=version, closed=True)

    @activity.defn(name="deliver")
    async def deliver(self, given: DeliveryInput) -> str:
        """Deliver the newest decision of the case to one endpoint; `delivered`, `refused` or `superseded`."""
        async with self.cases.database.transaction(given.tenant) as connection:
            case = await self.cases.lock(connection, given.case_id)
            stream = await events.stream(connection, self.cases.cipher, given.case_id)
        made = [event for event in stream if event.type == "DecisionMade" and event.sealed]
        if given.notice and made[-1].version > given.version:
            return "superseded"
        decision = next(
            from_json(event.sealed["decision"])
            for event in reversed(made)
            if event.version <= given.version and event.sealed
        )
        letter = Letter(
            case_id=case.id, tenant=case.tenant, endpoint=given.endpoint, context=case.context, decision=decision
        )
        try:
            with span("deliver", case.context.get("traceParent"), endpoint=given.endpoint):
                await self.deliver_stage(letter)
        except EndpointRefused as error:
            log.warning("delivery.refused", case_id=case.id, endpoint=given.endpoint, reason=reason(error))
            return "refused"
        except EndpointUnavailable as error:
            delay = timedelta(seconds=error.retry_after) if error.retry_after else None
            raise ApplicationError("the endpoint is unavailable", type=error.code, next_retry_delay=delay) from None
        return "delivered"

    @asynccontextmanager
    async def command(
        self, given: StepInput | TaskInput | AskInput
    ) -> AsyncIterator[tuple[Connection, Case, events.StoredEvent | None]]:
        """One transaction: the case, locked, and what an earlier execution of the same command led to."""
        async with self.cases.database.transaction(given.tenant) as connection:
            case, known = await self.cases.lock_for(connection, given.case_id, given.command_id)
            yield connection, case, known

    async def _missed(self, connection: Connection, given: StepInput) -> bool:
        """Whether a message joined the case that neither its newest decision nor its workflow knows of.

        Its sender was told under the same lock that it joined a running case: nobody else will take it up.
        """
        if given.heard is None:
            return False
        joined = await events.messages_after(connection, given.case_id, given.heard.decided)
        return not joined <= set(given.heard.versions)

    async def _record(
        self,
        connection: Connection,
        case: Case,
        verdict: Verdict,
        facts: dict[str, Any],
        given: StepInput,
        user: str | None = None,
    ) -> StepOutcome:
        decision = decide(
            verdict, case_id=case.id, version=case.version + 1, now=self.clock(), facts=facts, due_at=case.due_at
        )
        return await self.record(connection, case, decision, given, user=user)

    async def record(
        self,
        connection: Connection,
        case: Case,
        decision: Decision,
        given: StepInput,
        *,
        user: str | None = None,
        message: int = 0,
    ) -> StepOutcome:
        """Record a decision, who must hear of it, and the case's end if nothing follows.

        `message`: version of the payer's message that brought it.
        """
        facts = case.context["facts"]
        endpoints = await self.ways_back(connection, case, await lane_of(connection, case, given.lane))
        outcome, content = decision.action or "AAA", as_json(decision)
        closed = not endpoints and given.closing.get(outcome, given.closing.get("*", False))
        made = events.NewEvent(
            type="DecisionMade",
            data={
                "action": decision.action,
                "items": decided_lines(facts, decision),
                "errors": [error.get("code", "") for error in decision.errors],
                "release": decision.record.get("release", ""),
                "humanReviewed": decision.human_reviewed,
                "caseType": case.context["type"],
                "final": decision.action != PENDED,
            },
            sealed={"decision": content, "endpoints": list(endpoints), "closed": closed}
            | ({"message": message} if message else {}),
            step_id=given.step_id,
            user_id=user,
        )
        new = [made]
        if closed:
            new.append(events.NewEvent(type="CaseClosed", data={"status": "completed", "action": outcome}))
        await self.cases.record(
            connection,
            case,
            new,
            command_id=given.command_id,
            status="completed" if closed else "running",
            step=given.step_id,
            action=outcome[:2],
            keys=self.lookup_keys(decision),
        )
        DECISIONS.labels(case.context["type"], outcome).inc()
        return StepOutcome(
            outcome=outcome, version=decision.version, decision=content, endpoints=endpoints, closed=closed
        )


async def lane_of(connection: Connection, case: Case, lane: str) -> str:
    """`fast` while the run's caller waits for its first decision; what comes after that is told like any other."""
    newest = case.version == max(case.run, 1)  # nothing has happened yet: no need to look
    waits = lane == "fast" and (newest or not await events.decided_since(connection, case.id, case.run))
    return "fast" if waits else "batch"


def told(stream: Sequence[events.StoredEvent]) -> list[Told]:
    """The messages and decisions of a case, oldest first."""
    found = []
    for event in stream:
        if event.type in ("CaseOpened", "MessageReceived"):
            found.append(Told(message=event.data["type"]))
        elif event.type == "DecisionMade" and event.sealed and not event.data.get("notice"):
            found.append(Told(decision=from_json(event.sealed["decision"])))
    return found


def _only_clinical_since_then(stream: Sequence[events.StoredEvent]) -> bool:
    """Whether all messages since the newest decision are clinical."""
    for event in reversed(stream):
        if event.type == "DecisionMade":
            return True
        if event.type == "MessageReceived" and not event.data["type"].startswith(CLINICAL):
            return False
    return False


def _said(decision: Decision) -> bytes:
    """What a requester hears of a decision; not how it was found, nor when the clock ends, which may be extended."""
    asked = [{name: value for name, value in row.items() if name != "due"} for row in decision.requested_information]
    return dumps(as_json(replace(decision, record={}, requested_information=asked)))


def outcome_of(case: Case, known: events.StoredEvent) -> StepOutcome:
    """What an earlier execution of the same command led to."""
    sealed = known.sealed or {}
    decision = sealed.get("decision")
    return StepOutcome(
        outcome=(decision["action"] or "AAA") if decision else str(known.data.get("outcome", "closed")),
        version=known.version,
        decision=decision,
        endpoints=tuple(sealed.get("endpoints", ())),
        closed=bool(sealed.get("closed")) or case.status == "completed",
    )


def _same_for_all(
    facts: dict[str, Any], action: str, reasons: tuple[str, ...] = (), note: str = ""
) -> list[ItemDecision]:
    services = facts.get("services") or [{"sequence": 1}]
    noted = note if note or action in APPROVED else ""
    return [
        ItemDecision(sequence=int(service.get("sequence", number)), action=action, reasons=reasons, note=noted)
        for number, service in enumerate(services, 1)
    ]
