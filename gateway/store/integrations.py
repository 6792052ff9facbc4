"""The mission's table `workflow.integrations`: which endpoints are configured, for whoever reads the database.

The partner profiles are what counts; this tells of them, without addresses' secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.infra.postgres import Database, Queries

SQL = Queries(Path(__file__).parent / "sql" / "integrations.sql")


async def register(database: Database, tenant: str, rates: Mapping[str, float]) -> None:
    """Say which endpoints (`sftp/<partner>`) we deliver to and how many messages per second; others are retired.

    Raises Unavailable.
    """
    async with database.transaction(tenant) as connection:
        for endpoint, rate in rates.items():
            kind = endpoint.partition("/")[0]
            await connection.execute(SQL.register, tenant, endpoint, kind, {"perSecond": rate})
        await connection.execute(SQL.retire, tenant, list(rates))
