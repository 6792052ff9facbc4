"""Alembic's environment: one online run over asyncpg, under an advisory lock so that two starts do not collide."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

LOCK = 0x6A7E_0001


def _migrate(connection: Connection) -> None:
    connection.execute(text("SET lock_timeout = '30s'"))
    connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
    context.configure(connection=connection, version_table="gateway_schema_version")
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


async def _run() -> None:
    url = str(context.config.attributes["postgres"]).replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
    await engine.dispose()


asyncio.run(_run())
