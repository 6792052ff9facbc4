"""Key sets fetched from a real server: what counts, and what cannot be turned against us or our own network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.responses import Response, StreamingResponse

from gateway.core.errors import EndpointRefused, EndpointUnavailable
from gateway.infra.http import ClientSettings, client, client_transport
from gateway.security import jwks
from gateway.security.egress import EgressPolicy, GuardedTransport, system_resolve
from gateway.security.jwks import KeyCache, fetch_with
from gateway.testing import FixedClock
from tests.adapters.fhir.edge.servers import Payer, payer
from tests.gateway.security.keys import ec_key, jwk

SET = json.dumps({"keys": [jwk(ec_key(), "ec")]}).encode()


@pytest.fixture
async def server() -> AsyncIterator[Payer]:
    async with payer() as scripted:
        scripted.answer = lambda _: Response(SET, headers={"cache-control": "public, max-age=90"})
        yield scripted


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    settings = ClientSettings()
    transport = GuardedTransport(client_transport(settings), EgressPolicy(demo=True), system_resolve)
    async with client(settings, transport=transport) as opened:
        yield opened


async def test_a_key_set_is_fetched_once_for_many(server: Payer, http: httpx.AsyncClient) -> None:
    cache = KeyCache(fetch_with(http), FixedClock())
    found = await asyncio.gather(*(cache.find(f"{server.url}/jwks", "ec", "ES384") for _ in range(20)))
    assert all(key is not None for key in found)
    assert len(server.seen) == 1
    assert await fetch_with(http)(f"{server.url}/jwks") == (SET, "public, max-age=90")


async def test_answers_that_are_no_key_set(server: Payer, http: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65536
            await asyncio.sleep(0)  # else the generator would never let the loop see that nobody reads

    answers = [
        lambda _: Response(status_code=500),
        lambda _: Response(status_code=302, headers={"location": f"{server.url}/other"}),
        lambda _: Response(b" " * 10_000_000 + SET),
        lambda _: StreamingResponse(endless()),
    ]
    for answer in answers:
        server.answer = answer
        server.seen.clear()
        with pytest.raises(EndpointUnavailable):
            await fetch_with(http)(f"{server.url}/jwks")
        assert len(server.seen) == 1
    server.answer = lambda _: Response(b"<html>")
    assert await KeyCache(fetch_with(http), FixedClock()).find(f"{server.url}/jwks", "ec", "ES384") is None


async def test_a_server_that_drips_is_given_up(
    server: Payer, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.3)
    server.answer = lambda _: StreamingResponse(drip())
    with pytest.raises(EndpointUnavailable):
        await fetch_with(http)(f"{server.url}/jwks")


async def test_our_own_network_is_out_of_reach(http: httpx.AsyncClient) -> None:
    for url in ("http://169.254.169.254/jwks", "http://10.0.0.8/jwks", "file:///etc/passwd"):
        with pytest.raises((EndpointRefused, EndpointUnavailable)):
            await fetch_with(http)(url)
        assert await KeyCache(fetch_with(http), FixedClock()).find(url, "ec", "ES384") is None
