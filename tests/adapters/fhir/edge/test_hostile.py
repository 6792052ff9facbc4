"""Hostile bodies: each gets 4xx and one OperationOutcome, quickly; nothing of it is accepted or repeated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import orjson
import pytest

from tests.adapters.fhir.edge.bundles import request_bundle
from tests.adapters.fhir.edge.fakes import TOKEN, World, running

SUBMIT = "/fhir/pas/2.2.1/Claim/$submit"
GOOD = orjson.dumps(request_bundle())


@pytest.fixture(scope="module")
def bodies() -> dict[str, tuple[bytes, str]]:
    json, xml = "application/fhir+json", "application/fhir+xml"
    start = b'{"resourceType":"Bundle","type":"collection","entry":'
    canary = b"CANARY"
    return {
        "empty": (b"", json),
        "not JSON": (b"CANARY{", json),
        "an array": (b"[1,2,3]", json),
        "a string": (b'"CANARY"', json),
        "depth 100000": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, json),
        "arrays 100000 deep": (start + b"[" * 100_000 + b"]" * 100_000 + b"}", json),
        "duplicate key": (b'{"resourceType":"Bundle","type":"collection","type":"CANARY"}', json),
        "NaN": (GOOD.replace(b'"value":1,', b'"value":NaN,'), json),
        "Infinity": (GOOD.replace(b'"value":1,', b'"value":-Infinity,'), json),
        "huge number": (GOOD.replace(b'"value":1,', b'"value":1e999999999,'), json),
        "endless digits": (GOOD.replace(b'"value":1,', b'"value":' + b"9" * 5000 + b","), json),
        "NUL escape": (GOOD.replace(b'"Clinic"', b'"CANARY\\u0000"'), json),
        "raw NUL": (GOOD.replace(b'"Clinic"', b'"CANARY\x00"'), json),
        "lone surrogate": (GOOD.replace(b'"Clinic"', b'"\\ud800"'), json),
        "not UTF-8": (GOOD.replace(b'"Clinic"', b'"\xff\xfe"'), json),
        "resourceType is a list": (b'{"resourceType":["Bundle"]}', json),
        "entry is an object": (start + b'{"resource":{}}}', json),
        "entry of nulls": (start + b"[null,null]}", json),
        "entry of strings": (start + b'["CANARY"]}', json),
        "resource is a number": (start + b'[{"resource":7}]}', json),
        "claim with odd types": (start + b'[{"resource":{"resourceType":"Claim","item":{"sequence":{}}}}]}', json),
        "sequence is text": (GOOD.replace(b'"sequence":1', b'"sequence":"CANARY"'), json),
        "sequence is huge": (GOOD.replace(b'"sequence":1', b'"sequence":99999999999999999999'), json),
        "reference is a list": (GOOD.replace(b'"reference":"', b'"reference":["x"],"display":"'), json),
        "half a million entries": (start + b"[" + b"{}," * 600_000 + b"{}]}", json),
        "XML with a DTD": (b'<!DOCTYPE a [<!ENTITY x "CANARY">]><Bundle xmlns="http://hl7.org/fhir">&x;</Bundle>', xml),
        "external entity": (
            b'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x"><Bundle xmlns="http://hl7.org/fhir"/>',
            xml,
        ),
        "XML of another namespace": (b"<Bundle/>", xml),
        "XML depth": (b'<Bundle xmlns="http://hl7.org/fhir">' + b"<entry>" * 5000, xml),
        "XML with a crowd of attributes": (
            b'<Bundle xmlns="http://hl7.org/fhir" ' + b" ".join(b'a%d="CANARY"' % n for n in range(60_000)) + b"/>",
            xml,
        ),
        "XML sent as JSON": (b'<Bundle xmlns="http://hl7.org/fhir"/>', json),
        "JSON sent as XML": (GOOD, xml),
        "UTF-16": (GOOD.decode().encode("utf-16"), json),
        "canary in a wrong code": (GOOD.replace(b'"active"', b'"' + canary + b'"'), json),
    }


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as started:
        yield started


async def test_every_hostile_body_is_refused_quickly_and_not_repeated(
    world: World, bodies: dict[str, tuple[bytes, str]]
) -> None:
    for name, (body, kind) in bodies.items():
        begun = time.monotonic()
        response = await world.post(SUBMIT, body, **{"content-type": kind})
        assert 400 <= response.status_code < 500, (name, response.status_code)
        assert response.json()["resourceType"] == "OperationOutcome", name
        assert "CANARY" not in response.text, name
        # Not a measurement: a parser that goes quadratic on these takes minutes.
        assert time.monotonic() - begun < 20, name
    assert world.accept.accepted == []
    assert (await world.submit(GOOD)).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/fhir/pas/2.2.1/Claim/$inquire", b'{"resourceType":"Bundle","type":"collection","entry":[]}'),
        ("/fhir/pas/2.2.1/Subscription", b'{"resourceType":"Subscription","channel":7}'),
        ("/fhir/pas/2.2.1/Subscription", b"null"),
        ("/fhir/pas/2.2.1/$submit-attachment", b'{"resourceType":"Parameters","parameter":{}}'),
        ("/fhir/pas/2.2.1/$submit-attachment", b'{"resourceType":"Parameters","parameter":[null,7]}'),
        ("/fhir/r4", b'{"resourceType":"Bundle","type":["batch"]}'),
        ("/fhir/r4", b'{"resourceType":"Bundle","type":"batch","entry":[7,{"request":7,"resource":[]}]}'),
        ("/fhir/r4/Patient", b'{"resourceType":"Patient","name":7}'),
        ("/fhir/r4/Patient", b'{"resourceType":"Claim"}'),
        ("/cds-services/order-sign-crd", b'{"hook":"order-sign","context":[]}'),
        ("/cds-services/order-sign-crd", b'{"hook":"order-sign","hookInstance":"x","context":{"draftOrders":{}}}'),
        ("/fhir/token", b"\xff\xfe"),
    ],
)
async def test_no_endpoint_falls_over_odd_shapes(world: World, path: str, body: bytes) -> None:
    response = await world.post(path, body)
    assert 400 <= response.status_code < 500


async def test_a_body_over_the_limit_is_413_announced_or_not(world: World) -> None:
    whole = b'{"resourceType":"Bundle","x":"' + b"a" * 20_000_000 + b'"}'
    assert (await world.post(SUBMIT, whole)).status_code == 413

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(whole), 1_000_000):
            yield whole[start : start + 1_000_000]

    headers = {"content-type": "application/fhir+json"}
    response = await world.http.post(SUBMIT, content=pieces(), headers=headers)
    assert response.status_code == 413
    assert response.json()["issue"][0]["code"] == "too-long"


async def test_many_large_bodies_cannot_take_all_memory() -> None:
    async with running(max_held=3_000_000) as world:
        large = b'{"resourceType":"Bundle","x":"' + b"a" * 1_000_000 + b'"}'
        answers = await asyncio.gather(*(world.post(SUBMIT, large) for _ in range(20)))
        statuses = {response.status_code for response in answers}
        assert 503 in statuses
        assert statuses <= {422, 503}
        assert all(r.headers["retry-after"] for r in answers if r.status_code == 503)
        assert world.application.state.edge.held.total == 0
        assert (await world.submit(GOOD)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/octet-stream"},
        {"content-type": "application/fhir+json; charset=latin-1"},
        {"content-type": "application/fhir+json; fhirVersion=5.0"},
        {"content-encoding": "gzip"},
    ],
)
async def test_other_forms_are_415(world: World, headers: dict[str, str]) -> None:
    assert (await world.post(SUBMIT, GOOD, **headers)).status_code == 415


async def test_a_body_that_drips_is_ended_and_not_used() -> None:
    async with running(body_seconds=0.3) as world:
        host, _, port = world.url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = (
            f"POST {SUBMIT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(GOOD)}\r\n\r\n"
        )
        writer.write(head.encode() + GOOD[:10])
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"OperationOutcome" in answer
        writer.close()
        assert world.accept.accepted == []


async def test_a_connection_that_ends_early_has_sent_nothing(world: World) -> None:
    host, _, port = world.url.removeprefix("http://").rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {SUBMIT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(GOOD)}\r\n\r\n"
    writer.write(head.encode() + GOOD[:-1])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.1)
    assert world.accept.accepted == []


async def test_unknown_paths_and_methods_are_told_in_fhir(world: World) -> None:
    for method, path, status in (
        ("GET", "/fhir/pas/9.9/metadata", 404),
        ("GET", SUBMIT, 405),
        ("PATCH", "/fhir/pas/2.2.1/Subscription/x", 405),
        ("GET", "/fhir/pas/2.2.1/Subscription/x/", 404),
        ("GET", "/fhir/pas/2.2.1/Patient/x", 404),
    ):
        response = await world.http.request(method, path)
        assert response.status_code == status, path
        assert response.json()["resourceType"] == "OperationOutcome"


async def test_only_served_hosts_are_answered() -> None:
    async with running(hosts=("gateway.example",)) as world:
        assert (await world.http.get("/fhir/r4/metadata")).status_code == 421
        right = await world.http.get("/fhir/r4/metadata", headers={"host": "gateway.example"})
        assert right.status_code == 200


async def test_a_fault_of_ours_shows_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("CANARY")

    monkeypatch.setattr(world.issued, "read", broken)
    response = await world.http.get("/fhir/pas/2.2.1/Task/x")
    assert response.status_code == 500
    assert response.json()["issue"][0]["code"] == "exception"
    assert "CANARY" not in response.text
