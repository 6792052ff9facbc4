"""One real PostgreSQL with our schema for the tests of this folder; every test has tenants of its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.infra.postgres import Database
from gateway.stack import Stack, StackSettings
from gateway.stack.progress import Silent
from gateway.store.migrations import upgrade


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a fresh PostgreSQL, as its owner."""
    settings = StackSettings(state=tmp_path_factory.mktemp("postgres"))
    with Stack(settings, {"postgres"}, Silent()).up() as addresses:
        upgrade(addresses.postgres)
        yield addresses.postgres


@pytest.fixture
async def database(postgres: str) -> AsyncIterator[Database]:
    """A pool acting as the application."""
    opened = Database(postgres, size=16)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def tenant() -> str:
    """A tenant nobody used before."""
    return f"tenant-{uuid.uuid4().hex[:12]}"
