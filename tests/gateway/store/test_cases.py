"""Opening cases: the inbox settles what a message is, once and for all; a person's identifiers lie sealed."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from gateway.core.envelope import Envelope
from gateway.core.errors import ConcurrencyError, OwnError
from gateway.infra.postgres import SYSTEM, Database
from gateway.security.cipher import DerivedKeys, EnvelopeCipher
from gateway.security.tokens import Tokens
from gateway.stages.start import Definition, Opened, Opening, keys_of
from gateway.store import events
from gateway.store.cases import CaseStore
from gateway.store.relay import VIEW, LogReader, case_view
from gateway.testing import FixedClock
from tests.gateway.stages.fakes import MARKER, NOW, envelope
from workflows import definitions

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

CIPHER = EnvelopeCipher(DerivedKeys({"k1": b"1" * 32}, "k1"))
CONTENT = definitions.load()["prior_authorization"]


@pytest.fixture
def store(database: Database) -> CaseStore:
    return CaseStore(database, CIPHER, Tokens(b"t" * 32), FixedClock(NOW))


@pytest.fixture
async def definition(store: CaseStore, tenant: str) -> Definition:
    return await store.register(tenant, CONTENT, definitions.content_hash(CONTENT))


def message(tenant: str, subject: str = "s1", number: int = 1, **given: Any) -> Envelope:
    return envelope(
        id=str(uuid.uuid4()),
        tenant=tenant,
        subject=f"{tenant}-{subject}",
        dedupe_key=f"{tenant}-{number}",
        facts={"coverage.memberId": MARKER, "request.traceNumber": f"T-{number}"},
        **given,
    )


def opening(given: Envelope, definition: Definition, **more: Any) -> Opening:
    values: dict[str, Any] = {
        "envelope": given,
        "definition": definition,
        "priority": "standard",
        "due_at": NOW + timedelta(days=7),
        "lane": "batch",
        "keys": keys_of(given.facts),
        "opens": True,
    }
    return Opening(**values | more)


async def close(store: CaseStore, tenant: str, case_id: str, status: str = "completed") -> None:
    async with store.database.transaction(tenant) as connection:
        case = await store.lock(connection, case_id)
        closed = events.NewEvent(type="CaseClosed", data={"status": status, "action": "A1"})
        await store.record(connection, case, [closed], command_id=f"{case.version}.close", status=status)


async def types(store: CaseStore, tenant: str, case_id: str) -> list[str]:
    async with store.database.transaction(tenant) as connection:
        return [event.type for event in await events.stream(connection, CIPHER, case_id)]


async def test_a_new_message_opens_a_case(store: CaseStore, tenant: str, definition: Definition) -> None:
    given = message(tenant)
    opened = await store.open(opening(given, definition))
    assert (opened.outcome, opened.version, opened.run) == ("opened", 1, 0)
    case = await store.load(tenant, opened.case_id)
    assert (case.status, case.version, case.due_at) == ("opened", 1, NOW + timedelta(days=7))
    assert case.context["facts"] == given.facts
    assert await types(store, tenant, opened.case_id) == ["CaseOpened"]


async def test_a_resend_is_known_and_changes_nothing(store: CaseStore, tenant: str, definition: Definition) -> None:
    first = await store.open(opening(message(tenant), definition))
    again = await store.open(opening(message(tenant), definition))
    assert (again.outcome, again.case_id) == ("known", first.case_id)
    assert (await store.load(tenant, first.case_id)).version == 1


async def test_a_resend_after_the_end_is_known_too(store: CaseStore, tenant: str, definition: Definition) -> None:
    """Temporal forgets a workflow after its retention; the inbox does not."""
    first = await store.open(opening(message(tenant), definition))
    await close(store, tenant, first.case_id)
    assert (await store.open(opening(message(tenant), definition))).outcome == "known"


async def test_the_same_key_with_another_body_is_a_conflict(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    first = await store.open(opening(message(tenant), definition))
    other = await store.open(opening(message(tenant, body_sha256="cd" * 32), definition))
    assert (other.outcome, other.case_id) == ("conflict", first.case_id)
    assert await types(store, tenant, first.case_id) == ["CaseOpened"]


async def test_of_twenty_copies_at_once_one_opens(store: CaseStore, tenant: str, definition: Definition) -> None:
    results = await asyncio.gather(*(store.open(opening(message(tenant), definition)) for _ in range(20)))
    assert Counter(result.outcome for result in results) == {"opened": 1, "known": 19}
    assert len({result.case_id for result in results}) == 1


async def test_a_further_message_joins_and_is_what_the_case_now_is(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    first = await store.open(opening(message(tenant), definition))
    second = message(tenant, number=2, kind="authorization.update")
    joined = await store.open(opening(second, definition, opens=False))
    assert (joined.outcome, joined.case_id, joined.version) == ("joined", first.case_id, 2)
    case = await store.load(tenant, first.case_id)
    assert (case.version, case.context["facts"]["request.traceNumber"]) == (2, "T-2")
    assert await types(store, tenant, first.case_id) == ["CaseOpened", "MessageReceived"]


async def test_twenty_messages_join_one_after_the_other(store: CaseStore, tenant: str, definition: Definition) -> None:
    first = await store.open(opening(message(tenant), definition))
    results = await asyncio.gather(
        *(store.open(opening(message(tenant, number=number), definition)) for number in range(2, 22))
    )
    assert sorted(result.version for result in results) == list(range(2, 22))
    assert {result.case_id for result in results} == {first.case_id}


async def test_a_message_after_the_end_reopens_as_another_run(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    first = await store.open(opening(message(tenant), definition))
    await close(store, tenant, first.case_id)
    again = await store.open(opening(message(tenant, number=2), definition, lane="fast"))
    assert (again.outcome, again.case_id, again.version, again.run) == ("reopened", first.case_id, 3, 3)
    third = await store.open(opening(message(tenant, number=3), definition))
    assert (third.outcome, third.run) == ("joined", 3)


async def test_an_orphan_joins_when_it_is_replayed_after_its_case_came(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    lonely = opening(message(tenant, kind="authorization.update"), definition, opens=False)
    for _ in range(2):  # a crash before it was parked, and the same record again
        assert (await store.open(lonely)).outcome == "orphan"
    assert await store.find(tenant, "member", (MARKER,)) == []
    first = await store.open(opening(message(tenant, number=2), definition))
    joined = await store.open(lonely)
    assert (joined.outcome, joined.case_id, joined.version) == ("joined", first.case_id, 2)


async def test_a_record_redelivered_after_it_joined_is_told_again(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    """Its starter died between the commit and the signal: without this the workflow would never hear of it."""
    await store.open(opening(message(tenant), definition))
    update = opening(message(tenant, number=2, kind="authorization.update"), definition, opens=False)
    first, again = await store.open(update), await store.open(update)
    assert first.outcome == "joined"
    assert again == first
    resent = opening(message(tenant, number=2, kind="authorization.update"), definition, opens=False)
    known = await store.open(resent)
    assert (known.outcome, known.version) == ("known", first.version)
    await close(store, tenant, first.case_id)
    reopened = await store.open(opening(message(tenant, number=3), definition))
    assert reopened.outcome == "reopened"
    assert (await store.open(update)).outcome == "known"  # the new run began with it


async def test_a_message_finds_its_case_by_the_strongest_key(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    one = await store.open(opening(message(tenant, "s1", 1), definition))
    two = await store.open(opening(message(tenant, "s2", 2), definition))
    parents = (("trace", ("T-1",)), ("member", (MARKER,)))
    update = message(tenant, "another-subject", 3, kind="authorization.update")
    joined = await store.open(opening(update, definition, opens=False, parents=parents))
    assert (joined.outcome, joined.case_id, joined.subject) == ("joined", one.case_id, f"{tenant}-s1")
    newest = message(tenant, "another-subject", 4, kind="authorization.update")
    joined = await store.open(opening(newest, definition, opens=False, parents=parents[1:]))
    assert joined.case_id in (one.case_id, two.case_id)


async def test_an_answer_that_several_open_cases_wait_for_is_nobodys_unless_it_says_more(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    """Two requests with one trace number at one payer."""
    shared, own = ("asked", ("plan", "9", "T-1")), ("asked", ("plan", "", "B-2"))
    one = await store.open(opening(message(tenant, "s1", 1), definition, keys=(shared,)))
    two = await store.open(opening(message(tenant, "s2", 2), definition, keys=(shared, own)))

    async def answered(number: int, *parents: Any) -> Opened:
        given = message(tenant, "answer", number, kind="authorization.response")
        return await store.open(opening(given, definition, opens=False, parents=parents))

    assert (await answered(3, shared)).outcome == "orphan"
    assert (await answered(4, shared, own)).case_id == two.case_id
    await close(store, tenant, two.case_id)
    assert (await answered(5, shared)).case_id == one.case_id
    await close(store, tenant, one.case_id)
    assert (await answered(6, shared)).outcome == "reopened"


async def test_tenants_have_cases_of_their_own(store: CaseStore, tenant: str, definition: Definition) -> None:
    other = f"{tenant}-b"
    theirs = await store.register(other, CONTENT, definition.hash)
    one = await store.open(opening(message(tenant), definition))
    two = await store.open(opening(message(other), theirs))
    assert (one.outcome, two.outcome) == ("opened", "opened")
    assert await store.find(tenant, "member", (MARKER,)) == [one.case_id]
    with pytest.raises(LookupError):
        await store.load(tenant, two.case_id)


async def test_nothing_that_names_a_person_lies_open(store: CaseStore, tenant: str, definition: Definition) -> None:
    opened = await store.open(opening(message(tenant), definition))
    async with store.database.transaction(SYSTEM) as connection:
        tables = await connection.fetch(
            "SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = 'workflow' AND column_name = 'tenant'"
        )
        rows = [
            repr(dict(row))
            for table in tables
            for row in await connection.fetch(f"SELECT * FROM workflow.{table[0]} WHERE tenant = $1", tenant)
        ]
    assert len(rows) >= 5
    assert [row for row in rows if MARKER in row] == []
    assert opened.case_id in "".join(rows)


async def test_a_stale_command_is_refused(store: CaseStore, tenant: str, definition: Definition) -> None:
    opened = await store.open(opening(message(tenant), definition))
    stale = await store.load(tenant, opened.case_id)
    await close(store, tenant, opened.case_id)
    late = [events.NewEvent(type="Late", data={})]
    with pytest.raises(ConcurrencyError):
        async with store.database.transaction(tenant) as connection:
            await store.record(connection, stale, late, command_id="late", status="running")


async def test_a_command_is_carried_out_once(store: CaseStore, tenant: str, definition: Definition) -> None:
    opened = await store.open(opening(message(tenant), definition))
    done = [
        events.NewEvent(type="TaskClosed", data={"outcome": "closed"}),
        events.NewEvent(type="CaseClosed", data={"status": "completed", "action": "A1"}),
    ]
    async with store.database.transaction(tenant) as connection:
        case, known = await store.lock_for(connection, opened.case_id, "0.decide.1")
        assert known is None
        version = await store.record(
            connection, case, done, command_id="0.decide.1", status="completed", keys=(("trace", ("X",)),)
        )
    async with store.database.transaction(tenant) as connection:
        case, known = await store.lock_for(connection, opened.case_id, "0.decide.1")
    assert known is not None
    assert (version, case.version, case.status, known.version, known.type) == (3, 3, "completed", 2, "TaskClosed")
    assert await store.find(tenant, "trace", ("X",)) == [opened.case_id]
    async with store.database.transaction(tenant) as connection:
        assert (await store.lock_for(connection, opened.case_id, "0.decide.2"))[1] is None
        with pytest.raises(LookupError):
            await store.lock_for(connection, str(uuid.uuid4()), "0.decide.1")


async def test_two_executions_of_a_command_at_once_record_it_once(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    """The one that waits for the other's lock may have looked for the command before: the index on commands refuses."""
    opened = await store.open(opening(message(tenant), definition))

    async def carry_out() -> str:
        async with store.database.transaction(tenant) as connection:
            case, known = await store.lock_for(connection, opened.case_id, "0.decide.1")
            if known is None:
                await asyncio.sleep(0.05)
                event = events.NewEvent(type="TaskClosed", data={})
                await store.record(connection, case, [event], command_id="0.decide.1", status="running")
            return "known" if known else "recorded"

    found = await asyncio.gather(*(carry_out() for _ in range(5)), return_exceptions=True)
    assert [one for one in found if one == "recorded"] == ["recorded"]
    assert all(one in ("recorded", "known") or isinstance(one, ConcurrencyError) for one in found)
    assert await carry_out() == "known"
    assert await types(store, tenant, opened.case_id) == ["CaseOpened", "TaskClosed"]


async def test_what_has_opened_a_case_is_settled(store: CaseStore, tenant: str, definition: Definition) -> None:
    first, second, unseen = message(tenant), message(tenant, number=2), message(tenant, "s2", 3)
    for given in (first, second):
        await store.open(opening(given, definition))
    asked = [(one.tenant, one.source, one.dedupe_key, one.id) for one in (first, second, unseen)]
    # The second one joined: its workflow may not have been told of it yet.
    assert await store.settled(asked) == [True, False, False]
    assert await store.settled([(first.tenant, first.source, first.dedupe_key, str(uuid.uuid4()))]) == [False]
    assert await store.settled([]) == []


@pytest.mark.parametrize("name", ["o'hara", "a\\'; DROP", "ü*"])
async def test_a_tenant_may_be_called_anything(store: CaseStore, tenant: str, name: str) -> None:
    async with store.database.transaction(f"{tenant}{name}") as connection:
        assert await connection.fetchval("VALUES (current_setting('gateway.tenant'))") == f"{tenant}{name}"
    with pytest.raises(OwnError):
        async with store.database.transaction("a\0b"):
            pass


async def test_a_failed_transaction_leaves_its_connection_clean(store: CaseStore, tenant: str) -> None:
    async def failing() -> None:
        async with store.database.transaction(tenant):
            raise LookupError

    for _ in range(20):
        with pytest.raises(LookupError):
            await failing()
        async with store.database.transaction("other") as connection:
            assert await connection.fetchval("VALUES (current_setting('gateway.tenant'))") == "other"


async def test_opened_but_never_started_cases_are_found(store: CaseStore, tenant: str, definition: Definition) -> None:
    opened = await store.open(opening(message(tenant), definition))
    found = {case.case_id: case for case in await store.stranded(0.0, limit=10_000)}
    assert found[opened.case_id].definition == definition
    assert found[opened.case_id].subject == f"{tenant}-s1"
    assert opened.case_id not in {case.case_id for case in await store.stranded(60.0, limit=10_000)}
    await close(store, tenant, opened.case_id)
    assert opened.case_id not in {case.case_id for case in await store.stranded(0.0, limit=10_000)}


async def test_a_definition_does_not_change_under_its_version(store: CaseStore, tenant: str) -> None:
    digest = definitions.content_hash(CONTENT)
    first = await store.register(tenant, CONTENT, digest)
    assert await store.register(tenant, CONTENT, digest) == first
    changed = CONTENT | {"title": "changed"}
    with pytest.raises(ConcurrencyError):
        await store.register(tenant, changed, definitions.content_hash(changed))


async def decided(store: CaseStore, tenant: str, case_id: str, action: str) -> None:
    async with store.database.transaction(tenant) as connection:
        case = await store.lock(connection, case_id)
        data = {"action": action, "final": action != "A4"}
        made = events.NewEvent(
            type="DecisionMade", data=data, sealed={"decision": {"action": action}}, step_id="decide"
        )
        await store.record(
            connection, case, [made], command_id=f"{case.version}.decide", status="running", action=action
        )


async def test_the_newest_decision_after_a_version(store: CaseStore, tenant: str, definition: Definition) -> None:
    opened = await store.open(opening(message(tenant), definition))
    assert await store.newest_decision(tenant, opened.case_id) is None
    await decided(store, tenant, opened.case_id, "A4")
    await decided(store, tenant, opened.case_id, "A1")
    assert await store.newest_decision(tenant, opened.case_id) == {"action": "A1"}
    assert await store.newest_decision(tenant, opened.case_id, after=2) == {"action": "A1"}
    assert await store.newest_decision(tenant, opened.case_id, after=3) is None


async def test_the_read_model_is_rebuilt_byte_for_byte(store: CaseStore, tenant: str, definition: Definition) -> None:
    for number in range(5):
        opened = await store.open(opening(message(tenant, f"s{number}", number), definition))
        await decided(store, tenant, opened.case_id, ("A1", "A4")[number % 2])
        if number % 3 == 0:
            await close(store, tenant, opened.case_id)
    reader = LogReader(database=store.database, cipher=CIPHER, name="case_view", apply=case_view)
    await reader.create()

    async def content() -> list[str]:
        while await reader.step():
            pass
        async with store.database.transaction(tenant) as connection:
            return [repr(tuple(row.values())) for row in await connection.fetch(VIEW.everything)]

    first = await content()
    async with store.database.transaction(SYSTEM) as connection:
        await connection.execute(VIEW.clear)
    assert await content() == []
    await reader.reset()
    assert await content() == first
    await reader.reset()
    assert await content() == first  # applied again over what is there
    assert len(first) == 5
    assert Counter(row.count("'completed'") for row in first) == {1: 2, 0: 3}
