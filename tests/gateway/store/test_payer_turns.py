"""Turns with a payer over the real store: each thing once, whoever repeats it, and no answer but the asked one's."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from adapters.x12.wire import Envelope as Interchange
from adapters.x12.wire import guide, write
from gateway.core.envelope import Envelope
from gateway.core.errors import EndpointRefused, EndpointUnavailable, GatewayError
from gateway.core.ports import Decision, Outbound, Receipt
from gateway.infra.postgres import Connection, Database
from gateway.security.tokens import Tokens
from gateway.stages.decide import Verdict
from gateway.stages.deliver import DeliverStage
from gateway.stages.start import Definition
from gateway.store import events
from gateway.store.cases import Case, CaseStore
from gateway.store.deliveries import Deliveries
from gateway.store.x12_ledger import NumbersOn
from gateway.testing import FixedClock
from mappings.payer_278 import question, read_answer
from tests.e2e.payer import decided, refused_999, rejected, submission
from tests.gateway.stages.fakes import NOW
from tests.gateway.store.test_cases import CIPHER, message, opening, types
from tests.mappings.fhir import samples
from tests.mappings.x12.bench import RECEPTION
from workflows import definitions
from workflows.activities import CaseActivities
from workflows.inputs import AskInput, StepInput, StepOutcome
from workflows.payer import PayerActivities, Question

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

CONTENT = definitions.load()["payer_authorization"]
KNOWS = {"sending": False, "again": False, "failed": False}
REJECTION = {"code": "75", "followUp": "C", "location": "2000C"}


@dataclass
class Plan:
    """The payer's end of the line."""

    answers: list[Any] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)

    async def send(self, outbound: Outbound) -> Receipt:
        self.got.append(outbound.data)
        answer = self.answers.pop(0)
        if isinstance(answer, GatewayError):
            raise answer
        is_request = b"~ST*278*" in outbound.data
        data = answer(submission(outbound.data) if is_request else outbound.data) if callable(answer) else answer
        return Receipt(accepted=True, data=data)


@dataclass
class Bench:
    """A case and what acts on it."""

    store: CaseStore
    hands: PayerActivities
    plan: Plan
    tenant: str
    case_id: str
    definition: Definition
    turns: int = 0

    async def turn(self, command: str = "", **knows: Any) -> StepOutcome:
        self.turns += 1
        executor = {"ask": "payer", "turn": KNOWS | {name: value for name, value in knows.items() if name != "screen"}}
        given = StepInput(
            case_id=self.case_id,
            tenant=self.tenant,
            step_id="ask",
            command_id=command or f"0.ask.1.turn{self.turns}",
            executor=executor | ({"screen": knows["screen"]} if "screen" in knows else {}),
        )
        return await self.hands.payer(given)

    async def send(self, asked: StepOutcome) -> StepOutcome:
        given = AskInput(
            case_id=self.case_id, tenant=self.tenant, endpoint=asked.endpoints[0], version=asked.version,
            step_id="ask", command_id=f"sent.{asked.version}", initial=4.0, maximum=600.0,
        )  # fmt: skip
        return await ActivityEnvironment().run(self.hands.ask, given)

    async def join(self, given: Envelope) -> str:
        return (await self.store.open(opening(given, self.definition, opens=False))).outcome

    async def file(self, data: bytes, number: int, source: str = "sftp/plan") -> None:
        """A response of a file, joined to this case."""
        intake = read_answer(data, RECEPTION)
        assert intake is not None
        keys = tuple((kind, tuple(parts)) for kind, *parts in intake.reply["parents"])
        given = replace(
            message(self.tenant, "elsewhere", number), type=intake.type, reply=intake.reply, facts=intake.facts,
            source=source, resource=None,
        )  # fmt: skip
        opened = await self.store.open(opening(given, self.definition, opens=False, keys=(), parents=keys))
        assert opened.case_id == self.case_id

    async def said(self) -> list[tuple[str, list[str]]]:
        async with self.store.database.transaction(self.tenant) as connection:
            stream = await events.stream(connection, CIPHER, self.case_id)
        return [(row.data["outcome"], row.data.get("codes", [])) for row in stream if row.type == "PayerAnswered"]


def policy(*_: Any, **__: Any) -> Verdict:
    return Verdict(items=(), errors=(REJECTION,))


async def nobody(_connection: Connection, _case: Case, _lane: str) -> tuple[str, ...]:
    return ()


def no_keys(_decision: Decision) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ()


async def render(connection: Connection, case: Case, moment: datetime) -> Question:
    numbers = NumbersOn(connection)
    number = await numbers.allocate(case.tenant, "GATEWAY", "PLAN0009", "interchange")
    asked = question(case.context["resource"], now=moment)
    envelope = Interchange(
        sender="GATEWAY", receiver="CLINIC7", time=NOW, interchange_number=number, group_number=number, usage="T"
    )
    data = write(guide("278_request"), asked.tree, envelope)
    outbound = Outbound(endpoint="core/plan", data=data, media_type="application/EDI-X12", idempotency_key="")
    record = asked.record | {"interchange": str(number), "group": str(number)}
    # whoever answers turns our addresses round: the receiver of the request is the sender of the response
    keys = asked.keys("CLINIC7", str(number), str(number))
    return Question(partner="plan", outbound=outbound, record=record, keys=keys)


@pytest.fixture
async def bench(database: Database, tenant: str) -> Bench:
    store = CaseStore(database, CIPHER, Tokens(b"t" * 32), FixedClock(NOW))
    definition = await store.register(tenant, CONTENT, definitions.content_hash(CONTENT))
    bundle = samples.request("urn", (samples.item(1, "urn", "97110"), samples.item(2, "urn", "97112")))
    given = replace(message(tenant), resource=bundle)
    given.facts["services"] = [{"sequence": 1}, {"sequence": 2}]
    opened = await store.open(opening(given, definition))
    plan, deliveries = Plan(), Deliveries(database, CIPHER)

    async def sleep(_: float) -> None:
        return

    async def unexpected(*_: Any) -> None:
        return

    stage = DeliverStage(
        intents=deliveries, senders={"core/plan": plan}, renderers={}, monotonic=lambda: 0.0, sleep=sleep
    )
    steps = CaseActivities(
        cases=store, policy=policy, deliver_stage=stage, ways_back=nobody, lookup_keys=no_keys, clock=FixedClock(NOW)
    )
    hands = PayerActivities(
        steps=steps,
        deliveries=deliveries,
        deliver_stage=stage,
        render=render,
        expect=unexpected,
        clock=FixedClock(NOW),
        draw=lambda: 0.0,
    )
    return Bench(store, hands, plan, tenant, opened.case_id, definition)


async def test_asking_sending_and_reading_are_each_done_once(bench: Bench) -> None:
    first = await bench.turn("one")
    assert await bench.turn("one") == first
    assert (first.outcome, first.endpoints, first.version) == ("asked", ("core/plan",), 2)
    bench.plan.answers = [lambda asked: decided(asked, "A1")]
    sent = await bench.send(first)
    assert sent.outcome == "answered"
    assert await bench.send(first) == sent
    assert len(bench.plan.got) == 1
    read = await bench.turn("two")
    again = await bench.turn("two")
    assert again.decision is not None
    assert replace(again, decision=None) == replace(read, decision=None)
    assert (read.outcome, read.more) == ("A1", False)
    assert await types(bench.store, bench.tenant, bench.case_id) == [
        "CaseOpened", "PayerAsked", "MessageReceived", "DecisionMade"
    ]  # fmt: skip
    assert (await bench.turn()).outcome == "settled"


async def test_what_may_be_tried_again_is_the_same_and_waits_longer_each_time(bench: Bench) -> None:
    asked = await bench.turn()
    bench.plan.answers = [EndpointUnavailable(), EndpointUnavailable(retry_after=90.0), b"<html>", b""]
    pauses = []
    for _ in range(3):
        with pytest.raises(ApplicationError) as raised:
            await bench.send(asked)
        assert raised.value.next_retry_delay is not None
        pauses.append(raised.value.next_retry_delay.total_seconds())
    assert pauses == [2.0, 90.0, 2.0]  # half of four seconds, by this test's chance; what was asked for; half again
    assert (await bench.send(asked)).outcome == "sent"
    assert len(set(bench.plan.got)) == 1
    assert (await bench.turn()).outcome == "waiting"


async def test_a_refusal_is_for_people_and_asked_anew_with_another_interchange(bench: Bench) -> None:
    asked = await bench.turn()
    bench.plan.answers = [EndpointRefused(), refused_999, lambda one: decided(one, "A1")]
    assert (await bench.send(asked)).outcome == "refused"
    assert (await bench.turn()).outcome == "refused"
    asked = await bench.turn(again=True)
    await bench.send(asked)
    assert (await bench.turn()).outcome == "refused"
    assert (await bench.turn()).outcome == "refused"
    await bench.send(await bench.turn(again=True))
    assert (await bench.turn()).outcome == "A1"
    assert len({submission(data).interchange for data in bench.plan.got}) == 3
    assert [outcome for outcome, _ in await bench.said()] == ["refused", "refused"]


@pytest.mark.parametrize(
    ("code", "follow_up", "outcome"),
    [
        ("42", "R", "again"),
        ("80", "P", "again"),
        ("42", "C", "AAA"),
        ("72", "C", "AAA"),
        ("42", "Y", "A4"),
        ("41", "S", "A4"),
    ],
)
async def test_rejections(bench: Bench, code: str, follow_up: str, outcome: str) -> None:
    bench.plan.answers = [lambda one: rejected(one, code, follow_up)]
    await bench.send(await bench.turn())
    assert (await bench.turn()).outcome == outcome


async def test_a_file_counts_from_whom_was_asked_only_and_once(bench: Bench) -> None:
    asked = await bench.turn()
    bench.plan.answers = [b""]
    await bench.send(asked)
    data = decided(submission(bench.plan.got[0]), "A1", "A3")
    await bench.file(data, 7, source="sftp/other")
    assert (await bench.turn()).outcome == "noted"
    await bench.file(data, 8)
    await bench.file(data, 9)
    first = await bench.turn()
    assert (first.outcome, first.more) == ("A2", True)
    assert (await bench.turn()).outcome == "noted"
    assert [codes for _, codes in await bench.said()] == [["unknown"], ["repeated"]]
    case = await bench.store.load(bench.tenant, bench.case_id)
    assert case.context["type"] == "authorization.request"


async def test_an_update_waits_for_the_line_and_keeps_what_the_first_answer_said(bench: Bench) -> None:
    asked = await bench.turn()
    update = replace(message(bench.tenant, number=2), type="authorization.update")
    update = replace(update, resource=(await bench.store.load(bench.tenant, bench.case_id)).context["resource"])
    update.facts["services"] = [{"sequence": 1}, {"sequence": 2}]
    assert await bench.join(update) == "joined"
    assert (await bench.turn(sending=True)).outcome == "waiting"
    bench.plan.answers = [lambda one: decided(one, "A1"), lambda one: decided(one, "A3")]
    await bench.send(asked)
    assert (await bench.turn()).outcome == "noted"
    assert await bench.said() == [("noted", ["revised"])]
    again = await bench.turn()
    assert again.outcome == "asked"
    await bench.send(again)
    assert (await bench.turn()).outcome == "A3"


async def test_what_our_own_rules_reject_is_not_asked(bench: Bench) -> None:
    assert (await bench.turn(screen="eligibility")).outcome == "AAA"
    assert await types(bench.store, bench.tenant, bench.case_id) == ["CaseOpened", "DecisionMade"]
    assert (await bench.turn()).outcome == "settled"


async def test_what_waits_for_ever_is_given_up_to_people(bench: Bench) -> None:
    await bench.turn()
    assert (await bench.turn(failed=True)).outcome == "refused"
    assert await bench.said() == [("refused", ["unanswered"])]


async def test_nothing_of_a_person_is_in_what_is_open(bench: Bench) -> None:
    await bench.turn()
    async with bench.store.database.transaction(bench.tenant) as connection:
        stream = await events.stream(connection, CIPHER, bench.case_id)
        keys = await connection.fetch("SELECT kind, token FROM workflow.case_keys")
        (row,) = await connection.fetch("SELECT body FROM workflow.deliveries")
    asked = next(event for event in stream if event.type == "PayerAsked")
    trace = (asked.sealed or {})["trns"][0][1]
    opened = repr([event.data for event in stream]) + repr([dict(key) for key in keys])
    assert trace not in opened
    assert trace.encode() not in bytes(row["body"])
    assert base64.b64encode(trace.encode()) not in bytes(row["body"])
