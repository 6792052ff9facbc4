"""Same-named stand-ins for the activities, and the cases they are called for: what happened is in `calls`."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from gateway.infra import temporal
from workflows import definitions
from workflows.handshake import Handshake, Heartbeat
from workflows.inputs import (
    AskInput,
    CaseInput,
    CaseResult,
    DeliveryInput,
    ExtensionInput,
    ExtensionOutcome,
    Message,
    Review,
    StepInput,
    StepOutcome,
    TaskInput,
)
from workflows.interpreter import Case

HISTORIES = Path(__file__).parent / "histories"
RECORDING = bool(os.environ.get("GATEWAY_RECORD_HISTORIES"))
STACK_TRACE = re.compile(r'"stackTrace": "(?:[^"\\]|\\.)*"')
"""Names the paths of the machine that recorded, and is of no use to a replay."""
ENDPOINT = "clearinghouse-a"
PATIENCE = 40.0
CLOCK = timedelta(hours=100)


@dataclass(frozen=True)
class Call:
    """One activity call: its name, its command, what it said, and when (virtual time since the start)."""

    name: str
    command: str
    detail: str
    after: timedelta


@dataclass
class Hands:
    """Decides as scripted (`actions`, the last one repeats), delivers as scripted (`deliveries`)."""

    environment: WorkflowEnvironment
    actions: list[str]
    endpoints: tuple[str, ...] = ()
    deliveries: list[str] = field(default_factory=lambda: ["delivered"])
    calls: list[Call] = field(default_factory=list)
    start: datetime | None = None
    version: int = 1
    task: str = ""
    case_id: str = ""
    refusing: str = ""
    """Why clocks are not extended."""
    due: datetime | None = None
    looks: list[str] = field(default_factory=lambda: ["message"])
    """What looking at clinical messages finds: `same` or `message`; the last one repeats."""
    turns: list[StepOutcome] = field(default_factory=list)
    """What a turn with the payer leads to; `waiting` when there is none left."""
    sendings: list[str] = field(default_factory=lambda: ["answered"])
    """What sending leads to: answered, sent, refused, unavailable, or slow (answered once `release` is set)."""
    learnings: list[str] = field(default_factory=lambda: ["sent"])
    """What inquiries lead to: sent (nothing new), answered (something new), unavailable; the last one repeats."""
    forwards: list[str] = field(default_factory=list)
    """What turns of forwarding lead to: forwarding or refused; `waiting` when there is none left."""
    shipments: list[str] = field(default_factory=lambda: ["sent"])
    """What sending documents leads to: sent, refused, in vain (no attempt was taken), slow; the last one repeats."""
    settled: bool = False
    """There is nothing to inquire about any more."""
    release: asyncio.Event = field(default_factory=asyncio.Event)
    joined: set[int] = field(default_factory=set)
    """Versions of messages in the stream, whether their signals came or not."""

    async def note(self, name: str, command: str, detail: str) -> None:
        now = await self.environment.get_current_time()
        self.calls.append(Call(name, command, detail, now - (self.start or now)))

    def missed(self, given: StepInput) -> bool:
        heard = given.heard
        return heard is not None and not {one for one in self.joined if one > heard.decided} <= set(heard.versions)

    def outcome(self, action: str, closing: dict[str, bool]) -> StepOutcome:
        self.version += 1
        closed = not self.endpoints and closing.get(action, closing.get("*", False))
        decision = {"action": action, "version": self.version}
        return StepOutcome(
            outcome=action, version=self.version, decision=decision, endpoints=self.endpoints, closed=closed
        )

    @activity.defn(name="decide")
    async def decide(self, given: StepInput) -> StepOutcome:
        action = self.actions.pop(0) if len(self.actions) > 1 else self.actions[0]
        await self.note("decide", given.command_id, action)
        return self.outcome(action, given.closing)

    @activity.defn(name="look")
    async def look(self, given: StepInput) -> StepOutcome:
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        await self.note("look", given.command_id, found)
        return StepOutcome(outcome=found, version=max(self.joined, default=self.version))

    @activity.defn(name="conclude")
    async def conclude(self, given: StepInput) -> StepOutcome:
        await self.note("conclude", given.command_id, given.executor["action"])
        if self.missed(given):
            return StepOutcome(outcome="message", version=self.version)
        return self.outcome(given.executor["action"], given.closing)

    @activity.defn(name="open_task")
    async def open_task(self, given: TaskInput) -> StepOutcome:
        await self.note("open_task", given.command_id, given.role)
        self.task = given.task_id
        return StepOutcome(outcome="open", version=self.version)

    @activity.defn(name="close_task")
    async def close_task(self, given: TaskInput) -> StepOutcome:
        action = given.review.action if given.review else ""
        await self.note("close_task", given.command_id, action)
        if given.review and any(version > given.opened for version in self.joined):
            return StepOutcome(outcome="message", version=self.version)
        if action == "again":
            return StepOutcome(outcome="again", version=self.version)
        return self.outcome(action, given.closing) if given.review else StepOutcome(outcome="closed")

    @activity.defn(name="close_case")
    async def close_case(self, given: StepInput) -> StepOutcome:
        await self.note("close_case", given.command_id, given.executor["status"])
        if self.missed(given):
            return StepOutcome(outcome="message", version=self.version)
        return StepOutcome(outcome="closed", version=self.version, closed=True)

    @activity.defn(name="extend_clock")
    async def extend_clock(self, given: ExtensionInput) -> ExtensionOutcome:
        await self.note("extend_clock", given.command_id, str(given.extension.days))
        if self.refusing:
            return ExtensionOutcome(refused=self.refusing)
        self.version += 2
        self.due = (self.due or (self.start or datetime.now(UTC)) + CLOCK) + timedelta(days=given.extension.days)
        return ExtensionOutcome(due_at=self.due, version=self.version, endpoints=self.endpoints)

    @activity.defn(name="deliver")
    async def deliver(self, given: DeliveryInput) -> str:
        result = self.deliveries.pop(0) if len(self.deliveries) > 1 else self.deliveries[0]
        what = " notice" if given.notice else ""
        await self.note("deliver", f"{given.endpoint}@{given.version}{what}", result)
        if result == "unavailable":
            raise ApplicationError("the endpoint is unavailable", type="endpoint-unavailable")
        return result

    @activity.defn(name="payer")
    async def payer(self, given: StepInput) -> StepOutcome:
        knows = given.executor["turn"]
        said = "+".join(name for name in ("sending", "again", "failed") if knows[name])
        if knows["failed"]:
            following = StepOutcome(outcome="refused")
        else:
            following = self.turns.pop(0) if self.turns else StepOutcome(outcome="waiting")
        await self.note("payer", given.command_id, following.outcome + (f" ({said})" if said else ""))
        self.version += 1
        if following.outcome == "asked":
            return replace(following, version=self.version, endpoints=(ENDPOINT,))
        if following.decision is not None:
            outcome = self.outcome(following.outcome, given.closing)
            return replace(outcome, more=following.more, documents=following.documents)
        return replace(following, version=self.version)

    @activity.defn(name="ask")
    async def ask(self, given: AskInput) -> StepOutcome:
        if given.inquiry:
            return await self.inquired(given)
        if given.documents:
            return await self.shipped(given)
        result = self.sendings.pop(0) if len(self.sendings) > 1 else self.sendings[0]
        await self.note("ask", f"{given.endpoint}@{given.version}", result)
        if result == "unavailable":
            raise ApplicationError("the payer is unavailable", type="endpoint-unavailable")
        if result == "slow":
            await self.release.wait()
        return StepOutcome(outcome=result.replace("slow", "answered"))

    @activity.defn(name="inquire")
    async def inquire(self, given: StepInput) -> StepOutcome:
        outcome = "settled" if self.settled else "inquired"
        await self.note("inquire", given.command_id, outcome)
        self.version += outcome == "inquired"
        return StepOutcome(outcome=outcome, version=self.version, endpoints=(ENDPOINT,))

    async def inquired(self, given: AskInput) -> StepOutcome:
        result = self.learnings.pop(0) if len(self.learnings) > 1 else self.learnings[0]
        await self.note("inquired", given.command_id, result)
        if result == "unavailable":
            raise ApplicationError("the payer is unavailable", type="endpoint-unavailable")
        self.version += 1
        return StepOutcome(outcome=result, version=self.version)

    @activity.defn(name="forward")
    async def forward(self, given: StepInput) -> StepOutcome:
        knows = given.executor
        said = [name for name in ("again", "failed", "close") if knows[name]] + [knows["reviewer"]] * knows["close"]
        following = "waiting"
        if not knows["close"] and not knows["failed"] and self.forwards:
            following = self.forwards.pop(0)
        await self.note("forward", given.command_id, " ".join([following, *filter(None, said)]))
        self.version += 1
        if following == "refused":
            self.task = knows["task"]
        return StepOutcome(outcome=following, version=self.version, endpoints=(ENDPOINT,))

    async def shipped(self, given: AskInput) -> StepOutcome:
        result = self.shipments.pop(0) if len(self.shipments) > 1 else self.shipments[0]
        await self.note("shipped", given.command_id, result)
        if result == "in vain":
            raise ApplicationError("the payer is unavailable", type="endpoint-unavailable", non_retryable=True)
        if result == "slow":
            await self.release.wait()
        return StepOutcome(outcome=result.replace("slow", "sent"))

    @activity.defn(name="handshake")
    async def handshake(self, given: dict[str, Any]) -> None:
        await self.deliver(DeliveryInput(case_id="", tenant=given["tenant"], endpoint="hook", version=0))

    @activity.defn(name="heartbeat")
    async def heartbeat(self, given: dict[str, Any]) -> str:
        return await self.deliver(
            DeliveryInput(case_id="", tenant=given["tenant"], endpoint="beat", version=given["version"])
        )

    @activity.defn(name="mark_subscription")
    async def mark_subscription(self, given: dict[str, Any]) -> None:
        await self.note("mark", given["subscription"], given["status"])

    def seen(self, *names: str) -> list[tuple[str, str]]:
        """(name, detail) of the calls, of these names only if any are given."""
        return [(call.name, call.detail) for call in self.calls if not names or call.name in names]


@asynccontextmanager
async def working(hands: Hands, kind: type = Case) -> AsyncIterator[Hands]:
    """Workers of the cases' queue and of the endpoints' queues, as the worker role builds them."""
    local: list[Callable[..., Any]] = [
        hands.decide, hands.look, hands.conclude, hands.open_task, hands.close_task, hands.close_case,
        hands.extend_clock, hands.mark_subscription, hands.payer, hands.inquire, hands.forward,
    ]  # fmt: skip
    client = hands.environment.client
    async with (
        temporal.case_worker(client, workflows=[kind, Handshake, Heartbeat], activities=local),
        temporal.delivery_worker(client, ENDPOINT, [hands.deliver, hands.ask], per_second=1000),
        temporal.delivery_worker(client, "fhir-notify", [hands.handshake, hands.heartbeat], per_second=1000),
    ):
        yield hands


async def started(
    hands: Hands, name: str, definition: dict[str, Any] | None = None, **given: Any
) -> WorkflowHandle[Any, CaseResult]:
    """Start a case whose clock is a hundred hours."""
    content = definition or definitions.load()["prior_authorization"]
    hands.case_id = f"00000000-0000-4000-8000-{len(name):012d}"
    hands.start = now = await hands.environment.get_current_time()
    case = CaseInput(
        **{
            "case_id": hands.case_id,
            "tenant": "acme",
            "subject": name,
            "definition": content,
            "definition_hash": definitions.content_hash(content),
            "received_at": now,
            "due_at": now + CLOCK,
        }
        | given
    )
    return await hands.environment.client.start_workflow(
        "Case", case, id=f"case:{name}", task_queue=temporal.CASE_QUEUE, result_type=CaseResult
    )


async def ended(handle: WorkflowHandle[Any, Any], record: str = "") -> Any:
    """The result, within a limit; its history is kept when recording."""
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    if record and RECORDING:
        text = (await handle.fetch_history()).to_json()
        text = STACK_TRACE.sub('"stackTrace": ""', text)
        (HISTORIES / f"{record}.json").write_text(text + "\n", encoding="utf-8")
    return result


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the activities to get somewhere; time stands still meanwhile."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - activities of many kinds lead there
            await asyncio.sleep(0.02)


async def reviewed(handle: WorkflowHandle[Any, Any], hands: Hands, action: str) -> None:
    """A person answers the open task; the workflow may need a moment after the task appears."""
    review = Review(task_id=hands.task, reviewer="r1", action=action)
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                assert await handle.execute_update("review", review, result_type=bool)
            except WorkflowUpdateFailedError:
                await asyncio.sleep(0.05)
            else:
                return


async def told(handle: WorkflowHandle[Any, Any], version: int, kind: str = "authorization.update") -> None:
    """The starter's signal of a further message."""
    await handle.signal("message", Message(case_id="c", version=version, kind=kind))
