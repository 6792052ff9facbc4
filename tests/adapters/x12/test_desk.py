"""The interchange desk with ledger and allocator; and both against their contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest
from pydantic import ValidationError

from adapters.x12.inbound import Desk
from adapters.x12.outbound import file_name, outbound, render
from adapters.x12.settings import AcknowledgementSettings, PartnerProfile, X12Settings, find_partner
from adapters.x12.wire import InterchangeReport, guide, read
from tests.adapters.x12.contract import EnvelopeLedgerContract, NumberAllocatorContract
from tests.adapters.x12.fakes import MemoryLedger, MemoryNumbers
from tests.adapters.x12.samples import NOW, claims, review_request

CLINIC = PartnerProfile(name="clinic-1", sender="CLINIC01", receiver="PLAN01", usage="T")


class TestMemoryLedger(EnvelopeLedgerContract):
    @pytest.fixture
    def ledger(self) -> MemoryLedger:
        return MemoryLedger()


class TestMemoryNumbers(NumberAllocatorContract):
    @pytest.fixture
    def numbers(self) -> MemoryNumbers:
        return MemoryNumbers()

    @pytest.fixture
    def near_the_end(self) -> MemoryNumbers:
        return MemoryNumbers(start=999_999_997)


def reports(data: bytes) -> list[InterchangeReport]:
    return [event for event in read([data]) if isinstance(event, InterchangeReport)]


def desk(*partners: PartnerProfile) -> Desk:
    return Desk(partners or (CLINIC,), MemoryLedger(), MemoryNumbers())


def source(text: str, size: int = 1000) -> Callable[[], Iterable[bytes]]:
    data = text.encode()
    return lambda: (data[at : at + size] for at in range(0, len(data), size))


async def answered(one: Desk, text: str) -> tuple[int, list[bytes]]:
    """(units published, answers)."""
    verdict = await one.judge(source(text), "tenant", NOW)
    published = sum(1 for _ in one.accepted_units(source(text), verdict))
    return published, [answer.data for answer in await one.settle(source(text), verdict, NOW)]


async def test_an_accepted_file_is_published_then_answered() -> None:
    published, (implementation, of_claims) = await answered(desk(), claims(3))
    assert published == 3
    assert b"AK9*A*1*1*1~" in implementation
    assert of_claims.count(b"~STC*A2:20:PR*") == 3
    numbers = [report.header.control_number for report in reports(implementation + of_claims)]
    assert numbers == ["000000001", "000000002"]


async def test_the_same_bytes_again_bring_the_same_answer_and_no_second_publication() -> None:
    one = desk()
    _, first = await answered(one, claims(2))
    assert len(first) == 2
    assert await answered(one, claims(2)) == (0, first)


async def test_a_claim_with_business_errors_is_refused_in_the_277ca_and_not_published() -> None:
    text = claims(3).replace("C0000002*60*", "C0000002*61*")
    one = desk()
    verdict = await one.judge(source(text), "tenant", NOW)
    assert [unit.ordinal for unit in one.accepted_units(source(text), verdict)] == [1, 3]
    implementation, of_claims = [answer.data for answer in await one.settle(source(text), verdict, NOW)]
    assert b"IK5*E*5~" in implementation
    assert [part.split(b"*")[1] for part in of_claims.split(b"~") if part.startswith(b"STC*A") and b"*U*" in part] == [
        b"A7:178"
    ]
    assert of_claims.count(b"~STC*A2:20:PR*") == 2


async def test_a_partner_without_277ca_has_its_claims_taken_as_its_999_says() -> None:
    quiet = CLINIC.model_copy(update={"acknowledgements": AcknowledgementSettings(claim=False)})
    text = claims(3).replace("C0000002*60*", "C0000002*61*")
    published, (implementation,) = await answered(desk(quiet), text)
    assert published == 3
    assert b"IK5*E*5~" in implementation


async def test_a_partner_without_999_still_gets_its_277ca() -> None:
    policy = AcknowledgementSettings(implementation=False, ta1="refused")
    one = desk(CLINIC.model_copy(update={"acknowledgements": policy}))
    published, (of_claims,) = await answered(one, claims(1))
    assert published == 1
    assert b"ST*277*" in of_claims


async def test_others_are_served_while_a_long_file_is_read_and_answered() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    text, one = claims(1500), desk()
    task = asyncio.create_task(others())
    verdict = await one.judge(source(text, 1 << 18), "tenant", NOW)
    read, turns = turns, 0
    _, of_claims = await one.settle(source(text, 1 << 18), verdict, NOW)
    task.cancel()
    assert of_claims.data.count(b"~STC*A2:20:PR*") == 1500
    assert read > 5, "a reading in the loop lets nobody else run"
    assert turns > 10, "so does a writing"


@pytest.mark.parametrize(
    "text",
    [claims(2).replace("IEA*1*", "IEA*2*"), claims(2).replace("*60*", "**"), claims(2).replace("GE*1*", "GE*2*")],
)
async def test_what_the_999_or_ta1_refused_has_no_277ca(text: str) -> None:
    published, answers = await answered(desk(), text)
    assert published == 0
    assert [b"ST*277*" in answer for answer in answers] == [False]


async def test_each_set_and_group_of_claims_is_answered_in_one_interchange() -> None:
    text = claims(2)
    body = text[text.index("ST*") : text.index("GE*")]
    group = text[text.index("GS*") : text.index("IEA*")]
    second = group.replace("*CLINIC01*", "*BRANCH02*").replace("*42*", "*43*").replace("GE*1*42", "GE*1*43")
    two_sets = group.replace(body, body + body.replace("*0001", "*0002")).replace("GE*1*", "GE*2*")
    published, (_, of_claims) = await answered(
        desk(), text.replace(group, two_sets + second).replace("IEA*1*", "IEA*2*")
    )
    assert published == 6
    (report,) = reports(of_claims)
    assert report.outcome == "accepted"
    assert [(one.sender, one.receiver, len(one.transactions)) for one in report.groups] == [
        ("PLAN01", "CLINIC01", 2),
        ("PLAN01", "BRANCH02", 1),
    ]


async def test_a_profile_that_lets_invalid_claims_in_still_answers_with_a_999() -> None:
    lax = CLINIC.model_copy(update={"edits": {"1": "error"}})
    text = claims(1).replace("*C0000001*60*", "**60*")
    one = desk(lax)
    verdict = await one.judge(source(text), "tenant", NOW)
    (answer,) = await one.settle(source(text), verdict, NOW)
    assert b"IK5*E*5~" in answer.data
    assert verdict.unanswered == 1


async def test_an_unfinished_reception_is_published_again() -> None:
    one = desk()
    await one.judge(source(claims(2)), "tenant", NOW)
    assert (await answered(one, claims(2)))[0] == 2


async def test_other_bytes_under_a_used_number_are_refused() -> None:
    one = desk()
    await answered(one, claims(2))
    published, (answer,) = await answered(one, claims(1))
    assert published == 0
    assert b"*R*025~" in answer
    assert b"GS*" not in answer


async def test_one_interchange_twice_in_a_file_is_published_once_and_answered_alike() -> None:
    published, answers = await answered(desk(), claims(2) + claims(2))
    assert published == 2
    assert len(answers) == 4
    assert answers[:2] == answers[2:]


async def test_two_contents_under_one_number_in_a_file_let_the_first_win() -> None:
    published, (first, of_claims, second) = await answered(desk(), claims(2) + claims(1))
    assert published == 2
    assert b"AK9*A*1*1*1~" in first
    assert b"ST*277*" in of_claims
    assert b"*R*025~" in second
    assert b"GS*" not in second


async def test_a_refused_interchange_takes_no_number() -> None:
    one = desk()
    await answered(one, claims(2).replace("IEA*1*", "IEA*2*"))
    assert (await answered(one, claims(2)))[0] == 2


async def test_a_stranger_is_quarantined_and_not_answered() -> None:
    one = desk()
    text = claims(1).replace("CLINIC01       ", "STRANGER       ")
    verdict = await one.judge(source(text), "tenant", NOW)
    assert [left.reason for left in verdict.quarantined] == ["sender is not a partner"]
    assert verdict.accepted_offsets() == frozenset()
    assert await one.settle(source(text), verdict, NOW) == []


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [("PLAN01         ", "PLAN02         ", b"009"), ("*1*T*:", "*1*P*:", b"020"),
     ("*ZZ*CLINIC01", "*30*CLINIC01", b"005"),
     ("*ZZ*PLAN01", "*30*PLAN01", b"007")],
)  # fmt: skip
async def test_addresses_that_the_profile_does_not_know_are_refused(old: str, new: str, code: bytes) -> None:
    published, (answer,) = await answered(desk(), claims(1).replace(old, new, 1))
    assert published == 0
    assert b"*R*" + code + b"~" in answer


async def test_groups_that_are_not_served_for_a_partner_are_refused() -> None:
    partner = CLINIC.model_copy(update={"groups": ["HI"]})
    published, (answer,) = await answered(desk(partner), claims(1))
    assert published == 0
    assert b"AK9*R*1*1*0*1~" in answer


async def test_only_accepted_sets_are_published() -> None:
    text = claims(1)
    body = text[text.index("ST*") : text.index("GE*")]
    bad = body.replace("*60*", "**").replace("*0001", "*0002")
    published, (answer, of_claims) = await answered(desk(), text.replace(body, bad + body).replace("GE*1", "GE*2"))
    assert published == 1
    assert of_claims.count(b"ST*277*") == 1
    assert b"AK9*P*2*2*1~" in answer


async def test_each_sender_in_a_file_gets_its_own_interchange() -> None:
    second = CLINIC.model_copy(update={"name": "clinic-2", "sender": "CLINIC02"})
    one = desk(CLINIC, second)
    text = claims(1) + claims(1).replace("CLINIC01", "CLINIC02")
    verdict = await one.judge(source(text), "tenant", NOW)
    answers = await one.settle(source(text), verdict, NOW)
    assert [(answer.partner, answer.receiver) for answer in answers] == [
        ("clinic-1", "CLINIC01"),
        ("clinic-1", "CLINIC01"),
        ("clinic-2", "CLINIC02"),
        ("clinic-2", "CLINIC02"),
    ]
    for answer in answers:
        assert (b"CLINIC02" in answer.data) == (answer.partner == "clinic-2")
        assert (b"CLINIC01" in answer.data) == (answer.partner == "clinic-1")


async def test_our_own_acknowledgement_fed_back_is_never_answered() -> None:
    here = desk()
    _, (implementation, of_claims) = await answered(here, claims(1))
    there = desk(PartnerProfile(name="plan", sender="PLAN01", receiver="CLINIC01", usage="T"))
    for _ in range(3):
        assert (await answered(there, implementation.decode()))[1] == []
        (answer,) = (await answered(there, of_claims.decode()))[1]
        assert b"ST*277*" not in answer
        assert (await answered(here, answer.decode()))[1] == []


async def test_what_we_send_carries_allocated_numbers_and_a_plain_name() -> None:
    numbers = MemoryNumbers(41)
    sent = await render(guide("278_request"), review_request(), CLINIC, numbers, tenant="tenant", now=NOW)
    assert sent.attributes == {"fileName": "PLAN01_278_000000042_20260203040506.x12"}
    assert sent.idempotency_key == "clinic-1/T/000000042"
    (report,) = (event for event in read([sent.data]) if isinstance(event, InterchangeReport))
    assert (report.outcome, report.header.control_number, report.header.receiver) == (
        "accepted",
        "000000042",
        "CLINIC01",
    )
    again = outbound(sent.data, CLINIC, "278", 42, NOW)
    assert again == sent


def test_file_names_hold_nothing_a_file_system_trips_over() -> None:
    assert file_name("A/../B C", "999", 7, NOW) == "A----B-C_999_000000007_20260203040506.x12"


def test_a_profile_is_found_by_sender_receiver_and_usage() -> None:
    production = CLINIC.model_copy(update={"name": "clinic-1-production", "usage": "P"})
    (report,) = (event for event in read([claims(1).encode()]) if isinstance(event, InterchangeReport))
    assert find_partner([production, CLINIC], report.header) is CLINIC
    assert find_partner([production], report.header) is production
    assert find_partner([], report.header) is None


@pytest.mark.parametrize(
    "bad",
    [{"unknown": 1}, {"sender": "A*B"}, {"sender": ""}, {"separators": {"element": "A"}},
     {"separators": {"element": ":", "component": ":"}}, {"usage": "X"}, {"edits": {"9": "reject"}}],
)  # fmt: skip
def test_profiles_are_closed_and_checked(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PartnerProfile.model_validate({"name": "p", "sender": "A", "receiver": "B"} | bad)


def test_two_profiles_may_not_be_the_same() -> None:
    with pytest.raises(ValidationError):
        X12Settings(partners=[CLINIC, CLINIC.model_copy(update={"name": "other"})])
