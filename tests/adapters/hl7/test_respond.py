"""The fast lane: a sender that waits on its line gets the business answer in time, else what the codec says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.app import hl7
from gateway.core.envelope import Envelope, Intake, Reception
from gateway.core.errors import GatewayError, MessageConflict, Unmappable
from gateway.core.ids import new_id
from gateway.core.ports import Accepted, Decision, ItemDecision
from gateway.partners import Partners
from gateway.testing import FixedClock

NOW = FixedClock()
APPROVED = Decision(case_id="c", version=2, decided_at=NOW(), action="A1", items=[ItemDecision(sequence=1, action="A1")], authorization_number="A-1")  # fmt: skip  # noqa: E501


class Taken:
    """An Accept that remembers; nothing is tokenized."""

    def __init__(self) -> None:
        self.intakes: list[Intake] = []

    async def __call__(self, intake: Intake, reception: Reception) -> Accepted:
        self.intakes.append(intake)
        names = {"subject": "s", "key": "k", "dedupe_key": "d", "correlation_id": "c", "body_sha256": intake.raw.sha256}
        envelope = Envelope(
            id=new_id(reception.received_at), type=intake.type, source=reception.source, tenant=reception.tenant,
            time=reception.received_at, format=intake.format, facts=intake.facts, resource=intake.resource, ledger={},
            raw=intake.raw, reply=intake.reply, **names,
        )  # fmt: skip
        return Accepted(envelope=envelope, topic="t", partition=0, offset=len(self.intakes))


class Lane:
    """A Decide that knows its answer."""

    def __init__(self, answer: Decision | GatewayError | None, seconds: float = 0) -> None:
        self.answer, self.seconds, self.asked = answer, seconds, list[float]()

    async def __call__(self, envelope: Envelope, *, timeout: float) -> Decision | None:
        self.asked.append(timeout)
        await asyncio.sleep(self.seconds)
        if isinstance(self.answer, GatewayError):
            raise self.answer
        return self.answer


def request(control: str, ask: str = "", kind: str = "RQA^I08") -> bytes:
    text = (
        f"MSH|^~\\&|EHR|HOSP|GW|PAYER|20260301101500||{kind}|{control}|P|2.5.1{ask}\r"
        "RF1|P|R|MED||O|T-1\rPRD|RP|LOPEZ^EVA|||||1234567893^NPI\rPID|1||7^^^HOSP^MR||DOE^JANE||19700101|F\r"
        "PR1|1||72148^MRI^C4||20260305\rAUT|PPO|ACME|Acme|20260305|20260405|||2\r"
    )
    return text.encode()


async def start(listen: Any, lane: Lane, accept: Taken, waits: float = 12) -> Any:
    codec = hl7.codec(Partners(), waits=waits)
    return await listen(accept, codec=codec, respond=hl7.responder(lane, waits))


async def test_the_decision_is_the_answer_and_the_same_again(listen: Any, connect: Any) -> None:
    accept, lane = Taken(), Lane(APPROVED)
    client = await connect(await start(listen, lane, accept))
    await client.send(request("R1"))
    answer = await client.answer()
    assert b"|RPA^I08^RPA_I08|" in answer.split(b"\r")[0]
    assert b"\rMSA|AA|R1\rRF1|A^Accepted^HL70283|" in answer
    await client.send(request("R1"))
    assert await client.answer() == answer
    assert len(accept.intakes) == 1
    assert accept.intakes[0].reply["lane"] == "fast"
    assert lane.asked == [12]


@pytest.mark.parametrize("missing", [None, Unmappable("our fault")])
async def test_without_a_decision_it_is_pended_never_refused(
    listen: Any, connect: Any, missing: GatewayError | None
) -> None:
    client = await connect(await start(listen, Lane(missing), Taken()))
    await client.send(request("R2"))
    assert b"\rMSA|AA|R2\rRF1|P^Pending^HL70283|" in await client.answer()


async def test_a_conflict_downstream_is_told(listen: Any, connect: Any) -> None:
    client = await connect(await start(listen, Lane(MessageConflict()), Taken()))
    await client.send(request("R3"))
    assert b"|205^" in await client.answer()


@pytest.mark.parametrize(
    "given", [request("R4", "|||AL|AL"), request("R4", "|||NE|NE"), request("R4", kind="ADT^A08"), b"batch"]
)
async def test_who_does_not_wait_is_not_made_to(listen: Any, connect: Any, given: bytes) -> None:
    lane, accept = Lane(APPROVED), Taken()
    client = await connect(await start(listen, lane, accept))
    if given == b"batch":
        given = b"BHS|^~\\&|EHR|HOSP|GW|PAYER|20260301||||B1\r" + request("B1") + request("B2") + b"BTS|2\r"
    await client.send(given, request("R5", kind="ADT^A08"))
    while b"|R5" not in await client.answer():
        pass
    assert lane.asked == []
    assert not any(intake.reply.get("lane") for intake in accept.intakes)


async def test_others_on_the_connection_are_worked_on_meanwhile_and_answers_keep_their_order(
    listen: Any, connect: Any
) -> None:
    accept = Taken()
    client = await connect(await start(listen, Lane(APPROVED, seconds=0.3), accept))
    await client.send(request("R6"), request("R7", kind="ADT^A08"))
    await asyncio.sleep(0.15)
    assert len(accept.intakes) == 2
    assert b"|R6\r" in await client.answer()
    assert b"|R7" in await client.answer()
