"""The activity behind `gateway case extend`: the clock of a pended case ends later, and whoever asked is told."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from temporalio import activity

from gateway.core.ports import Decision
from gateway.infra.postgres import Connection
from gateway.stages import clock
from gateway.stages.decide import PENDED, as_json, from_json
from gateway.store import events
from gateway.store.cases import ENDED, SQL, Case, CaseStore
from mappings.pas_metrics import decided_lines
from workflows.activities import WaysBack, lane_of
from workflows.inputs import ExtensionInput, ExtensionOutcome

EXTENDED = "ClockExtended"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockActivities:
    """Built once by the worker."""

    cases: CaseStore
    ways_back: WaysBack
    clock: Callable[[], datetime]

    @activity.defn(name="extend_clock")
    async def extend_clock(self, given: ExtensionInput) -> ExtensionOutcome:
        """Move the due moment, and record the pended decision anew with the reason, so that it is told again."""
        async with self.cases.database.transaction(given.tenant) as connection:
            case = await self.cases.lock(connection, given.case_id)
            stream = await events.stream(connection, self.cases.cipher, given.case_id)
            known = next((event for event in stream if event.command_id == given.command_id), None)
            if known is not None and known.sealed is not None:
                due = datetime.fromisoformat(known.data["dueAt"])
                return ExtensionOutcome(
                    due_at=due, version=known.sealed["told"], endpoints=tuple(known.sealed["endpoints"])
                )
            found, wanted = clock_of(case, stream), given.extension
            why = clock.refusal(
                found, days=wanted.days, action=case.action, ended=case.status in ENDED, now=self.clock()
            )
            if why:
                return ExtensionOutcome(refused=why)
            endpoints = await self.ways_back(connection, case, await lane_of(connection, case, given.lane))
            return await self._record(connection, case, stream, given, clock.extended(found, wanted.days), endpoints)

    async def _record(
        self,
        connection: Connection,
        case: Case,
        stream: Sequence[events.StoredEvent],
        given: ExtensionInput,
        due_at: datetime,
        endpoints: tuple[str, ...],
    ) -> ExtensionOutcome:
        wanted, now = given.extension, self.clock()
        decision = _pended(stream)
        told = case.version + 2 if decision is not None else 0
        to = endpoints if told else ()
        extended = events.NewEvent(
            type=EXTENDED,
            data={
                "days": wanted.days,
                "requestedBy": wanted.requested_by,
                "from": case.due_at.isoformat(),
                "dueAt": due_at.isoformat(),
            },
            sealed={"reason": wanted.reason, "told": told, "endpoints": list(to)},
            user_id=wanted.user,
        )
        new = [extended]
        if decision is not None:
            said = clock.notice(decision, version=told, now=now, due_at=due_at, reason=wanted.reason)
            new.append(_told(case, said, to))
        version = await events.append(
            connection,
            self.cases.cipher,
            tenant=case.tenant,
            case_id=case.id,
            expected_version=case.version,
            events=new,
            now=now,
            command_id=given.command_id,
            metadata={"correlationId": case.context["correlationId"], "source": "workflow"},
        )
        await connection.execute(SQL.extend, uuid.UUID(case.id), due_at, version)
        return ExtensionOutcome(due_at=due_at, version=told, endpoints=to)


def clock_of(case: Case, stream: Sequence[events.StoredEvent]) -> clock.Clock:
    """The clock that runs: that of the message which started it last, with its extensions."""
    opened = stream[0].data
    extended = 0
    for event in stream:
        if event.type == "MessageReceived" and "dueAt" in event.data:
            extended = 0
        elif event.type == EXTENDED:
            extended += int(event.data["days"])
    return clock.Clock(
        due_at=case.due_at,
        legal=bool(opened.get("legalClock", True)),
        allowed_days=int(opened.get("extensionDays", clock.LONGEST_EXTENSION)),
        extended_days=extended,
    )


def _pended(stream: Sequence[events.StoredEvent]) -> Decision | None:
    """The newest pended decision that is not itself word of an extension."""
    made = (event for event in reversed(stream) if event.type == "DecisionMade" and event.sealed)
    newest = next((event for event in made if not event.data.get("notice")), None)
    if newest is None or newest.sealed is None or newest.data["action"] != PENDED:
        return None
    return replace(from_json(newest.sealed["decision"]), record={})


def _told(case: Case, decision: Decision, endpoints: Sequence[str]) -> events.NewEvent:
    """The decision as it stands, told again: `notice` says that nothing was decided by it."""
    return events.NewEvent(
        type="DecisionMade",
        data={
            "action": decision.action,
            "items": decided_lines(case.context["facts"], decision),
            "errors": [],
            "release": "",
            "humanReviewed": decision.human_reviewed,
            "caseType": case.context["type"],
            "final": False,
            "notice": True,
        },
        sealed={"decision": as_json(decision), "endpoints": list(endpoints), "closed": False},
    )
