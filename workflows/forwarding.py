"""Forwarding documents to a payer that was asked: the local activity that does the next thing, and what came back.

A turn reads the case's stream under its lock (gateway.stages.forward) and renders one parcel: its bytes, its control
numbers, the keys its refusal is found by and the event are one transaction. The activity `ask` sends it, as it sends a
request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from temporalio import activity

from gateway.core.envelope import Intake
from gateway.core.errors import InvalidMessage, Unmappable
from gateway.core.ports import Outbound
from gateway.infra.postgres import Connection
from gateway.infra.telemetry import logger
from gateway.stages import ask, forward
from gateway.stages.decide import from_json
from gateway.store import events, tasks
from gateway.store.cases import ENDED, Case
from gateway.store.deliveries import Deliveries
from mappings import payer_278, payer_answers
from mappings.brought_documents import Parcel, documents_of, parcels
from workflows.activities import CaseActivities
from workflows.inputs import StepInput, StepOutcome
from workflows.keys import ask_key

log = logger("payer")

ROLE, STEP = "operations", "forward"
FORWARDING, WAITING, REFUSED = "forwarding", "waiting", "refused"
"""Outcomes: send it to `endpoints`; nothing to do; what is left was refused, and a person has to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """A parcel, rendered."""

    outbound: Outbound
    record: dict[str, Any]
    """What its refusal is known by."""
    keys: Sequence[tuple[str, tuple[str, ...]]] = ()
    carried: int
    """How many of the parcel's documents it carries: those that do not fit go with the next one."""


RenderParcel = Callable[
    [Connection, Case, Sequence[events.StoredEvent], events.StoredEvent, Parcel, datetime], Awaitable[Shipment]
]
"""(…, stream, the request's event, parcel, now) → the shipment; control numbers are taken in the transaction. Raises
Unmappable, InvalidMessage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardActivities:
    """The activity, built once by the worker role."""

    steps: CaseActivities
    deliveries: Deliveries
    render: RenderParcel
    everything: Callable[[str], bool]
    """Whether this partner gets all documents that are sent for a case, not only those it asked for."""
    clock: Callable[[], datetime]

    @activity.defn(name="forward")
    async def forward(self, given: StepInput) -> StepOutcome:
        """Do the next thing. `executor`: `again` (refused up to this version: a person says so), `failed` (version that
        nobody took), `task` (id of the task about it) and what becomes of it: `open` if something was refused, `close`.
        """
        knows = given.executor
        async with self.steps.command(given) as (connection, case, known):
            if known is not None:
                return _before(known)
            stream = await events.stream(connection, self.steps.cases.cipher, case.id)
            new: list[events.NewEvent] = []
            if knows["close"]:
                await tasks.close_task(connection, knows["task"])
                data = {"taskId": knows["task"], "outcome": ask.AGAIN if knows["reviewer"] else "closed"}
                user = knows["reviewer"] or None
                new.append(events.NewEvent(type="TaskClosed", data=data, step_id=STEP, user_id=user))
            if knows["failed"] and not forward.settled(stream, knows["failed"]):
                new.append(_declined(stream, knows["failed"], ["unanswered"]))
            if new or case.status in ENDED:
                return await self._say(connection, case, new, given)
            return await self._next(connection, case, stream, given)

    async def _next(
        self, connection: Connection, case: Case, stream: Sequence[events.StoredEvent], given: StepInput
    ) -> StepOutcome:
        about = forward.taken(stream)
        asked = next((event for event in stream if event.version == about), None)
        if asked is not None:
            everything = self.everything(asked.data["partner"])
            due = _due(stream, again=given.executor["again"], everything=everything)
            if due:
                return await self._ship(connection, case, stream, asked, due[0], given)
        is_over = ask.turn(stream, sending=False, again=False).kind == "settled"
        if is_over or not forward.refused(stream) - _released(stream, given):
            return StepOutcome(outcome=WAITING, version=case.version)
        new = []
        if given.executor["open"]:
            await tasks.open_task(
                connection,
                task_id=given.executor["task"],
                tenant=case.tenant,
                case_id=case.id,
                role=ROLE,
                step_id=STEP,
                due_at=case.due_at,
            )
            opened = {"taskId": given.executor["task"], "role": ROLE}
            new.append(events.NewEvent(type="TaskOpened", data=opened, step_id=STEP))
        return replace(await self._say(connection, case, new, given), outcome=REFUSED)

    async def _ship(
        self,
        connection: Connection,
        case: Case,
        stream: Sequence[events.StoredEvent],
        asked: events.StoredEvent,
        parcel: Parcel,
        given: StepInput,
    ) -> StepOutcome:
        """Render one parcel and store it with its event; what cannot be rendered is refused by ourselves."""
        try:
            shipment = await self.render(connection, case, stream, asked, parcel, self.clock())
        except (Unmappable, InvalidMessage) as error:
            log.warning("forward.unmappable", code=error.code, case_id=case.id)
            places = [list(place) for place in parcel.places]
            codes = [error.code, *payer_answers.codes_of(error.issues)]
            data: dict[str, Any] = {"forward": 0, "documents": places, "codes": codes}
            event = events.NewEvent(type=ask.DECLINED, data=data, step_id=STEP)
            return replace(await self._say(connection, case, [event], given), more=True)
        version, endpoint = case.version + 1, shipment.outbound.endpoint
        outbound = replace(shipment.outbound, idempotency_key=ask_key(case.id, version, endpoint))
        await self.deliveries.intend_on(connection, case.tenant, case.id, outbound)
        event = events.NewEvent(
            type=forward.FORWARDED,
            data={
                "endpoint": endpoint,
                "partner": asked.data["partner"],
                "about": asked.version,
                "documents": [list(place) for place in parcel.places[: shipment.carried]],
                "solicited": parcel.solicited,
            },
            sealed=shipment.record,
            step_id=STEP,
        )
        await self._record(connection, case, [event], given, shipment.keys)
        return StepOutcome(outcome=FORWARDING, version=version, endpoints=(endpoint,))

    async def _say(
        self, connection: Connection, case: Case, new: Sequence[events.NewEvent], given: StepInput
    ) -> StepOutcome:
        version = await self._record(connection, case, new, given) if new else case.version
        return StepOutcome(outcome=WAITING, version=version)

    async def _record(
        self,
        connection: Connection,
        case: Case,
        new: Sequence[events.NewEvent],
        given: StepInput,
        keys: Sequence[tuple[str, tuple[str, ...]]] = (),
    ) -> int:
        """What happens beside the case's steps leaves its status as it is."""
        return await self.steps.cases.record(
            connection, case, new, command_id=given.command_id, status=case.status, step=STEP, keys=tuple(keys)
        )


def _released(stream: Sequence[events.StoredEvent], given: StepInput) -> set[forward.Place]:
    """What a person has released again, and waits for the payer to have the request."""
    return forward.refused(stream) - forward.done(stream, again=given.executor["again"])


def _due(stream: Sequence[events.StoredEvent], *, again: int, everything: bool) -> list[Parcel]:
    done = forward.done(stream, again=again)
    by_version = {event.version: event for event in stream}
    found = []
    for message in forward.bringing(stream):
        resource = (by_version[message.version].sealed or {}).get("resource")
        if resource:
            found.append((message.version, str(message.data["type"]), resource))
    brought = [row for row in documents_of(found) if row[0] not in done]
    made = [event.sealed for event in stream if event.type == "DecisionMade" and event.sealed]
    said = [from_json(sealed["decision"]) for sealed in made if sealed.get("message")]
    return parcels(brought, said, everything=everything)


def _before(known: events.StoredEvent) -> StepOutcome:
    """What an earlier execution of the same turn led to."""
    if known.type == forward.FORWARDED:
        return StepOutcome(outcome=FORWARDING, version=known.version, endpoints=(known.data["endpoint"],))
    if known.type == "TaskOpened":
        return StepOutcome(outcome=REFUSED, version=known.version)
    more = known.type == ask.DECLINED and not known.data["forward"]
    return StepOutcome(outcome=WAITING, version=known.version, more=more)


def _declined(
    stream: Sequence[events.StoredEvent], version: int, codes: Sequence[str], message: int = 0
) -> events.NewEvent:
    sent = next(event for event in stream if event.version == version)
    data: dict[str, Any] = {"forward": version, "documents": sent.data["documents"], "codes": list(codes)}
    return events.NewEvent(type=ask.DECLINED, data=data | ({"message": message} if message else {}), step_id=STEP)


def came_back(
    stream: Sequence[events.StoredEvent], version: int, answer: Intake | None, *, accepted: bool, codes: Sequence[str]
) -> list[events.NewEvent]:
    """The events of what came back on the line for the shipment of the event at `version`.

    A decision in its place is a message of the case, like any other; one that we cannot place is no refusal either.
    """
    if not accepted:
        return [_declined(stream, version, codes)]
    if answer is not None and answer.type == ask.REJECTION:
        return [_declined(stream, version, answer.reply["codes"])]
    took = events.NewEvent(type=forward.TAKEN, data={"forward": version}, step_id=STEP)
    if answer is None:
        return [took]
    sent = next(event for event in stream if event.version == version)
    message = events.NewEvent(
        type="MessageReceived",
        data={"type": answer.type, "source": sent.data["endpoint"], "ask": sent.data["about"]},
        sealed={"facts": answer.facts, "reply": answer.reply, "type": answer.type, "format": answer.format},
    )
    return [message, took]  # the first one is what a repetition of the command finds


def refused_by(stream: Sequence[events.StoredEvent], message: events.StoredEvent) -> events.NewEvent | None:
    """The event of a TA1 or 999 that came by another way, where what it refuses is a shipment of ours."""
    reply: dict[str, Any] = (message.sealed or {})["reply"]
    if message.data["type"] != ask.REJECTION or payer_answers.is_pas(reply):
        return None
    for event in reversed(stream):
        if event.type != forward.FORWARDED or not (event.sealed or {}).get("interchange"):
            continue
        partner = event.data["partner"]
        is_from = message.data["source"] in (f"sftp/{partner}", f"core/{partner}") or reply.get("client") == partner
        if is_from and payer_278.answers(reply, event.sealed or {}):
            return _declined(stream, event.version, reply["codes"], message.version)
    return None
