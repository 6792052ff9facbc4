"""Asking another payer: the local activity that does the next thing, and the one that sends on the endpoint's queue.

`payer` looks at the case's stream under its lock and does what is next (gateway.stages.ask): render and store the
request, or read what the payer said and record the decision. `ask` sends a stored request once and stores the answer,
with the receipt, in one transaction. Ids and codes are all that passes between them.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from gateway.core.envelope import Intake, Reception
from gateway.core.errors import EndpointRefused, EndpointUnavailable, InvalidMessage, MalformedMessage, Unmappable
from gateway.core.ports import Decision, Outbound, Receipt
from gateway.infra.postgres import Connection
from gateway.infra.telemetry import logger, span
from gateway.stages import ask, forward
from gateway.stages.decide import Verdict, as_json, decide
from gateway.stages.deliver import DeliverStage
from gateway.stages.revise import refusal
from gateway.store import events
from gateway.store.cases import Case
from gateway.store.deliveries import Deliveries
from mappings import payer_answers
from mappings.payer_278 import pended
from mappings.x12_278_to_decision import least_pause, retry_later, will_answer
from workflows.activities import CaseActivities, outcome_of, told
from workflows.forwarding import came_back, refused_by
from workflows.inputs import AskInput, StepInput, StepOutcome
from workflows.keys import ask_key
from workflows.payers_answer import (
    asked_by,
    content,
    decision_of,
    learned,
    lines_of,
    overtaken,
    received,
    standing,
)

log = logger("payer")

SENT = "sent"
"""Outcome of sending: received, and the answer comes by another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request for a payer, rendered."""

    partner: str
    outbound: Outbound
    record: dict[str, Any]
    """What reading the answer needs."""
    keys: Sequence[tuple[str, tuple[str, ...]]]
    """What the answer finds the case by."""
    left_out: Sequence[str] = ()
    """Paths of the request that the format has no room for."""
    inquire: tuple[float, float] = (0.0, 0.0)
    """Seconds after which, and at the longest, it is inquired about while it is pended; zeros: never."""


Render = Callable[[Connection, Case, datetime], Awaitable[Question]]
"""Make the request of a case as it stands; control numbers are taken in the transaction. Raises Unmappable."""
ReadAnswer = Callable[[bytes, Reception], Intake | None]
"""What a payer answered on the line; None where it only took note. Raises MalformedMessage."""

Expect = Callable[[Connection, AskInput, str], Awaitable[None]]
"""A payer took note of the request with this key: have its answer fetched, where it is to be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayerActivities:
    """The activities, built once by the worker role."""

    steps: CaseActivities
    deliveries: Deliveries
    deliver_stage: DeliverStage
    render: Render
    clock: Callable[[], datetime]
    expect: Expect
    read: ReadAnswer = payer_answers.read_answer
    draw: Callable[[], float] = field(default=random.random)
    """Chance, from 0 to 1, for the jitter of pauses."""

    @activity.defn(name="payer")
    async def payer(self, given: StepInput) -> StepOutcome:
        """Do the next thing of a case that a payer decides; `executor.turn` says what the workflow knows.

        Outcomes: `asked` (send it to `endpoints`), `again` (ask anew after `pause`), `noted` (look once more),
        `waiting`, `settled`, `refused`, or that of the decision which was recorded.
        """
        async with self.steps.command(given) as (connection, case, known):
            if known is not None:
                return _before(case, known)
            stream = await events.stream(connection, self.steps.cases.cipher, case.id)
            outcome = await self._turn(connection, case, stream, given)
            return replace(outcome, documents=outcome.documents or forward.pending(stream))

    async def _turn(
        self, connection: Connection, case: Case, stream: Sequence[events.StoredEvent], given: StepInput
    ) -> StepOutcome:
        knows = given.executor["turn"]
        if knows.get("failed"):
            said = {"outcome": ask.REFUSED, "codes": ["unanswered"], "message": 0}
            return await self._say(connection, case, said, given)
        following = ask.turn(stream, sending=knows["sending"], again=knows["again"])
        if following.kind == "answer":
            return await self._answer(connection, case, stream, following.version, given)
        if following.kind == "ask":
            return await self._ask(connection, case, stream, given)
        return StepOutcome(outcome=following.kind, version=case.version)

    async def _ask(
        self, connection: Connection, case: Case, stream: Sequence[events.StoredEvent], given: StepInput
    ) -> StepOutcome:
        """Reject what may not be revised; else render the request and store it with its event."""
        facts = case.context["facts"]
        verdict = refusal([row for row in told(stream) if row.message not in ask.ANSWERS], facts)
        verdict = verdict or self._screened(case, given)
        if verdict is not None:
            decision = decide(verdict, case_id=case.id, version=case.version + 1, now=self.clock(), facts=facts)
            return await self.steps.record(connection, case, decision, given)
        try:
            question = await self.render(connection, case, self.clock())
        except (Unmappable, InvalidMessage) as error:
            log.warning("ask.unmappable", code=error.code, case_id=case.id)
            said = {"outcome": ask.REFUSED, "codes": [error.code], "message": 0}
            return await self._say(connection, case, said, given)
        version = case.version + 1
        endpoint = question.outbound.endpoint
        outbound = replace(question.outbound, idempotency_key=ask_key(case.id, version, endpoint))
        await self.deliveries.intend_on(connection, case.tenant, case.id, outbound)
        if question.left_out:
            log.warning("ask.left_out", case_id=case.id, count=len(question.left_out))
        event = events.NewEvent(
            type=ask.ASKED,
            data={
                "endpoint": endpoint,
                "partner": question.partner,
                "certification": str(facts.get("request.certificationType", "")),
                "leftOut": list(question.left_out),
                **({"inquire": list(question.inquire)} if question.inquire[0] else {}),
            },
            sealed=question.record,
            step_id=given.step_id,
        )
        await self._record(connection, case, [event], given, question.keys)
        return _asked_outcome(version, event.data)

    def _screened(self, case: Case, given: StepInput) -> Verdict | None:
        """The business rejection (AAA) of our own rule set `executor.screen`, where there is one; else it is asked."""
        if "screen" not in given.executor:
            return None
        verdict = self.steps.policy(
            case.context["facts"],
            ruleset=given.executor["screen"],
            tenant=case.tenant,
            as_of=case.received_at,
            now=self.clock(),
        )
        return replace(verdict, items=()) if verdict.errors else None

    async def _answer(
        self,
        connection: Connection,
        case: Case,
        stream: Sequence[events.StoredEvent],
        version: int,
        given: StepInput,
    ) -> StepOutcome:
        """Read one message of a payer."""
        message = next(event for event in stream if event.version == version)
        more = ask.unread(stream) > 1
        given = replace(given, closing={}) if more else given
        return replace(await self._read_one(connection, case, stream, message, given), more=more)

    async def _read_one(
        self,
        connection: Connection,
        case: Case,
        stream: Sequence[events.StoredEvent],
        message: events.StoredEvent,
        given: StepInput,
    ) -> StepOutcome:
        declined = refused_by(stream, message)
        if declined is not None:
            version = await self._record(connection, case, [declined], given)
            return StepOutcome(outcome=ask.NOTED, version=version, documents=True)
        asked = asked_by(stream, message)
        said: dict[str, Any] = {"outcome": ask.NOTED, "message": message.version}
        if asked is None or asked.sealed is None or message.sealed is None:
            return await self._say(connection, case, said | {"codes": ["unknown"]}, given)
        if overtaken(stream, message):
            return await self._say(connection, case, said | {"codes": ["overtaken"]}, given)
        if message.data["type"] == ask.REJECTION:
            stale = asked.version != ask.newest_ask(stream)
            outcome = ask.NOTED if stale else ask.REFUSED
            codes = list(message.sealed["reply"]["codes"])
            return await self._say(connection, case, said | {"outcome": outcome, "codes": codes}, given)
        decision = self._decision(case, stream, message, asked)
        codes = [error["code"] for error in decision.errors]
        if retry_later(decision):
            return await self._say(
                connection, case, said | {"outcome": ask.AGAIN, "codes": codes, "pause": least_pause(decision)}, given
            )
        if ask.revised_since(stream, asked.version):
            # The requester has said something else since: this stands for what it did not change, and is told nobody.
            kept = {"decision": as_json(decision)}
            return await self._say(connection, case, said | {"codes": ["revised"]}, given, kept)
        if will_answer(decision):
            decision = pended(case.id, case.version + 1, message.timestamp, lines_of(case))
        if content(decision) == content(standing(stream, after=asked.version)):
            return await self._say(connection, case, said | {"codes": ["repeated"]}, given)
        return await self.steps.record(connection, case, decision, given, message=message.version)

    def _decision(
        self,
        case: Case,
        stream: Sequence[events.StoredEvent],
        message: events.StoredEvent,
        asked: events.StoredEvent,
    ) -> Decision:
        before = [event for event in stream if event.version < message.version]
        return decision_of(case, before, (message.sealed or {})["reply"], asked, message.timestamp)

    async def _say(
        self,
        connection: Connection,
        case: Case,
        said: dict[str, Any],
        given: StepInput,
        kept: dict[str, Any] | None = None,
    ) -> StepOutcome:
        """Record that the payer said something which is no decision."""
        event = events.NewEvent(type=ask.ANSWERED, data=said, sealed=kept, step_id=given.step_id)
        version = await self._record(connection, case, [event], given)
        return StepOutcome(outcome=said["outcome"], version=version, pause=float(said.get("pause", 0.0)))

    async def _record(
        self,
        connection: Connection,
        case: Case,
        new: Sequence[events.NewEvent],
        given: StepInput,
        keys: Sequence[tuple[str, tuple[str, ...]]] = (),
    ) -> int:
        return await self.steps.cases.record(
            connection,
            case,
            new,
            command_id=given.command_id,
            status="waiting",
            step=given.step_id,
            keys=tuple(keys),
        )

    @activity.defn(name="ask")
    async def ask(self, given: AskInput) -> StepOutcome:
        """Send a stored request once; store what came back with its receipt. Outcomes: `answered`, `sent`, `refused`.

        Raises ApplicationError to be called again: after a pause that doubles, spread by chance, or the one asked for.
        """
        key = ask_key(given.case_id, given.version, given.endpoint)
        try:
            with span("ask", None, endpoint=given.endpoint):
                receipt = await self.deliver_stage.ask(given.tenant, key)
                if receipt is None:
                    return await self._settled(given)
                answer = self._read(receipt, given)
        except EndpointRefused as error:
            codes = (error.code, *payer_answers.codes_of(error.issues))
            return await self._settle(given, key, Receipt(accepted=False), None, codes)
        except EndpointUnavailable as error:
            raise ApplicationError(
                "the payer is unavailable", type=error.code, next_retry_delay=self._pause(given, error.retry_after)
            ) from None
        return await self._settle(given, key, receipt, answer)

    def _read(self, receipt: Receipt, given: AskInput) -> Intake | None:
        if not receipt.data:
            return None
        reception = Reception(tenant=given.tenant, source=given.endpoint, received_at=self.clock())
        try:
            return self.read(receipt.data, reception)
        except MalformedMessage as error:
            # Nothing was decided that we could read. The same bytes again: a payer that has them knows them.
            raise EndpointUnavailable(error.message) from None

    def _pause(self, given: AskInput, asked: float | None) -> timedelta:
        """Doubling from `initial` to `maximum` with the number of the attempt, the upper half of it by chance."""
        attempt = min(activity.info().attempt - 1, 30)
        longest = max(min(given.initial * 2**attempt, given.maximum), asked or 0.0)
        return timedelta(
            seconds=longest * (1.0 if asked else 0.5) + longest * 0.5 * self.draw() * (0.2 if asked else 1)
        )

    async def _settled(self, given: AskInput) -> StepOutcome:
        """What an earlier execution stored before its worker died."""
        async with self.steps.cases.database.transaction(given.tenant) as connection:
            known = await events.by_command(connection, self.steps.cases.cipher, given.case_id, given.command_id)
        return _sending(known)

    async def _settle(
        self, given: AskInput, key: str, receipt: Receipt, answer: Intake | None, codes: Sequence[str] = ()
    ) -> StepOutcome:
        """Receipt and answer in one transaction; a repetition finds the receipt."""
        async with self.steps.command(given) as (connection, case, known):
            if known is not None:
                return _sending(known)
            await self.deliveries.settle_on(connection, key, receipt)
            if given.documents:
                return await self._forwarded(connection, case, given, receipt, answer, codes)
            if given.inquiry:
                stream = await events.stream(connection, self.steps.cases.cipher, case.id)
                event = learned(case, stream, given.version, answer) or _took_note(given)
            elif not receipt.accepted:
                said = {"outcome": ask.REFUSED, "codes": list(codes), "message": 0}
                event = events.NewEvent(type=ask.ANSWERED, data=said)
            elif answer is None:
                await self.expect(connection, given, key)
                event = _took_note(given)
            else:
                event = received(answer, given.endpoint, given.version)
            await self.steps.cases.record(
                connection, case, [event], command_id=given.command_id, status="waiting", step=given.step_id
            )
            return StepOutcome(outcome=_sent_outcome(event.type), version=case.version + 1)

    async def _forwarded(
        self,
        connection: Connection,
        case: Case,
        given: AskInput,
        receipt: Receipt,
        answer: Intake | None,
        codes: Sequence[str],
    ) -> StepOutcome:
        """The same for documents, beside whatever the case has come to meanwhile."""
        stream = await events.stream(connection, self.steps.cases.cipher, case.id)
        new = came_back(stream, given.version, answer, accepted=receipt.accepted, codes=codes)
        await self.steps.cases.record(
            connection, case, new, command_id=given.command_id, status=case.status, step=given.step_id
        )
        return StepOutcome(outcome=_sent_outcome(new[0].type), version=case.version + 1)


def _took_note(given: AskInput) -> events.NewEvent:
    return events.NewEvent(type="PayerTookNote", data={"ask": given.version})


def _sent_outcome(kind: str) -> str:
    return {"MessageReceived": "answered", "PayerTookNote": SENT, forward.TAKEN: SENT}.get(kind, ask.REFUSED)


def _sending(known: events.StoredEvent | None) -> StepOutcome:
    if known is None:
        return StepOutcome(outcome=SENT)
    return StepOutcome(outcome=_sent_outcome(known.type), version=known.version)


def _asked_outcome(version: int, data: Mapping[str, Any]) -> StepOutcome:
    after, longest = data.get("inquire", (0.0, 0.0))
    return StepOutcome(
        outcome="asked",
        version=version,
        endpoints=(data["endpoint"],),
        inquire_after=float(after),
        inquire_longest=float(longest),
    )


def _before(case: Case, known: events.StoredEvent) -> StepOutcome:
    """What an earlier execution of the same turn led to."""
    if known.type == ask.ASKED:
        return _asked_outcome(known.version, known.data)
    if known.type == ask.DECLINED:
        return StepOutcome(outcome=ask.NOTED, version=known.version, documents=True)
    if known.type == ask.ANSWERED:
        return StepOutcome(
            outcome=known.data["outcome"], version=known.version, pause=float(known.data.get("pause", 0.0))
        )
    return outcome_of(case, known)
