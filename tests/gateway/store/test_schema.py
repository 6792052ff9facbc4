"""What the schema itself guarantees: least privilege, append-only events, tenants that do not see each other."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from typing import Any

import asyncpg
import pytest

from gateway.core.errors import OwnError, Unavailable
from gateway.infra.postgres import SYSTEM, Connection, Database
from gateway.security.cipher import IdentityCipher
from gateway.store import events
from gateway.store.migrations import upgrade
from tests.architecture.tree import ROOT
from tests.gateway.stages.fakes import NOW

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]


async def one_event(connection: Connection, tenant: str, case: str) -> None:
    await events.append(
        connection,
        IdentityCipher(),
        tenant=tenant,
        case_id=case,
        expected_version=0,
        events=[events.NewEvent(type="CaseOpened", data={})],
        now=NOW,
    )


async def owner(postgres: str, statement: str, *given: Any) -> Any:
    connection = await asyncpg.connect(postgres)
    try:
        return await connection.fetch(statement, *given)
    finally:
        await connection.close()


async def test_a_second_migration_changes_nothing(postgres: str) -> None:
    tables = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'workflow' ORDER BY 1, 2"
    )
    before = await owner(postgres, tables)
    await asyncio.to_thread(upgrade, postgres)
    assert await owner(postgres, tables) == before
    assert len({row["table_name"] for row in before}) >= 20


async def test_two_first_starts_at_once_make_one_schema(postgres: str) -> None:
    await owner(postgres, "CREATE DATABASE fresh")
    fresh = postgres.rpartition("/")[0] + "/fresh"
    program = "import os; from gateway.store.migrations import upgrade; upgrade(os.environ['FRESH'])"
    starts = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "FRESH": fresh}
        )
        for _ in range(3)
    ]
    assert [await asyncio.wait_for(start.wait(), 60) for start in starts] == [0, 0, 0]
    assert len(await owner(fresh, "SELECT version_num FROM gateway_schema_version")) == 1


CHANGES = ("UPDATE workflow.workflow_events SET event_type = 'x'", "DELETE FROM workflow.workflow_events")


@pytest.mark.parametrize("change", CHANGES)
async def test_the_application_cannot_change_events(database: Database, tenant: str, change: str) -> None:
    case = str(uuid.uuid4())
    async with database.transaction(tenant) as connection:
        await one_event(connection, tenant, case)
    with pytest.raises(OwnError, match="InsufficientPrivilege"):
        async with database.transaction(tenant) as connection:
            await connection.execute(change)
    async with database.transaction(tenant) as connection:
        assert [event.type for event in await events.stream(connection, IdentityCipher(), case)] == ["CaseOpened"]


@pytest.mark.parametrize("change", CHANGES)
async def test_not_even_the_owner_changes_events(database: Database, postgres: str, tenant: str, change: str) -> None:
    async with database.transaction(tenant) as connection:
        await one_event(connection, tenant, str(uuid.uuid4()))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await owner(postgres, change + " WHERE tenant = $1", tenant)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM workflow.inbox",
        "UPDATE workflow.inbox SET source = 'x'",
        "DELETE FROM workflow.message_journal",
        "DELETE FROM workflow.workflow_instances",
        "DELETE FROM workflow.deliveries",
        "DROP TABLE workflow.inbox",
        "CREATE TABLE workflow.mine (id integer)",
        "ALTER TABLE workflow.workflow_events DISABLE ROW LEVEL SECURITY",
    ],
)
async def test_least_privilege(database: Database, tenant: str, statement: str) -> None:
    with pytest.raises(OwnError, match="InsufficientPrivilege"):
        async with database.transaction(tenant) as connection:
            await connection.execute(statement)


async def test_a_tenant_sees_its_rows_only(database: Database, tenant: str) -> None:
    mine, theirs = str(uuid.uuid4()), str(uuid.uuid4())
    async with database.transaction(tenant) as connection:
        await one_event(connection, tenant, mine)
    async with database.transaction(f"{tenant}-other") as connection:
        await one_event(connection, f"{tenant}-other", theirs)
        assert await events.stream(connection, IdentityCipher(), mine) == []
    async with database.transaction(SYSTEM) as connection:
        assert len(await events.stream(connection, IdentityCipher(), mine)) == 1
    async with database.transaction("") as connection:
        assert await connection.fetchval("SELECT count(*) FROM workflow.workflow_events") == 0


async def test_a_tenant_writes_its_rows_only(database: Database, tenant: str) -> None:
    with pytest.raises(OwnError, match="InsufficientPrivilege"):
        async with database.transaction(tenant) as connection:
            await one_event(connection, "somebody-else", str(uuid.uuid4()))


async def test_the_scope_ends_with_its_transaction(database: Database, tenant: str) -> None:
    """A pooled connection must not carry a tenant into the next transaction."""
    for _ in range(40):
        async with database.transaction(tenant) as connection:
            await connection.execute("SELECT 1")
    async with database._pool.acquire() as connection:  # type: ignore[union-attr]
        assert not await connection.fetchval("SELECT current_setting('gateway.tenant', true)")


async def test_every_table_with_a_tenant_is_secured(postgres: str) -> None:
    rows = await owner(
        postgres,
        """SELECT t.tablename, t.rowsecurity FROM pg_tables t JOIN information_schema.columns c
             ON c.table_schema = t.schemaname AND c.table_name = t.tablename
            WHERE t.schemaname = 'workflow' AND c.column_name = 'tenant'""",
    )
    assert len(rows) >= 17
    assert [row["tablename"] for row in rows if not row["rowsecurity"]] == []


async def test_a_server_that_is_away_is_unavailable() -> None:
    database = Database("postgresql://nobody@127.0.0.1:9/nothing")
    with pytest.raises(Unavailable):
        await database.open()
    with pytest.raises(Unavailable):
        async with database.transaction("t"):
            pass
