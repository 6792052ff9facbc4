"""Turns of an endpoint: evenly apart, whoever takes them, and none is saved up."""

from __future__ import annotations

import asyncio
import uuid
from itertools import pairwise

import pytest

from gateway.infra.postgres import Database
from gateway.security.cipher import IdentityCipher
from gateway.store.deliveries import Deliveries

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

PAUSE = 0.5


async def test_thirty_at_once_are_evenly_apart(database: Database) -> None:
    deliveries, endpoint = Deliveries(database, IdentityCipher()), f"core/{uuid.uuid4()}"
    began = asyncio.get_running_loop().time()

    async def turn(tenant: str) -> float:
        wait = await deliveries.attempt(tenant, "none", endpoint, PAUSE)
        return asyncio.get_running_loop().time() - began + wait

    turns = sorted(await asyncio.gather(*(turn(f"tenant-{n % 3}") for n in range(30))))
    gaps = [later - earlier for earlier, later in pairwise(turns)]
    assert sum(gaps) / len(gaps) == pytest.approx(PAUSE, rel=0.02)
    assert turns[-1] - turns[0] == pytest.approx(29 * PAUSE, rel=0.02)


async def test_an_idle_endpoint_saves_nothing_up(database: Database) -> None:
    deliveries, endpoint = Deliveries(database, IdentityCipher()), f"core/{uuid.uuid4()}"
    assert await deliveries.attempt("t", "none", endpoint, 0.05) == 0.0
    await asyncio.sleep(0.4)
    assert await deliveries.attempt("t", "none", endpoint, 0.05) == 0.0
    assert await deliveries.attempt("t", "none", endpoint, 0.05) > 0.03


async def test_without_a_pause_no_turn_is_taken(database: Database) -> None:
    deliveries = Deliveries(database, IdentityCipher())
    assert [await deliveries.attempt("t", "none", "sftp/none", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
