"""Turns with a payer that is asked over PAS, over the real store: the same bytes again, the claim it has continued."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.fhir import wire
from adapters.fhir.settings import PayerServer
from gateway.app.asking_fhir import AskByFhir
from gateway.core.errors import GatewayError
from gateway.core.ports import Decision, ItemDecision, Outbound, Receipt
from gateway.infra.postgres import Connection, Database
from gateway.partners import Asking, Partner, Partners
from gateway.security.tokens import Tokens
from gateway.stages.ask import newest_ask
from gateway.stages.decide import from_json
from gateway.stages.deliver import DeliverStage
from gateway.store import events
from gateway.store.cases import Case, CaseStore
from gateway.store.deliveries import Deliveries
from gateway.store.payer_watches import PayerWatches
from gateway.testing import FixedClock
from mappings.attachments import read_attachment
from mappings.brought_documents import documents_of, parcels
from mappings.decision_to_claimresponse import render
from mappings.information_request import control_number
from tests.gateway.stages.fakes import NOW
from tests.gateway.store.test_cases import CIPHER, message, opening, types
from tests.gateway.store.test_payer_turns import CONTENT, Bench, no_keys, nobody, policy
from tests.mappings.fhir import samples
from tests.mappings.fhir.test_attachment_to_cdex import document
from workflows import definitions
from workflows.activities import CaseActivities
from workflows.inputs import AskInput, StepInput, StepOutcome
from workflows.inquiring import InquiryActivities
from workflows.payer import PayerActivities, Question

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

SERVER = PayerServer(base_url="https://plan.example/fhir/pas/2.2.1", organization="US")
PLAN = Partner(name="plan", fhir=SERVER, ask=Asking(payers=("*",), by="fhir"))
Element = dict[str, Any]


@dataclass
class Plan:
    """The payer's end of the line; an exception among its answers is raised once the bytes have arrived."""

    answers: list[Any] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)

    async def send(self, outbound: Outbound) -> Receipt:
        self.got.append(outbound.data)
        answer = self.answers.pop(0)
        if isinstance(answer, GatewayError | asyncio.CancelledError):
            raise answer
        data = (
            answer if isinstance(answer, bytes) else wire.serialize(answer(wire.parse(outbound.data, wire.FHIR_JSON)))
        )
        return Receipt(accepted=True, data=data)


def decided(asked: Element, *actions: str, after: int = 0, **more: Any) -> Element:
    items = tuple(
        ItemDecision(sequence=row["sequence"], action=action, reasons=("0V",) if action == "A3" else ())
        for row, action in zip(asked["entry"][0]["resource"]["item"], actions, strict=True)
    )
    decision = Decision(
        case_id="p",
        version=1 + after,
        decided_at=NOW + timedelta(seconds=after),
        action=actions[0],
        items=items,
        **more,
    )
    return render(asked, decision)


@dataclass
class FhirBench(Bench):
    inquiries: InquiryActivities | None = None
    by_fhir: AskByFhir | None = None

    @property
    def ask_by(self) -> AskByFhir:
        assert self.by_fhir is not None
        return self.by_fhir

    async def inquire(self, number: int) -> StepOutcome:
        assert self.inquiries is not None
        given = StepInput(case_id=self.case_id, tenant=self.tenant, step_id="inquire", command_id=f"0.inquire.{number}")
        outcome = await self.inquiries.inquire(given)
        assert await self.inquiries.inquire(given) == outcome
        if outcome.outcome != "inquired":
            return outcome
        sent = AskInput(
            case_id=self.case_id, tenant=self.tenant, endpoint=outcome.endpoints[0], version=outcome.version,
            step_id="inquire", command_id=f"0.inquired.{outcome.version}", initial=4.0, maximum=300.0, inquiry=True,
        )  # fmt: skip
        return await self.hands.ask(sent)


@pytest.fixture
async def bench(database: Database, tenant: str) -> FhirBench:
    store = CaseStore(database, CIPHER, Tokens(b"t" * 32), FixedClock(NOW))
    definition = await store.register(tenant, CONTENT, definitions.content_hash(CONTENT))
    bundle = samples.request("urn", (samples.item(1, "urn", "97110"), samples.item(2, "urn", "97112")))
    given = replace(message(tenant), resource=bundle)
    given.reply["rail"] = "fhir-pas"
    given.facts["services"] = [{"sequence": 1}, {"sequence": 2}]
    opened = await store.open(opening(given, definition))
    plan, deliveries = Plan(), Deliveries(database, CIPHER)
    ask_by = AskByFhir(cast("Any", SimpleNamespace(cipher=CIPHER, partners=Partners([PLAN]))), deliveries)

    async def rendered(connection: Connection, case: Case, moment: datetime) -> Question:
        return await ask_by(connection, case, moment, PLAN)

    async def sleep(_: float) -> None:
        return

    stage = DeliverStage(
        intents=deliveries, senders={"fhir/plan": plan}, renderers={}, monotonic=lambda: 0.0, sleep=sleep
    )
    steps = CaseActivities(
        cases=store, policy=policy, deliver_stage=stage, ways_back=nobody, lookup_keys=no_keys, clock=FixedClock(NOW)
    )

    async def unexpected(*_: Any) -> None:
        return

    hands = PayerActivities(
        steps=steps,
        deliveries=deliveries,
        deliver_stage=stage,
        render=rendered,
        expect=unexpected,
        clock=FixedClock(NOW),
    )
    inquiries = InquiryActivities(steps=steps, deliveries=deliveries, render=ask_by.inquiry, clock=FixedClock(NOW))
    return FhirBench(
        store, hands, cast("Any", plan), tenant, opened.case_id, definition, inquiries=inquiries, by_fhir=ask_by
    )


async def test_a_process_that_dies_while_it_asks_asks_the_same_and_one_decision_results(bench: FhirBench) -> None:
    asked = await bench.turn("one")
    assert (asked.outcome, asked.endpoints, asked.inquire_after) == ("asked", ("fhir/plan",), SERVER.inquire_seconds)
    bench.plan.answers = [asyncio.CancelledError(), lambda one: decided(one, "A1", "A3")]
    with pytest.raises(asyncio.CancelledError):
        await bench.send(asked)
    assert await bench.turn("one") == asked
    assert (await bench.send(asked)).outcome == "answered"
    assert (await bench.send(asked)).outcome == "answered"
    assert len(bench.plan.got) == 2
    assert len(set(bench.plan.got)) == 1
    assert (await bench.turn("two")).outcome == "A2"
    assert (await bench.turn("two")).outcome == "A2"
    assert await types(bench.store, bench.tenant, bench.case_id) == [
        "CaseOpened", "PayerAsked", "MessageReceived", "DecisionMade"
    ]  # fmt: skip


async def test_an_update_continues_the_claim_that_was_answered(bench: FhirBench) -> None:
    bench.plan.answers = [lambda one: decided(one, "A1", "A3"), lambda one: decided(one, "A1", "A1")]
    await bench.send(await bench.turn())
    await bench.turn()
    update = replace(message(bench.tenant, number=2), type="authorization.update")
    update.reply["rail"] = "fhir-pas"
    update = replace(update, resource=(await bench.store.load(bench.tenant, bench.case_id)).context["resource"])
    update.facts["services"] = [{"sequence": 1}, {"sequence": 2}]
    assert await bench.join(update) in ("joined", "reopened")
    await bench.send(await bench.turn())
    first, second = (wire.parse(data, wire.FHIR_JSON) for data in bench.plan.got)
    assert second["entry"][1] == first["entry"][0]
    assert second["entry"][0]["resource"]["related"][0]["claim"]["reference"] == first["entry"][0]["fullUrl"]
    assert (await bench.turn()).outcome == "A1"


async def test_an_inquiry_that_says_nothing_new_changes_nothing(bench: FhirBench) -> None:
    bench.plan.answers = [
        lambda one: decided(one, "A4", "A4", administrative_reference="REF7"),
        b'{"resourceType":"Parameters"}',
    ]
    await bench.send(await bench.turn())
    assert (await bench.turn()).outcome == "A4"
    assert (await bench.inquire(1)).outcome == "sent"
    assert (await bench.turn()).outcome == "waiting"
    first = wire.parse(bench.plan.got[0], wire.FHIR_JSON)
    same = decided(first, "A4", "A4", after=5, administrative_reference="REF7")
    new = decided(first, "A1", "A4", after=9, administrative_reference="REF7")
    bench.plan.answers = [
        wire.serialize({"resourceType": "Parameters", "parameter": [{"name": "return", "resource": row}]})
        for row in (same, new)
    ]
    assert (await bench.inquire(2)).outcome == "sent"
    assert (await bench.inquire(3)).outcome == "answered"
    assert (await bench.turn()).outcome == "A4"
    kinds = await types(bench.store, bench.tenant, bench.case_id)
    assert kinds.count("PayerTookNote") == 2
    assert kinds.count("DecisionMade") == 2
    bench.plan.answers = [wire.serialize(decided(first, "A1", "A1", after=12))]
    assert (await bench.inquire(4)).outcome == "answered"
    assert (await bench.turn()).outcome == "A1"
    assert (await bench.inquire(5)).outcome == "settled"


async def test_nothing_of_a_person_is_in_what_is_open(bench: FhirBench) -> None:
    await bench.turn()
    async with bench.store.database.transaction(bench.tenant) as connection:
        stream = await events.stream(connection, CIPHER, bench.case_id)
        keys = await connection.fetch("SELECT kind, token FROM workflow.case_keys")
        (row,) = await connection.fetch("SELECT body, attributes FROM workflow.deliveries")
    asked = next(event for event in stream if event.type == "PayerAsked")
    opened = repr([event.data for event in stream]) + repr([dict(key) for key in keys]) + repr(row["attributes"])
    for trace in (asked.sealed or {})["traces"]:
        assert trace not in opened
        assert trace.encode() not in bytes(row["body"])


async def test_a_watch_is_leased_to_one_and_knows_what_is_missing(database: Database, tenant: str) -> None:
    watches = PayerWatches(database, CIPHER)
    watch = await watches.lease(tenant, "plan", NOW, 60)
    assert watch is not None
    assert await watches.lease(tenant, "plan", NOW, 60) is None
    assert await watches.lease(tenant, "plan", NOW + timedelta(seconds=61), 60) is not None
    await watches.made(watch, "s1", "requested", NOW)

    async def now() -> tuple[str, int, bool]:
        found = await watches.find(tenant, "plan")
        assert found is not None
        return found.status, found.events, found.behind

    await watches.heard(watch, [], 0, NOW)
    assert await now() == ("active", 0, False)
    for number in (1, 2, 2):
        await watches.heard(watch, [number], number, NOW)
    assert await now() == ("active", 2, False)
    await watches.looked(watch, "active", 3, NOW)
    assert await now() == ("active", 2, False)  # the third may be on its way
    await watches.looked(watch, "active", 3, NOW)
    assert await now() == ("active", 2, True)
    await watches.caught_up(watch)
    assert await now() == ("active", 3, False)
    await watches.heard(watch, [5], 5, NOW)
    assert await now() == ("active", 5, True)
    await watches.caught_up(watch)
    await watches.heard(watch, [], 6, NOW)  # a heartbeat that counts one we have not seen
    assert await now() == ("active", 6, True)
    await watches.lost(watch, "error", NOW)
    await watches.made(replace(watch, made_at=NOW), "s2", "requested", NOW)
    assert await now() == ("requested", 0, True)
    await watches.keep_news(watch, "https://plan.example/ClaimResponse/1", NOW)
    await watches.keep_news(watch, "https://plan.example/ClaimResponse/1", NOW)
    (news,) = await watches.news(watch)
    assert news.focus.endswith("/1")
    await watches.drop_news(watch, news.digest)
    assert await watches.news(watch) == []


async def test_documents_go_to_the_payer_under_its_own_numbers(bench: FhirBench) -> None:
    wanted = ({"loinc": "34117-2", "line": "1"},)
    bench.plan.answers = [
        lambda one: decided(one, "A4", "A4", administrative_reference="R7", requested_information=wanted)
    ]
    await bench.send(await bench.turn())
    assert (await bench.turn()).outcome == "A4"
    brought: Element = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "TrackingId", "valueIdentifier": {"value": "unasked"}},
            {"name": "AttachTo", "valueCode": "preauthorization"},
            {"name": "MemberId", "valueIdentifier": {"value": "m"}},
            {"name": "Attachment", "part": [{"name": "Content", "resource": document("").content}]},
        ],
    }
    async with bench.store.database.transaction(bench.tenant) as connection:
        case = await bench.store.lock(connection, bench.case_id)
        stream = await events.stream(connection, CIPHER, bench.case_id)
        decision = next(one.sealed for one in stream if one.type == "DecisionMade")
        assert decision is not None
        (row,) = decision["decision"]["requested_information"]
        brought["parameter"][0] = {
            "name": "TrackingId",
            "valueIdentifier": {"value": control_number(bench.case_id, row)},
        }
        rows = list(documents_of([(9, "authorization.attachment", brought)]))
        (parcel,) = parcels(rows, [from_json(decision["decision"])], everything=False)
        shipment = await bench.ask_by.documents(connection, case, stream, newest_ask(stream), parcel)
    made = shipment.outbound
    assert shipment.carried == 1
    assert (made.endpoint, made.attributes) == ("fhir/plan", {"path": "$submit-attachment"})
    sent = read_attachment(wire.parse(made.data, wire.FHIR_JSON))
    assert (sent.tracking_id, sent.admin_reference) == (row["controlNumber"], "R7")
    assert sent.member_id != "m"
