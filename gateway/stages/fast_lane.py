"""The fast lane (D6): a caller waits, so the edge opens the case itself and asks the workflow for its decision.

Accept came first: the message is durable whatever happens here. The starter will find the inbox row and do nothing; if
this process dies, the sweeper starts the case. No decision in time, or a server of ours away, is the protocol's
"pended" (None): never an error, never a denial.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.core.envelope import Envelope
from gateway.core.errors import MessageConflict, Unavailable
from gateway.core.ports import Decision
from gateway.stages.decide import from_json
from gateway.stages.start import Cases, CaseStart, Opened, Opening, StartStage

POLL_SECONDS = 0.1
"""Between looks for the decision on an update of an open case."""


class DecideNow(Protocol):
    """Temporal's update-with-start."""

    def decide(self, case: CaseStart, timeout: float) -> Awaitable[dict[str, Any] | None]:
        """Start (or find) the workflow and wait for its first decision."""
        ...


class Known(Protocol):
    """What the store knows of a decided case."""

    def newest_decision(self, tenant: str, case_id: str, after: int) -> Awaitable[dict[str, Any] | None]:
        """The newest decision later than stream version `after`, as JSON."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FastLane:
    """The Decide port, built once by app.py."""

    start: StartStage
    cases: Cases
    known: Known
    temporal: DecideNow
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    observe: Callable[[str, float], None] = field(default=lambda _outcome, _seconds: None)

    async def __call__(self, envelope: Envelope, *, timeout: float) -> Decision | None:
        """The decision, or None when there is none within `timeout` seconds.

        Raises MessageConflict when the message's key was used before with another body (409).
        """
        began = self.monotonic()
        try:
            opening = self.start.opening(envelope)
            opened = await self.cases.open(opening)
            content = await self._content(opening, opened, timeout - (self.monotonic() - began))
        except Unavailable:
            content = None
        self.observe("decided" if content else "pended", self.monotonic() - began)
        return from_json(content) if content else None

    async def _content(self, opening: Opening, opened: Opened, seconds: float) -> dict[str, Any] | None:
        tenant = opening.envelope.tenant
        if opened.outcome == "conflict":
            raise MessageConflict
        if opened.outcome == "orphan":
            return None
        if opened.outcome == "joined":
            await self.start.starter.notify(opened, opening.envelope.type)
            return await self._newer(tenant, opened, seconds)
        if opened.outcome == "known":
            # A resend of an update is not answered with what was decided before the update came.
            known = await self.known.newest_decision(tenant, opened.case_id, after=opened.version)
            if known is not None:
                return known
            if opened.version > max(opened.run, 1):
                return await self._newer(tenant, opened, seconds)
        return await self.temporal.decide(self.start.case_start(opening, opened), max(seconds, 0.1))

    async def _newer(self, tenant: str, opened: Opened, seconds: float) -> dict[str, Any] | None:
        """The decision that takes the joined message into account."""
        end = self.monotonic() + seconds
        while self.monotonic() < end:
            content = await self.known.newest_decision(tenant, opened.case_id, after=opened.version)
            if content is not None:
                return content
            await self.sleep(POLL_SECONDS)
        return None
