"""The event store under concurrency: one winner per version, and a reader that misses nothing."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Sequence

import pytest

from gateway.core.errors import ConcurrencyError
from gateway.infra.postgres import SYSTEM, Connection, Database
from gateway.security.cipher import DerivedKeys, EnvelopeCipher
from gateway.store import events
from gateway.store.relay import LogReader
from tests.gateway.stages.fakes import MARKER, NOW

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

CIPHER = EnvelopeCipher(DerivedKeys({"k1": b"1" * 32}, "k1"))


async def write(
    database: Database, tenant: str, case: str, version: int, *, command: str | None = None, delay: float = 0.0
) -> int:
    async with database.transaction(tenant) as connection:
        written = await events.append(
            connection,
            CIPHER,
            tenant=tenant,
            case_id=case,
            expected_version=version,
            events=[events.NewEvent(type="Noted", data={"n": version + 1}, sealed={"facts": {"name": MARKER}})],
            now=NOW,
            command_id=command,
        )
        await asyncio.sleep(delay)
        return written


async def test_of_fifty_writers_one_wins_each_version(database: Database, tenant: str) -> None:
    case = str(uuid.uuid4())
    for version in range(3):
        results = await asyncio.gather(
            *(write(database, tenant, case, version) for _ in range(50)), return_exceptions=True
        )
        assert [result for result in results if not isinstance(result, ConcurrencyError)] == [version + 1]
    async with database.transaction(tenant) as connection:
        stream = await events.stream(connection, CIPHER, case)
    assert [(event.version, event.data["n"]) for event in stream] == [(1, 1), (2, 2), (3, 3)]


async def test_a_command_is_carried_out_once(database: Database, tenant: str) -> None:
    case = str(uuid.uuid4())
    await write(database, tenant, case, 0, command="0.decide.1")
    with pytest.raises(ConcurrencyError):
        await write(database, tenant, case, 1, command="0.decide.1")
    await write(database, tenant, case, 1, command="0.decide.2")
    async with database.transaction(tenant) as connection:
        known = await events.by_command(connection, CIPHER, case, "0.decide.1")
        assert known is not None
        assert (known.version, known.sealed) == (1, {"facts": {"name": MARKER}})
        assert await events.by_command(connection, CIPHER, case, "0.decide.3") is None
        assert await events.by_command(connection, CIPHER, str(uuid.uuid4()), "0.decide.1") is None


async def test_several_events_of_one_command_are_all_or_nothing(database: Database, tenant: str) -> None:
    case = str(uuid.uuid4())
    await write(database, tenant, case, 0)
    await write(database, tenant, case, 1)
    new = [events.NewEvent(type="A", data={}), events.NewEvent(type="B", data={})]
    with pytest.raises(ConcurrencyError):
        async with database.transaction(tenant) as connection:
            await events.append(
                connection, CIPHER, tenant=tenant, case_id=case, expected_version=1, events=new, now=NOW
            )
    async with database.transaction(tenant) as connection:
        assert [event.type for event in await events.stream(connection, CIPHER, case)] == ["Noted", "Noted"]


async def test_what_may_name_a_person_lies_sealed(database: Database, tenant: str) -> None:
    case = str(uuid.uuid4())
    await write(database, tenant, case, 0)
    async with database.transaction(tenant) as connection:
        row = await connection.fetchrow(
            "SELECT * FROM workflow.workflow_events WHERE workflow_id = $1", uuid.UUID(case)
        )
    assert MARKER not in repr(dict(row or {}))


class Follower:
    """A log reader that notes what it was given, in order."""

    def __init__(self, database: Database, name: str, cases: set[str]) -> None:
        self.seen: list[tuple[str, int]] = []
        self.cases = cases
        self.reader = LogReader(database=database, cipher=CIPHER, name=name, apply=self.apply)

    async def apply(self, _connection: Connection, batch: Sequence[events.StoredEvent]) -> None:
        self.seen += [(event.case_id, event.version) for event in batch if event.case_id in self.cases]

    async def follow(self, stop: asyncio.Event) -> None:
        await self.reader.create()
        while True:
            last = stop.is_set()
            while await self.reader.step():
                pass
            if last:
                return
            await asyncio.sleep(0.001)


class Naive:
    """A reader by position alone, as one would first write it."""

    def __init__(self, database: Database, tenant: str, cases: set[str]) -> None:
        self.database, self.tenant, self.cases = database, tenant, cases
        self.position, self.seen = 0, set[tuple[str, int]]()

    async def step(self) -> None:
        async with self.database.transaction(self.tenant) as connection:
            rows = await connection.fetch(
                "SELECT workflow_id, version, position FROM workflow.workflow_events"
                " WHERE position > $1 ORDER BY position",
                self.position,
            )
        for row in rows:
            self.position = row["position"]
            self.seen.add((str(row["workflow_id"]), row["version"]))


async def test_a_reader_by_position_misses_what_commits_late(database: Database, tenant: str) -> None:
    """The hazard, shown: a takes position 1 and commits after b, which took position 2."""
    slow, fast = str(uuid.uuid4()), str(uuid.uuid4())
    naive = Naive(database, tenant, {slow, fast})
    follower = Follower(database, f"follow-{tenant}", {slow, fast})
    await follower.reader.create()
    late = asyncio.create_task(write(database, tenant, slow, 0, delay=1.0))
    await asyncio.sleep(0.2)
    await write(database, tenant, fast, 0)
    await naive.step()
    await follower.reader.step()
    assert naive.seen == {(fast, 1)}
    assert follower.seen == []  # it waits for every older transaction
    await late
    await naive.step()
    await follower.reader.step()
    assert naive.seen == {(fast, 1)}
    assert follower.seen == [(slow, 1), (fast, 1)]


async def test_eight_writers_and_a_reader_that_misses_nothing(database: Database, tenant: str) -> None:
    cases = [str(uuid.uuid4()) for _ in range(8)]
    chance = random.Random(7)
    delays = {case: [chance.choice([0.0, 0.0, 0.002, 0.03]) for _ in range(40)] for case in cases}
    naive, stop = Naive(database, tenant, set(cases)), asyncio.Event()
    follower = Follower(database, f"follow-{tenant}", set(cases))

    async def writer(case: str) -> None:
        for version, delay in enumerate(delays[case]):
            await write(database, tenant, case, version, delay=delay)

    async def impatient() -> None:
        while not stop.is_set():
            await naive.step()
        await naive.step()

    readers = [asyncio.create_task(follower.follow(stop)), asyncio.create_task(impatient())]
    await asyncio.gather(*(writer(case) for case in cases))
    stop.set()
    await asyncio.wait_for(asyncio.gather(*readers), 60)
    wanted = {(case, version) for case in cases for version in range(1, 41)}
    assert sorted(follower.seen) == sorted(wanted)
    for case in cases:
        assert [version for name, version in follower.seen if name == case] == list(range(1, 41))
    assert wanted - naive.seen  # the same writes, read by position alone, lost some


async def test_the_order_is_that_of_numbers(database: Database, tenant: str) -> None:
    """As text 1000 comes before 999: a reader with a full batch would move past events it has not seen."""
    case = uuid.uuid4()
    async with database.transaction(tenant) as connection:
        for version, xid in enumerate(("8", "9", "10", "99", "100"), 1):
            await connection.execute(
                "INSERT INTO workflow.workflow_events (workflow_id, version, xid, tenant, event_type, event_data)"
                " VALUES ($1, $2, $3::text::xid8, $4, 'Noted', '{}')",
                case,
                version,
                xid,
                tenant,
            )
    async with database.transaction(tenant) as connection:
        cursor, seen = ("0", 0), []
        for _ in range(5):
            (event,) = await events.tail(connection, CIPHER, cursor, 1)
            cursor = event.cursor
            seen.append((event.version, cursor[0]))
    assert seen == [(1, "8"), (2, "9"), (3, "10"), (4, "99"), (5, "100")]


async def test_two_runners_of_one_reader_do_not_apply_twice(database: Database, tenant: str) -> None:
    case, stop = str(uuid.uuid4()), asyncio.Event()
    first, second = (Follower(database, f"follow-{tenant}", {case}) for _ in range(2))
    running = [asyncio.create_task(one.follow(stop)) for one in (first, second)]
    for version in range(20):
        await write(database, tenant, case, version)
    await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(asyncio.gather(*running), 30)
    await first.reader.step()
    assert sorted(first.seen + second.seen) == [(case, version) for version in range(1, 21)]


async def test_what_fails_while_applying_is_read_again(database: Database, tenant: str) -> None:
    case, given, attempts = str(uuid.uuid4()), list[int](), 0

    async def apply(_connection: Connection, batch: Sequence[events.StoredEvent]) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ConcurrencyError
        given.extend(event.version for event in batch if event.case_id == case)

    reader = LogReader(database=database, cipher=CIPHER, name=f"failing-{tenant}", apply=apply)
    await reader.create()
    await write(database, tenant, case, 0)
    with pytest.raises(ConcurrencyError):
        await reader.step()
    while await reader.step():
        pass
    assert given == [1]
    assert (await reader.waiting())[0] == 0


async def test_a_long_write_is_seen_as_waiting(database: Database, tenant: str) -> None:
    case = str(uuid.uuid4())
    follower = Follower(database, f"waiting-{tenant}", {case})
    await follower.follow(_set())
    async with database.transaction(SYSTEM) as connection:
        await connection.execute("SELECT pg_current_xact_id()")  # an open writing transaction holds the reader back
        await write(database, tenant, case, 0)
        assert await follower.reader.step() == 0
        unread, oldest = await follower.reader.waiting()
        assert (unread, oldest) == (1, NOW)
    assert await follower.reader.step() == 1


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
