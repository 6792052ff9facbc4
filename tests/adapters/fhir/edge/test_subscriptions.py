"""The life of a Subscription against a real rest-hook receiver."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.fhir.outbound import RestHookSender, Target, channel_target
from gateway.core.errors import EndpointUnavailable, Unavailable
from gateway.core.ports import Outbound
from gateway.infra.http import HttpSettings, serve
from mappings.subscription_notification import Event, render
from tests.adapters.fhir.edge.bundles import request_bundle, subscription
from tests.adapters.fhir.edge.fakes import World, running

PATH = "/fhir/pas/2.2.1/Subscription"


@dataclass
class Receiver:
    """A client's rest-hook endpoint."""

    url: str = ""
    status: int = 200
    got: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)

    async def __call__(self, request: Request) -> Response:
        self.got.append((dict(request.headers), orjson.loads(await request.body())))
        return Response(status_code=self.status)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    hook = Receiver()

    async def endpoint(request: Request) -> Response:
        return await hook(request)

    application = Starlette(routes=[Route("/hook", endpoint, methods=["POST"])])
    stop = asyncio.Event()
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    listener = HttpSettings(address="127.0.0.1:0", grace_seconds=1)
    task = asyncio.create_task(serve(application, listener, stop, ready=started.set_result))
    hook.url = f"{await asyncio.wait_for(started, 5)}/hook"
    yield hook
    stop.set()
    await task


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as started:
        yield started


async def settled(world: World) -> None:
    await asyncio.gather(*world.notifier.running)


async def test_create_shakes_hands_and_becomes_active(world: World, receiver: Receiver) -> None:
    response = await world.post(PATH, subscription(receiver.url))
    body = response.json()
    assert response.status_code == 201
    assert body["status"] == "requested"
    assert body["channel"]["header"] == ["Authorization: Bearer receiver-token", "X-Own: 1"]
    assert response.headers["location"] == f"http://gateway.example{PATH}/{body['id']}"
    assert response.headers["etag"] == 'W/"1"'
    await settled(world)
    headers, handshake = receiver.got[0]
    assert headers["authorization"] == "Bearer receiver-token"
    assert headers["x-own"] == "1"
    assert headers["content-type"].startswith("application/fhir+json")
    first = handshake["entry"][0]
    assert handshake["type"] == "history"
    assert first["request"]["url"].endswith(f"Subscription/{body['id']}/$status")
    assert first["response"]["status"]
    parameters = {row["name"]: row for row in first["resource"]["parameter"]}
    assert parameters["type"]["valueCode"] == "handshake"
    assert parameters["status"]["valueCode"] == "requested"
    known = {"if-none-match": response.headers["etag"]}
    read = await world.http.get(f"{PATH}/{body['id']}", headers=known)
    assert read.json()["status"] == "active"
    status = (await world.http.get(f"{PATH}/{body['id']}/$status")).json()
    assert (status["type"], status["total"]) == ("searchset", 1)
    assert (await world.post(f"{PATH}/{body['id']}/$status", {"resourceType": "Parameters"})).json() == status
    said = {row["name"]: row for row in status["entry"][0]["resource"]["parameter"]}
    assert said["status"]["valueCode"] == "active"
    assert said["events-since-subscription-start"]["valueString"] == "0"


@pytest.mark.parametrize("status", [404, 500, 301])
async def test_a_receiver_that_does_not_take_the_handshake_is_an_error(
    world: World, receiver: Receiver, status: int
) -> None:
    receiver.status = status
    created = (await world.post(PATH, subscription(receiver.url))).json()
    await settled(world)
    assert (await world.http.get(f"{PATH}/{created['id']}")).json()["status"] == "error"


async def test_a_notification_is_sent_again_byte_for_byte_after_a_failure(world: World, receiver: Receiver) -> None:
    created = (await world.post(PATH, subscription(receiver.url))).json()
    await settled(world)
    answer = (await world.submit(request_bundle("SVC-A1"))).json()
    stored = world.subscriptions.rows["demo", created["id"]]
    base = f"http://gateway.example{PATH.removesuffix('/Subscription')}"

    async def notification(key: str) -> Outbound:
        number = await world.subscriptions.next_event("demo", created["id"], key)
        event = Event(number=number, at=world.clock(), response=answer)
        bundle = render("event-notification", stored.resource, now=world.clock(), base_url=base, events=[event])
        data = orjson.dumps(bundle)
        return Outbound(endpoint="s", data=data, media_type="application/fhir+json", idempotency_key=key)

    async def lookup(_: Outbound) -> Target:
        return channel_target(stored.resource)

    sender = RestHookSender(world.notifier.http, lookup)
    receiver.got.clear()
    receiver.status = 503
    with pytest.raises(EndpointUnavailable):
        await sender.send(await notification("decision-1"))
    receiver.status = 200
    await sender.send(await notification("decision-1"))
    await sender.send(await notification("decision-2"))
    (_, first), (headers, again), (_, second) = receiver.got
    assert first == again
    assert headers["authorization"] == "Bearer receiver-token"
    numbers = []
    for bundle in (first, second):
        assert bundle["type"] == "history"
        assert all(entry["request"] and entry["response"] for entry in bundle["entry"])
        rows = {row["name"]: row for row in bundle["entry"][0]["resource"]["parameter"]}
        assert (rows["status"]["valueCode"], rows["type"]["valueCode"]) == ("active", "event-notification")
        parts = {part["name"]: part for part in rows["notification-event"]["part"]}
        numbers.append((parts["event-number"]["valueString"], rows["events-since-subscription-start"]["valueString"]))
        assert parts["focus"]["valueReference"]["reference"] == bundle["entry"][1]["fullUrl"]
        assert bundle["entry"][1]["resource"]["entry"][0]["resource"]["resourceType"] == "ClaimResponse"
    assert numbers == [("1", "1"), ("2", "2")]
    # What the focus names can be read from us.
    focus = first["entry"][1]["fullUrl"].removeprefix("http://gateway.example")
    assert (await world.http.get(focus)).json()["entry"] == answer["entry"]


async def test_update_replaces_and_shakes_hands_anew(world: World, receiver: Receiver) -> None:
    created = (await world.post(PATH, subscription(receiver.url))).json()
    address = f"{PATH}/{created['id']}"
    changed = {**subscription(receiver.url), "id": created["id"], "reason": "changed"}
    stale = await world.http.put(address, json=changed, headers={"if-match": 'W/"7"'})
    assert stale.status_code == 412
    updated = await world.http.put(address, json=changed, headers={"if-match": 'W/"1"'})
    assert (updated.status_code, updated.headers["etag"]) == (200, 'W/"2"')
    assert (updated.json()["reason"], updated.json()["status"]) == ("changed", "requested")
    await settled(world)
    assert len(receiver.got) == 2
    other = {**changed, "id": "another"}
    assert (await world.http.put(address, json=other)).status_code == 400
    assert (await world.http.put(f"{PATH}/none", json={**changed, "id": "none"})).status_code == 404


async def test_delete_ends_it(world: World, receiver: Receiver) -> None:
    created = (await world.post(PATH, subscription(receiver.url))).json()
    address = f"{PATH}/{created['id']}"
    assert (await world.http.delete(address)).status_code == 204
    for method in ("GET", "DELETE"):
        assert (await world.http.request(method, address)).status_code == 404


@pytest.mark.parametrize(("wanted", "body"), [("minimal", b""), ("OperationOutcome", b"OperationOutcome")])
async def test_the_answer_is_what_the_client_prefers(
    world: World, receiver: Receiver, wanted: str, body: bytes
) -> None:
    response = await world.post(PATH, subscription(receiver.url), prefer=f"return={wanted}")
    assert response.status_code == 201
    assert response.headers["location"]
    assert (body in response.content) if body else response.content == b""


def changed(path: str, value: Any) -> dict[str, Any]:
    resource = copy.deepcopy(subscription("http://127.0.0.1:9/hook"))
    *steps, last = path.split(".")
    place: Any = resource
    for step in steps:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = value
    return resource


@pytest.mark.parametrize(
    "resource",
    [
        changed("criteria", "http://other.example/topic"),
        changed("channel.type", "websocket"),
        changed("channel.payload", "text/plain"),
        changed("channel._payload.extension.0.valueCode", "id-only"),
        changed("channel._payload.extension.0.valueCode", "empty"),
        changed("_criteria.extension.0.valueString", "patient=1"),
        changed("_criteria.extension.0.valueString", "org-identifier="),
        changed("channel.header", ["no colon"]),
        changed("channel.endpoint", "ftp://x.example/hook"),
        changed("channel.endpoint", "http://169.254.169.254/latest"),
        changed("channel.endpoint", "http://10.0.0.8/hook"),
        changed("channel.endpoint", "http://user:secret@127.0.0.1/hook"),
        {"resourceType": "Patient"},
    ],
)
async def test_what_we_cannot_serve_is_refused(world: World, resource: dict[str, Any]) -> None:
    response = await world.post(PATH, resource)
    assert response.status_code in {400, 422}
    assert response.json()["resourceType"] == "OperationOutcome"
    assert world.subscriptions.rows == {}


async def test_plaintext_and_loopback_are_for_the_demo_profile_only() -> None:
    async with running(profile="production", private_hosts=frozenset({"hooks.internal"})) as world:
        vouched = await world.post(PATH, subscription("https://hooks.internal/hook"))
        assert vouched.status_code == 201
        await asyncio.gather(*world.notifier.running)
        for endpoint in ("http://hooks.example/hook", "https://127.0.0.1/hook", "https://localhost/hook"):
            assert (await world.post(PATH, subscription(endpoint))).status_code == 422
        assert (await world.post(PATH, subscription("https://hooks.example/hook"))).status_code == 201
        await asyncio.gather(*world.notifier.running, return_exceptions=True)


async def test_id_only_is_for_the_older_version(world: World, receiver: Receiver) -> None:
    resource = changed("channel._payload.extension.0.valueCode", "id-only")
    assert (await world.post("/fhir/pas/2.0.1/Subscription", resource)).status_code == 201


async def test_nothing_is_promised_when_the_handshake_cannot_be_queued(world: World) -> None:
    world.notifier.failure = Unavailable()
    assert (await world.post(PATH, subscription("http://127.0.0.1:9/hook"))).status_code == 503
    assert world.subscriptions.rows == {}


async def test_the_older_json_type_is_served_as_it_was_asked_for(world: World, receiver: Receiver) -> None:
    """The published test kit's sound Subscription asks for `application/json`, and is compared with what comes."""
    created = await world.post(PATH, changed("channel.payload", "application/json"))
    assert created.status_code == 201, created.text
    resource = {**subscription(receiver.url), "id": created.json()["id"]}
    resource["channel"]["payload"] = "application/json"
    updated = await world.http.put(f"{PATH}/{resource['id']}", json=resource, headers={"if-match": '"7", W/"1"'})
    assert updated.status_code == 200, updated.text
    await settled(world)
    assert receiver.got[0][0]["content-type"] == "application/json"


async def test_it_is_off_when_its_end_has_come(world: World, receiver: Receiver) -> None:
    end = world.clock.now + timedelta(hours=1)
    address = f"{PATH}/{(await world.post(PATH, {**subscription(receiver.url), 'end': end.isoformat()})).json()['id']}"
    await settled(world)
    assert (await world.http.get(address)).json()["status"] == "active"
    world.clock.now = end
    assert (await world.http.get(address)).json()["status"] == "off"
    said = (await world.http.get(f"{address}/$status")).json()["entry"][0]["resource"]["parameter"]
    assert {row["name"]: row for row in said}["status"]["valueCode"] == "off"
    assert await world.subscriptions.watching("demo", "1234567893") == []


async def test_an_end_that_had_passed_already_means_nothing(world: World, receiver: Receiver) -> None:
    created = await world.post(PATH, {**subscription(receiver.url), "end": "2020-12-31T12:00:00Z"})
    await settled(world)
    assert (await world.http.get(f"{PATH}/{created.json()['id']}")).json()["status"] == "active"
