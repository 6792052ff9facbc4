"""Inquiring about a request that a payer has pended: the local activity that renders and stores the inquiry.

It is sent by the activity `ask`, like the request itself; an answer that says nothing new is noted and changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from temporalio import activity

from gateway.core.errors import Unmappable
from gateway.core.ports import Outbound
from gateway.infra.postgres import Connection
from gateway.infra.telemetry import logger
from gateway.stages import ask
from gateway.store import events
from gateway.store.cases import Case
from gateway.store.deliveries import Deliveries
from workflows.activities import CaseActivities
from workflows.inputs import StepInput, StepOutcome
from workflows.keys import ask_key

log = logger("payer")

INQUIRED = "PayerInquired"
"""Event: how the request of the event at `ask` stands is inquired about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """An inquiry, rendered."""

    outbound: Outbound
    by_number: bool
    """It names a number that the payer gave, so what comes back is about nothing else."""


RenderInquiry = Callable[[Connection, Case, Sequence[events.StoredEvent], int, datetime], Awaitable[Inquiry]]
"""(…, stream, version of the request it is about, now) → the inquiry. Raises Unmappable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InquiryActivities:
    """The activity, built once by the worker role."""

    steps: CaseActivities
    deliveries: Deliveries
    render: RenderInquiry
    clock: Callable[[], datetime]

    @activity.defn(name="inquire")
    async def inquire(self, given: StepInput) -> StepOutcome:
        """Outcomes: `inquired` (send it to `endpoints`), `settled` (there is nothing to inquire about any more)."""
        async with self.steps.command(given) as (connection, case, known):
            if known is not None:
                return _outcome(known.version, known.data["endpoint"])
            stream = await events.stream(connection, self.steps.cases.cipher, case.id)
            about = ask.newest_ask(stream)
            waiting = ask.turn(stream, sending=False, again=False).kind == "waiting"
            if not about or not waiting:
                return StepOutcome(outcome="settled", version=case.version)
            try:
                inquiry = await self.render(connection, case, stream, about, self.clock())
            except Unmappable as error:
                log.warning("inquire.unmappable", code=error.code, case_id=case.id)
                return StepOutcome(outcome="settled", version=case.version)
            version, endpoint = case.version + 1, inquiry.outbound.endpoint
            outbound = replace(inquiry.outbound, idempotency_key=ask_key(case.id, version, endpoint))
            await self.deliveries.intend_on(connection, case.tenant, case.id, outbound)
            data = {"endpoint": endpoint, "ask": about, "byNumber": inquiry.by_number}
            event = events.NewEvent(type=INQUIRED, data=data, step_id=given.step_id)
            await self.steps.cases.record(
                connection, case, [event], command_id=given.command_id, status="waiting", step=given.step_id
            )
            return _outcome(version, endpoint)


def _outcome(version: int, endpoint: str) -> StepOutcome:
    return StepOutcome(outcome="inquired", version=version, endpoints=(endpoint,))
