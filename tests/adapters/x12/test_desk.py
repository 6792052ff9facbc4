"""The interchange desk with ledger and allocator; and both against their contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from pydantic import ValidationError

from adapters.x12.inbound import Desk, find_partner
from adapters.x12.outbound import file_name, outbound, render
from adapters.x12.settings import PartnerProfile, X12Settings
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


def desk(*partners: PartnerProfile) -> Desk:
    return Desk(partners or (CLINIC,), MemoryLedger(), MemoryNumbers())


def source(text: str, size: int = 1000) -> Callable[[], Iterable[bytes]]:
    data = text.encode()
    return lambda: (data[at : at + size] for at in range(0, len(data), size))


async def answered(one: Desk, text: str) -> tuple[int, list[bytes]]:
    """(units published, answers)."""
    verdict = await one.judge(source(text), "tenant", NOW)
    published = sum(1 for _ in one.accepted_units(source(text), verdict))
    return published, [answer.data for answer in await one.settle(verdict, NOW)]


async def test_an_accepted_file_is_published_then_answered() -> None:
    published, (answer,) = await answered(desk(), claims(3))
    assert published == 3
    assert b"AK9*A*1*1*1~" in answer


async def test_the_same_bytes_again_bring_the_same_answer_and_no_second_publication() -> None:
    one = desk()
    _, first = await answered(one, claims(2))
    assert await answered(one, claims(2)) == (0, first)


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
    assert b"GS*FA" not in answer


async def test_one_interchange_twice_in_a_file_is_published_once_and_answered_alike() -> None:
    published, (first, second) = await answered(desk(), claims(2) + claims(2))
    assert published == 2
    assert first == second


async def test_two_contents_under_one_number_in_a_file_let_the_first_win() -> None:
    published, (first, second) = await answered(desk(), claims(2) + claims(1))
    assert published == 2
    assert b"AK9*A*1*1*1~" in first
    assert b"*R*025~" in second
    assert b"GS*FA" not in second


async def test_a_refused_interchange_takes_no_number() -> None:
    one = desk()
    await answered(one, claims(2).replace("IEA*1*", "IEA*2*"))
    assert (await answered(one, claims(2)))[0] == 2


async def test_a_stranger_is_quarantined_and_not_answered() -> None:
    one = desk()
    verdict = await one.judge(source(claims(1).replace("CLINIC01       ", "STRANGER       ")), "tenant", NOW)
    assert [left.reason for left in verdict.quarantined] == ["sender is not a partner"]
    assert verdict.accepted_offsets() == frozenset()
    assert await one.settle(verdict, NOW) == []


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
    published, (answer,) = await answered(desk(), text.replace(body, bad + body).replace("GE*1", "GE*2"))
    assert published == 1
    assert b"AK9*P*2*2*1~" in answer


async def test_each_sender_in_a_file_gets_its_own_interchange() -> None:
    second = CLINIC.model_copy(update={"name": "clinic-2", "sender": "CLINIC02"})
    one = desk(CLINIC, second)
    text = claims(1) + claims(1).replace("CLINIC01", "CLINIC02")
    verdict = await one.judge(source(text), "tenant", NOW)
    answers = await one.settle(verdict, NOW)
    assert [(answer.partner, answer.receiver) for answer in answers] == [
        ("clinic-1", "CLINIC01"),
        ("clinic-2", "CLINIC02"),
    ]
    assert b"CLINIC02" not in answers[0].data


async def test_our_own_acknowledgement_fed_back_is_never_answered() -> None:
    here = desk()
    _, (answer,) = await answered(here, claims(1))
    there = desk(PartnerProfile(name="plan", sender="PLAN01", receiver="CLINIC01", usage="T"))
    for _ in range(3):
        assert (await answered(there, answer.decode()))[1] == []


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
