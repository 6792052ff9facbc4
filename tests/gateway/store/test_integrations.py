"""The table of integrations says what is configured now, and keeps what was."""

from __future__ import annotations

import pytest

from gateway.infra.postgres import Database
from gateway.store.integrations import register

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]


async def rows(database: Database, tenant: str) -> list[tuple[str, str, float, str]]:
    async with database.transaction(tenant) as connection:
        found = await connection.fetch("SELECT * FROM workflow.integrations ORDER BY name")
    return [(row["name"], row["type"], row["configuration"]["perSecond"], row["status"]) for row in found]


async def test_endpoints_are_told_changed_retired_and_taken_up_again(database: Database, tenant: str) -> None:
    await register(database, tenant, {"sftp/a": 5.0, "fhir-notify": 20.0})
    await register(database, f"{tenant}-other", {"sftp/b": 1.0})
    assert await rows(database, tenant) == [
        ("fhir-notify", "fhir-notify", 20.0, "active"),
        ("sftp/a", "sftp", 5.0, "active"),
    ]
    await register(database, tenant, {"sftp/a": 7.0})
    assert [row[2:] for row in await rows(database, tenant)] == [(20.0, "retired"), (7.0, "active")]
    await register(database, tenant, {"fhir-notify": 20.0})
    assert [row[3] for row in await rows(database, tenant)] == ["active", "retired"]
