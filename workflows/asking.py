"""Steps that ask a payer: one turn after the other, until there is a decision or its requester waited long enough."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.definitions import duration
    from workflows.handing_on import FIRST_PAUSE as PARCEL_PAUSE
    from workflows.handing_on import LONGEST_PAUSE as LONGEST_PARCEL_PAUSE
    from workflows.handing_on import STEP as FORWARD
    from workflows.handing_on import Forwarder
    from workflows.inputs import AskInput, CaseInput, Message, StepOutcome
    from workflows.line import Line
    from workflows.state import CaseState
    from workflows.watching import FIRST_PAUSE, LONGEST_PAUSE, Inquirer, Pace

PENDED, AGAIN, REFUSED, NOTED, WAITING = "A4", "again", "refused", "noted", "waiting"
"""Outcomes of a turn with a payer that this code knows by name (workflows/payer.py)."""
SETTLED = "settled"
UNDECIDED = frozenset({"asked", AGAIN, REFUSED, NOTED, WAITING, SETTLED})
ANSWER = "authorization.response"
FOR_THE_PAYER = frozenset(
    {ANSWER, "authorization.rejected", "authorization.request", "authorization.update", "authorization.cancel"}
)
"""Messages that a turn with a payer is about."""

Raw = dict[str, Any]


class AsksPayers(CaseState):
    """What a case needs for that."""

    def __init__(self, case: CaseInput) -> None:
        super().__init__(case)
        self._line = Line(self._happened)
        self._pended = False
        """Whoever asked has been told so, since the request was last stated."""
        self._inquirer = Inquirer(self._inquire, self._to_send)
        self._pace = Pace(first=0.0, longest=0.0)
        prefix = f"{case.case_id}:{case.run}"
        self._forwarder = Forwarder(self._forward, self._parcel, self._happened, self._tasks, prefix)

    async def _ask(self, step: Raw) -> str:
        """Take turns with the payer; while it has the next word, it is inquired about where that can be done."""
        outcome = await self._turns_of(step)
        if outcome in (PENDED, WAITING) and self._pace.first and not self._line.sending:
            self._inquirer.start(self._pace, self._happened)
        elif outcome not in (PENDED, WAITING):
            self._inquirer.stop()
        return outcome

    async def _turns_of(self, step: Raw) -> str:
        """Do what is next with the payer until there is a decision, or its requester has waited long enough."""
        held = self._case.lane == "fast" and self._visits[step["id"]] == 1
        start = self._case.received_at if held else workflow.now()
        moment = start + duration(step["executor"]["within"])
        self._line.again = self._line.again or self._outcome == AGAIN
        while True:
            self._messages = [message for message in self._messages if message.kind not in FOR_THE_PAYER]
            outcome = await self._turn(step)
            if outcome.outcome == AGAIN and not self._line.later(outcome.pause, step["retry"]):
                return await self._pend(step, REFUSED)
            if outcome.outcome not in UNDECIDED:
                self._line.stop()
                self._take(outcome)
                self._pended = outcome.outcome == PENDED
                if not outcome.more:
                    return outcome.outcome
            if outcome.outcome in (SETTLED, WAITING):
                self._looked = max(self._looked, outcome.version)
            if outcome.outcome == SETTLED:
                return SETTLED
            if outcome.outcome == REFUSED:
                return await self._pend(step, REFUSED)
            if outcome.more or outcome.outcome == NOTED:
                continue
            remaining = moment - workflow.now()
            if self._line.sent or self._pended or remaining <= timedelta():
                return await self._pend(step, PENDED)
            try:
                await workflow.wait_condition(self._has_news, timeout=remaining)
            except TimeoutError:
                return await self._pend(step, PENDED)

    def _has_news(self) -> bool:
        return any(message.kind in FOR_THE_PAYER for message in self._messages)

    async def _turn(self, step: Raw) -> StepOutcome:
        """One turn with the payer; a request it leads to is put on the line."""
        self._turns += 1
        line, anew = self._line, self._line.again
        knows = {"sending": line.sending, "again": line.again, "failed": line.failed}
        line.again = line.failed = False
        given = self._step_input(step["id"], {**step["executor"], "turn": knows}, self._closing(step))
        given = replace(given, command_id=f"{given.command_id}.turn{self._turns}")
        outcome = await self._local("payer", given)
        if outcome.documents and not outcome.closed:
            self._forwarder.look()
        if outcome.outcome == "asked":
            self._version, self._pended = outcome.version, self._pended and anew
            self._pace = Pace(first=outcome.inquire_after, longest=outcome.inquire_longest)
            self._inquirer.stop()
            retry = step["retry"]
            asked = AskInput(
                case_id=given.case_id,
                tenant=given.tenant,
                endpoint=outcome.endpoints[0],
                version=outcome.version,
                step_id=step["id"],
                command_id=f"{given.command_id}.sent",
                initial=duration(retry["initial"]).total_seconds(),
                maximum=duration(retry["maximum"]).total_seconds(),
            )
            line.send(asked, retry, anew=anew)
        return outcome

    async def _forward(self, number: int, knows: Raw) -> StepOutcome:
        """One turn of forwarding documents."""
        given = self._step_input(FORWARD, knows, {})
        return await self._local("forward", replace(given, command_id=f"{self._case.run}.{FORWARD}.{number}"))

    def _parcel(self, outcome: StepOutcome) -> AskInput:
        return AskInput(
            case_id=self._case.case_id,
            tenant=self._case.tenant,
            endpoint=outcome.endpoints[0],
            version=outcome.version,
            step_id=FORWARD,
            command_id=f"{self._case.run}.forwarded.{outcome.version}",
            initial=PARCEL_PAUSE,
            maximum=LONGEST_PARCEL_PAUSE,
            documents=True,
        )

    async def _inquire(self, number: int) -> StepOutcome:
        """Render and store an inquiry."""
        given = self._step_input("inquire", {}, {})
        return await self._local("inquire", replace(given, command_id=f"{self._case.run}.inquire.{number}"))

    def _to_send(self, outcome: StepOutcome) -> AskInput:
        return AskInput(
            case_id=self._case.case_id,
            tenant=self._case.tenant,
            endpoint=outcome.endpoints[0],
            version=outcome.version,
            step_id="inquire",
            command_id=f"{self._case.run}.inquired.{outcome.version}",
            initial=FIRST_PAUSE,
            maximum=LONGEST_PAUSE,
            inquiry=True,
        )

    async def _pend(self, step: Raw, outcome: str) -> str:
        """Whoever asked is told once that it is pended; `waiting` when that was said before."""
        if self._pended:
            self._endpoints = ()
            return outcome if outcome == REFUSED else WAITING
        self._turns += 1
        given = self._step_input(step["id"], {"action": PENDED}, {})
        self._take(await self._local("conclude", replace(given, command_id=f"{given.command_id}.turn{self._turns}")))
        self._pended = True
        return outcome

    def _happened(self, version: int) -> None:
        """Something happened on the line: as if the payer's message had been signalled."""
        if version:
            self._heard.add(version)
        self._messages.append(
            Message(case_id=self._case.case_id, version=max(version, self._version + 1, self._looked + 1), kind=ANSWER)
        )
