"""Deliver: rendered once, the same bytes on every resend, one probe at a circuit that is half-open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.errors import ConfigurationError, EndpointRefused, EndpointUnavailable, GatewayError, Issue
from gateway.core.ports import Decision, Outbound, Receipt
from gateway.stages import deliver
from gateway.stages.deliver import DeliverStage, Letter
from gateway.testing import MemorySender
from tests.gateway.stages.fakes import NOW, MemoryIntents, Stored

DECISION = Decision(case_id="c", version=2, decided_at=NOW, action="A1")


def letter(endpoint: str = "clearinghouse-a", **context: Any) -> Letter:
    return Letter(
        case_id="c", tenant="acme", endpoint=endpoint, context={"reply": {"rail": "x12"} | context}, decision=DECISION
    )


class Renderer:
    """Renders something else each time, as a renderer with control numbers does."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self, given: Letter) -> Outbound:
        self.times += 1
        return Outbound(
            endpoint="?", data=f"ISA*{self.times}".encode(), media_type="text/plain", idempotency_key="", attributes={}
        )


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def no_quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """One try per attempt: the pauses between quick tries are the library's, and real."""
    monkeypatch.setattr(deliver, "QUICK_TRIES", 1)


def stage(sender: Any, intents: MemoryIntents | None = None, clock: Callable[[], float] | None = None) -> DeliverStage:
    return DeliverStage(
        intents=intents or MemoryIntents(),
        senders={"clearinghouse-a": sender, "fhir-notify": sender},
        renderers={"x12": Renderer()},
        monotonic=clock or Clock(),
        sleep=asyncio.sleep,
    )


async def test_once_rendered_sent_and_settled() -> None:
    sender, intents = MemorySender(), MemoryIntents()
    receipt = await stage(sender, intents)(letter())
    key = "c:2:clearinghouse-a"
    assert receipt.accepted
    assert [(out.idempotency_key, out.endpoint, out.data) for out in sender.sent] == [
        (key, "clearinghouse-a", b"ISA*1")
    ]
    assert (intents.attempts, intents.settled) == ([key], [(key, receipt)])


async def test_a_repetition_after_the_receipt_sends_nothing() -> None:
    sender = MemorySender()
    delivers = stage(sender)
    for _ in range(3):
        assert (await delivers(letter())).accepted
    assert len(sender.sent) == 1


async def test_a_resend_has_the_same_bytes_and_key() -> None:
    sender, intents = MemorySender(failure=EndpointUnavailable()), MemoryIntents()
    with pytest.raises(EndpointUnavailable):
        await stage(sender, intents)(letter())
    sender.failure = None
    await stage(sender, intents)(letter())  # another process: nothing but the store is shared
    assert sender.sent == [intents.rows["c:2:clearinghouse-a"].outbound]
    assert sender.sent[0].data == b"ISA*1"
    assert len(intents.attempts) == 2


async def test_a_crash_between_sending_and_settling_repeats_the_same_message() -> None:
    class Crash(BaseException):
        pass

    class Dying(MemoryIntents):
        async def settle(self, tenant: str, key: str, receipt: Receipt) -> None:
            raise Crash

    sender, dying = MemorySender(), Dying()
    with pytest.raises(Crash):
        await stage(sender, dying)(letter())
    await stage(sender, MemoryIntents(rows=dying.rows))(letter())
    assert sender.sent[0] == sender.sent[1]


async def test_the_first_of_two_renderings_wins() -> None:
    first = Outbound(endpoint="clearinghouse-a", data=b"FIRST", media_type="t", idempotency_key="c:2:clearinghouse-a")

    class Raced(MemoryIntents):
        async def intend(self, tenant: str, case_id: str, outbound: Outbound) -> Stored:
            return Stored(first)

    sender, intents = MemorySender(), Raced(rows={})
    with pytest.raises(KeyError):  # the raced row is the other process's to settle
        await stage(sender, intents)(letter())
    assert sender.sent == [first]


async def test_a_refusal_is_settled_and_passed_on() -> None:
    sender, intents = MemorySender(failure=EndpointRefused()), MemoryIntents()
    delivers = stage(sender, intents)
    with pytest.raises(EndpointRefused):
        await delivers(letter())
    assert [(key, receipt.accepted) for key, receipt in intents.settled] == [("c:2:clearinghouse-a", False)]
    assert delivers.breakers["clearinghouse-a"].failed == 0


async def test_the_reason_of_a_refusal_is_kept_in_codes_and_positions() -> None:
    said = (Issue("required", "ClaimResponse.insurer", "JANE DOE"), Issue("conflict", "", "JANE DOE"))
    refusal = EndpointRefused("the endpoint answered 422", location="HTTP 422", issues=said)
    intents = MemoryIntents()
    with pytest.raises(EndpointRefused):
        await stage(MemorySender(failure=refusal), intents)(letter())
    ((_, receipt),) = intents.settled
    assert receipt.reference == "the endpoint answered 422; required at ClaimResponse.insurer; conflict"


@pytest.mark.parametrize(("retry_after", "attempts"), [(None, 3), (0.0, 3), (30.0, 1)])
async def test_an_endpoint_that_says_when_to_come_again_is_not_asked_sooner(
    retry_after: float | None, attempts: int
) -> None:
    intents = MemoryIntents()
    delivers = stage(MemorySender(failure=EndpointUnavailable(retry_after=retry_after)), intents)
    outbound = Outbound(endpoint="clearinghouse-a", data=b"x", media_type="t", idempotency_key="k")
    with pytest.raises(EndpointUnavailable) as raised:
        await delivers.send("acme", "clearinghouse-a", outbound, tries=3)
    assert (raised.value.retry_after, len(intents.attempts)) == (retry_after, attempts)


async def test_a_sender_may_serve_a_family_of_endpoints() -> None:
    sender = MemorySender()
    await stage(sender)(letter("fhir-notify.42"))
    assert sender.sent[0].endpoint == "fhir-notify.42"


@pytest.mark.parametrize("given", [letter("nobody"), letter(rail="pigeon")])
async def test_what_nobody_serves_is_our_fault(given: Letter) -> None:
    with pytest.raises(ConfigurationError):
        await stage(MemorySender())(given)


class Slow:
    """Answers when released; counts who is at the door at once."""

    def __init__(self, failure: GatewayError | None) -> None:
        self.calls, self.failure, self.release = 0, failure, asyncio.Event()

    async def send(self, outbound: Outbound) -> Receipt:
        self.calls += 1
        await self.release.wait()
        if self.failure is not None:
            raise self.failure
        return Receipt(accepted=True)


async def opened(clock: Clock) -> tuple[DeliverStage, MemoryIntents]:
    """A stage whose circuit is open."""
    intents = MemoryIntents()
    delivers = stage(MemorySender(failure=EndpointUnavailable()), intents, clock)
    for _ in range(5):
        with pytest.raises(EndpointUnavailable):
            await delivers(letter())
    with pytest.raises(EndpointUnavailable, match="circuit is open") as held:
        await delivers(letter())
    assert 0 < (held.value.retry_after or 0) <= 5
    assert len(intents.attempts) == 5
    return delivers, intents


@pytest.mark.parametrize("failure", [None, EndpointUnavailable(), EndpointRefused()])
async def test_of_fifty_at_half_open_exactly_one_probes(failure: GatewayError | None) -> None:
    clock = Clock()
    delivers, _ = await opened(clock)
    clock.now += 5.0
    slow = Slow(failure)
    delivers = DeliverStage(
        intents=MemoryIntents(),
        senders={"clearinghouse-a": slow},
        renderers=delivers.renderers,
        monotonic=clock,
        sleep=asyncio.sleep,
        breakers=delivers.breakers,
    )
    letters = [
        Letter(case_id=f"c{n}", tenant="acme", endpoint="clearinghouse-a", context=letter().context, decision=DECISION)
        for n in range(50)
    ]
    running = [asyncio.create_task(delivers(one)) for one in letters]
    for _ in range(100):
        await asyncio.sleep(0)
    assert sum(task.done() for task in running) == 49
    slow.release.set()
    results = await asyncio.wait_for(asyncio.gather(*running, return_exceptions=True), 10)
    assert slow.calls == 1
    assert sum(isinstance(result, EndpointUnavailable) and bool(result.retry_after) for result in results) == 49
    breaker = delivers.breakers["clearinghouse-a"]
    assert (breaker.opened_at is None) is not isinstance(failure, EndpointUnavailable)
    assert breaker.wait(clock.now) == (10.0 if isinstance(failure, EndpointUnavailable) else 0.0)


async def test_one_endpoint_down_does_not_hold_another() -> None:
    clock = Clock()
    delivers, _ = await opened(clock)
    sender = MemorySender()
    both = DeliverStage(
        intents=MemoryIntents(),
        senders={"other": sender},
        renderers=delivers.renderers,
        monotonic=clock,
        sleep=asyncio.sleep,
        breakers=delivers.breakers,
    )
    await both(letter("other"))
    assert len(sender.sent) == 1
