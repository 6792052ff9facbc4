"""The contract of the envelope ledger and the control-number allocator. Run it on any implementation:

class TestPostgresLedger(EnvelopeLedgerContract):
    @pytest.fixture
    async def ledger(self, …): …
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from adapters.x12.wire.ports import EnvelopeLedger, NumberAllocator

NOW = datetime(2026, 2, 3, tzinfo=UTC)
KEY = ("CLINIC01", "PLAN01", "000000042", "T")


class EnvelopeLedgerContract:
    """Give a fixture `ledger`: an empty EnvelopeLedger."""

    async def test_the_first_reception_is_new(self, ledger: EnvelopeLedger) -> None:
        assert (await ledger.register("t", KEY, "aa", NOW, 400)).status == "new"

    async def test_the_same_bytes_before_settling_are_repeated_and_unfinished(self, ledger: EnvelopeLedger) -> None:
        await ledger.register("t", KEY, "aa", NOW, 400)
        again = await ledger.register("t", KEY, "aa", NOW, 400)
        assert (again.status, again.finished) == ("repeated", False)

    async def test_the_same_bytes_after_settling_bring_the_stored_answer(self, ledger: EnvelopeLedger) -> None:
        await ledger.register("t", KEY, "aa", NOW, 400)
        await ledger.finish("t", KEY, "aa", b"TA1")
        again = await ledger.register("t", KEY, "aa", NOW, 400)
        assert (again.status, again.finished, again.acknowledgement) == ("repeated", True, b"TA1")

    async def test_an_answer_that_was_none_stays_none(self, ledger: EnvelopeLedger) -> None:
        await ledger.register("t", KEY, "aa", NOW, 400)
        await ledger.finish("t", KEY, "aa", None)
        again = await ledger.register("t", KEY, "aa", NOW, 400)
        assert (again.finished, again.acknowledgement) == (True, None)

    async def test_other_bytes_conflict_and_leave_the_first_alone(self, ledger: EnvelopeLedger) -> None:
        await ledger.register("t", KEY, "aa", NOW, 400)
        assert (await ledger.register("t", KEY, "bb", NOW, 400)).status == "conflict"
        assert (await ledger.register("t", KEY, "aa", NOW, 400)).status == "repeated"

    async def test_every_part_of_the_key_and_the_tenant_count(self, ledger: EnvelopeLedger) -> None:
        await ledger.register("t", KEY, "aa", NOW, 400)
        for at in range(4):
            other = tuple("X" if place == at else part for place, part in enumerate(KEY))
            assert (await ledger.register("t", other, "bb", NOW, 400)).status == "new"  # type: ignore[arg-type]
        assert (await ledger.register("u", KEY, "bb", NOW, 400)).status == "new"

    async def test_outside_the_window_a_number_is_free_again(self, ledger: EnvelopeLedger) -> None:
        await ledger.register("t", KEY, "aa", NOW, 400)
        assert (await ledger.register("t", KEY, "bb", NOW + timedelta(days=399), 400)).status == "conflict"
        assert (await ledger.register("t", KEY, "bb", NOW + timedelta(days=401), 400)).status == "new"

    async def test_of_many_at_once_exactly_one_is_new(self, ledger: EnvelopeLedger) -> None:
        results = await asyncio.gather(*(ledger.register("t", KEY, "aa", NOW, 400) for _ in range(8)))
        assert sorted(one.status for one in results) == ["new", *["repeated"] * 7]


class NumberAllocatorContract:
    """Give a fixture `numbers`: a fresh NumberAllocator; and `near_the_end`: one whose next number is 999999998."""

    async def test_numbers_rise_from_one(self, numbers: NumberAllocator) -> None:
        assert [await numbers.allocate("t", "P", "C", "interchange") for _ in range(3)] == [1, 2, 3]

    async def test_levels_partners_identities_and_tenants_count_apart(self, numbers: NumberAllocator) -> None:
        await numbers.allocate("t", "P", "C", "interchange")
        assert await numbers.allocate("t", "P", "C", "group") == 1
        assert await numbers.allocate("t", "P", "D", "interchange") == 1
        assert await numbers.allocate("t", "Q", "C", "interchange") == 1
        assert await numbers.allocate("u", "P", "C", "interchange") == 1

    async def test_a_block_is_taken_whole(self, numbers: NumberAllocator) -> None:
        assert await numbers.allocate("t", "P", "C", "group", 5) == 1
        assert await numbers.allocate("t", "P", "C", "group") == 6

    async def test_many_workers_never_share_a_number(self, numbers: NumberAllocator) -> None:
        async def worker() -> list[int]:
            return [await numbers.allocate("t", "P", "C", "interchange") for _ in range(100)]

        taken = [number for block in await asyncio.gather(*(worker() for _ in range(8))) for number in block]
        assert len(set(taken)) == 800

    async def test_after_the_last_number_follows_one(self, near_the_end: NumberAllocator) -> None:
        numbers = [await near_the_end.allocate("t", "P", "C", "interchange") for _ in range(3)]
        assert numbers == [999_999_998, 999_999_999, 1]
