"""Sending FHIR to a real server: one attempt, and what each outcome means."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse, Response, StreamingResponse

from adapters.fhir.outbound import (
    FhirEndpoint,
    FhirSender,
    RestHookSender,
    Target,
    channel_target,
)
from adapters.fhir.outbound.attempt import retry_after
from adapters.fhir.wire.answers import claim_responses
from gateway.core.errors import EndpointRefused, EndpointUnavailable, MalformedMessage
from gateway.core.ports import Outbound
from gateway.security.client_auth import ClientCredentials, TokenSource
from gateway.security.egress import EgressPolicy, GuardedTransport, system_resolve
from gateway.testing import FixedClock
from tests.adapters.fhir.edge.bundles import subscription
from tests.adapters.fhir.edge.servers import Payer, payer
from tests.gateway.security.keys import ec_key, pem, rsa_key

OUT = Outbound(endpoint="e", data=b'{"a":1}', media_type="application/fhir+json", idempotency_key="key-1")


@pytest.fixture
async def other() -> AsyncIterator[Payer]:
    async with payer() as scripted:
        yield scripted


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    transport = GuardedTransport(httpx.AsyncHTTPTransport(trust_env=False), EgressPolicy(demo=True), system_resolve)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        yield client


def hook(http: httpx.AsyncClient, url: str, seconds: float = 2) -> RestHookSender:
    async def lookup(_: Outbound) -> Target:
        return channel_target(subscription(url))

    return RestHookSender(http, lookup, seconds)


async def test_a_notification_carries_the_channels_headers_and_type(other: Payer, http: httpx.AsyncClient) -> None:
    receipt = await hook(http, f"{other.url}/hook").send(OUT)
    assert receipt.accepted
    method, path, headers, body = other.seen[0]
    assert (method, path, body) == ("POST", "/hook", OUT.data)
    assert headers["authorization"] == "Bearer receiver-token"
    assert headers["content-type"] == "application/fhir+json"
    assert headers["x-idempotency-key"] == "key-1"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 401])
async def test_answers_that_mean_later(other: Payer, http: httpx.AsyncClient, status: int) -> None:
    other.answer = lambda _: Response(status_code=status, headers={"retry-after": "7"})
    with pytest.raises(EndpointUnavailable) as caught:
        await hook(http, f"{other.url}/hook").send(OUT)
    assert caught.value.retry_after == 7
    assert len(other.seen) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 410, 422, 301, 302, 307])
async def test_answers_that_mean_no(other: Payer, http: httpx.AsyncClient, status: int) -> None:
    other.answer = lambda _: Response(status_code=status, headers={"location": f"{other.url}/elsewhere"})
    with pytest.raises(EndpointRefused):
        await hook(http, f"{other.url}/hook").send(OUT)
    assert [path for _, path, _, _ in other.seen] == ["/hook"]  # no redirect was followed


async def test_faults_of_the_line_mean_later(other: Payer, http: httpx.AsyncClient) -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.05)

    other.answer = lambda _: StreamingResponse(drip())
    with pytest.raises(EndpointUnavailable):
        await hook(http, f"{other.url}/hook", seconds=0.4).send(OUT)
    with pytest.raises(EndpointUnavailable):
        await hook(http, "http://127.0.0.1:9/hook").send(OUT)


async def test_an_endless_answer_is_not_read(other: Payer, http: httpx.AsyncClient) -> None:
    other.answer = lambda _: Response(b"x" * 100_000)
    with pytest.raises(EndpointRefused):
        await hook(http, f"{other.url}/hook").send(OUT)


async def test_private_addresses_are_not_called(http: httpx.AsyncClient) -> None:
    for url in ("http://169.254.169.254/latest", "http://10.0.0.8/hook", "http://[::ffff:10.0.0.8]/"):
        with pytest.raises(EndpointRefused):
            await hook(http, url).send(OUT)


async def test_an_ended_subscription_is_not_notified(http: httpx.AsyncClient) -> None:
    async def gone(_: Outbound) -> None:
        return None

    with pytest.raises(EndpointRefused):
        await RestHookSender(http, gone).send(OUT)


@pytest.mark.parametrize("line", ["no colon", ": empty", "A: b\r\nC: d", "Ä: x", "A: b\x00"])
def test_a_header_line_cannot_break_out(line: str) -> None:
    with pytest.raises(EndpointRefused):
        channel_target(subscription("https://x.example", header=[line]))


def test_framing_headers_are_ours() -> None:
    target = channel_target(subscription("https://x.example", header=["Host: y", "Content-Length: 3", "A: b"]))
    assert target.headers == {"a": "b"}


def credentials(url: str, key: Any) -> ClientCredentials:
    return ClientCredentials.load(
        token_url=f"{url}/token", client_id="us", scope="system/*.rs", key_id="k", pem=pem(key)
    )


@pytest.mark.parametrize("key", [ec_key(), rsa_key()])
async def test_a_payer_is_called_with_a_token_asked_for_once(other: Payer, http: httpx.AsyncClient, key: Any) -> None:
    clock = FixedClock()
    tokens = TokenSource(http, credentials(other.url, key), clock)
    sender = FhirSender(http, FhirEndpoint(f"{other.url}/fhir/pas/2.2.1"), tokens)
    await asyncio.gather(*(sender.send(OUT) for _ in range(5)))
    assert other.tokens == 1
    method, path, headers, body = other.seen[0]
    assert (method, path, body) == ("POST", "/fhir/pas/2.2.1/Claim/$submit", OUT.data)
    assert headers["authorization"] == "Bearer t1"
    assert headers["idempotency-key"] == "key-1"
    other.answer = lambda _: Response(status_code=401)
    with pytest.raises(EndpointUnavailable):
        await sender.send(OUT)
    other.answer = lambda _: Response(b"{}")
    await sender.send(OUT)
    assert other.tokens == 2


async def test_without_credentials_401_is_a_clear_no(other: Payer, http: httpx.AsyncClient) -> None:
    other.answer = lambda _: Response(status_code=401)
    with pytest.raises(EndpointRefused):
        await FhirSender(http, FhirEndpoint(other.url)).send(OUT)


async def test_an_ehr_write_is_conditional(other: Payer, http: httpx.AsyncClient) -> None:
    other.answer = lambda _: Response(status_code=201, headers={"location": "/DocumentReference/7/_history/1"})
    out = Outbound(
        endpoint="ehr",
        data=b"{}",
        media_type="application/fhir+json",
        idempotency_key="key-2",
        attributes={"path": "DocumentReference", "if-none-exist": "identifier=x|1"},
    )
    receipt = await FhirSender(http, FhirEndpoint(f"{other.url}/fhir")).send(out)
    assert receipt.reference == "/DocumentReference/7/_history/1"
    assert other.seen[0][2]["if-none-exist"] == "identifier=x|1"
    for path in ("/absolute", "http://elsewhere.example/x", "../up"):
        with pytest.raises(EndpointRefused):
            await FhirSender(http, FhirEndpoint(other.url)).call("POST", path)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Response(status_code=503), EndpointUnavailable),
        (Response(status_code=400), EndpointRefused),
        (Response(b"<html>"), EndpointUnavailable),
        (JSONResponse({"access_token": "a\r\nX: y"}), EndpointUnavailable),
        (JSONResponse({"access_token": ""}), EndpointUnavailable),
        (JSONResponse([]), EndpointUnavailable),
    ],
)
async def test_an_authorization_server_that_fails(
    other: Payer, http: httpx.AsyncClient, answer: Response, kind: type[Exception]
) -> None:
    other.token_answer = lambda _: answer
    tokens = TokenSource(http, credentials(other.url, ec_key()), FixedClock())
    with pytest.raises(kind):
        await tokens.header()


def test_retry_after_is_read_in_both_forms_and_bounded() -> None:
    now = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
    assert retry_after("7", now) == 7
    assert retry_after("Thu, 15 Jan 2026 12:00:30 GMT", now) == 30
    assert retry_after("Thu, 15 Jan 2026 11:00:00 GMT", now) == 0
    assert retry_after("99999999999", now) == 3600
    for nothing in ("", "soon", "-5", "٧"):
        assert retry_after(nothing, now) is None


RESPONSE = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"resourceType": "ClaimResponse"}}]}


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (RESPONSE, 1),
        ({"resourceType": "ClaimResponse"}, 1),
        ({"resourceType": "Parameters"}, 0),
        ({"resourceType": "Parameters", "parameter": [{"name": "return", "resource": RESPONSE}] * 2}, 2),
        ({"resourceType": "Parameters", "parameter": [{"name": "responseBundle", "resource": RESPONSE}]}, 1),
        ({"resourceType": "Parameters", "parameter": [7, {"name": ["return"]}, {"name": "return"}]}, 0),
        ({"resourceType": "Bundle", "type": "history", "entry": [{}, {"resource": RESPONSE}]}, 1),
    ],
)
def test_answers_are_read_with_tolerance(answer: Any, count: int) -> None:
    assert len(claim_responses(json.dumps(answer).encode())) == count


def test_what_is_no_answer_is_told() -> None:
    for body in (b"<html>", b"[]", b'{"resourceType":"OperationOutcome"}', b'{"resourceType":"Bundle","entry":[]}'):
        with pytest.raises(MalformedMessage):
            claim_responses(body)


@pytest.mark.skipif("GATEWAY_OUTSIDE_DATA" not in os.environ, reason="GATEWAY_OUTSIDE_DATA is not set")
def test_the_guides_published_answers_are_read() -> None:
    folder = Path(os.environ["GATEWAY_OUTSIDE_DATA"]) / "pas"
    found = [p for p in sorted(folder.glob("ig-2*/*.json")) if "Response" in p.name or "Notification" in p.name]
    read = {p.name: len(claim_responses(p.read_bytes())) for p in found if "OperationOutcome" not in p.name}
    assert len(read) >= 8
    assert set(read.values()) == {1}, read
