"""`$status` of several Subscriptions, and `$events` (Subscriptions R5 Backport 1.1.0)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from adapters.fhir.inbound import querying
from mappings.subscription_notification import Event, render
from tests.adapters.fhir.edge.bundles import request_bundle, subscription
from tests.adapters.fhir.edge.fakes import World, running

BASE = "http://gateway.example/fhir/pas/2.2.1"
PATH = "/fhir/pas/2.2.1/Subscription"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as started:
        yield started


async def kept(world: World, client: str = "demo", status: str = "active", version: str = "2.2.1") -> str:
    """A stored Subscription; its id."""
    made = await world.subscriptions.create("demo", client, version, ["1234567893"], subscription("http://x.example"))
    await world.subscriptions.mark("demo", made.id, status)
    return made.id


def told_of(bundle: dict[str, Any]) -> set[str]:
    rows = [row for entry in bundle.get("entry", ()) for row in entry["resource"]["parameter"]]
    return {row["valueReference"]["reference"].rsplit("/", 1)[1] for row in rows if row["name"] == "subscription"}


def parameters(*rows: tuple[str, str, str]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": name, kind: value} for name, kind, value in rows]}


async def test_status_of_several_is_of_the_callers_own(world: World) -> None:
    active, failed = await kept(world), await kept(world, status="error")
    foreign, older = await kept(world, client="another"), await kept(world, version="2.0.1")
    every = (await world.http.get(f"{PATH}/$status")).json()
    assert (every["type"], every["total"], told_of(every)) == ("searchset", 2, {active, failed})
    assert all(entry["search"]["mode"] == "match" for entry in every["entry"])
    assert (await world.post(f"{PATH}/$status", {"resourceType": "Parameters"})).json() == every
    assert (await world.http.post(f"{PATH}/$status")).json() == every
    named = {"id": [active, foreign, older, "unknown"]}
    by_get = await world.http.get(f"{PATH}/$status", params=named)
    assert told_of(by_get.json()) == {active}
    rows = [("id", "valueId", identity) for identity in named["id"]]
    by_post = await world.post(f"{PATH}/$status", parameters(*rows))
    assert by_post.json() == by_get.json()
    assert told_of((await world.http.get("/fhir/pas/2.0.1/Subscription/$status")).json()) == {older}


async def test_statuses_are_joined_by_or(world: World) -> None:
    active, failed, off = [await kept(world, status=status) for status in ("active", "error", "off")]
    one = (await world.http.get(f"{PATH}/$status", params={"status": "error"})).json()
    assert told_of(one) == {failed}
    assert one["link"][0]["url"] == f"{BASE}/Subscription/$status?status=error"
    two = await world.post(
        f"{PATH}/$status", parameters(("status", "valueCode", "off"), ("status", "valueCode", "active"))
    )
    assert told_of(two.json()) == {active, off}
    none = (await world.http.get(f"{PATH}/$status", params={"id": active, "status": "requested"})).json()
    assert (none["total"], told_of(none)) == (0, set())
    wrong = await world.http.get(f"{PATH}/$status", params={"status": "sleeping"})
    assert (wrong.status_code, wrong.json()["issue"][0]["code"]) == (400, "value")


async def test_more_statuses_than_an_answer_holds_are_asked_for_by_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querying, "MOST_STATUSES", 1)
    first, _ = await kept(world), await kept(world)
    assert (await world.http.get(f"{PATH}/$status")).status_code == 422
    assert told_of((await world.http.get(f"{PATH}/$status", params={"id": first})).json()) == {first}


async def notified(world: World, count: int) -> str:
    """A Subscription with this many events that were sent."""
    identity = await kept(world)
    answer = (await world.submit(request_bundle("SVC-A1"))).json()
    resource = world.subscriptions.rows["demo", identity].resource
    for number in range(1, count + 1):
        event = Event(number=number, at=world.clock(), response=answer)
        bundle = render("event-notification", resource, now=world.clock(), base_url=BASE, events=[event])
        world.subscriptions.sent.setdefault(identity, {})[number] = bundle
    world.subscriptions.rows["demo", identity] = replace(world.subscriptions.rows["demo", identity], events=count)
    return identity


def numbers(bundle: dict[str, Any]) -> list[str]:
    rows = [row for row in bundle["entry"][0]["resource"]["parameter"] if row["name"] == "notification-event"]
    return [part["valueString"] for row in rows for part in row["part"] if part["name"] == "event-number"]


async def test_events_between_two_numbers_are_told_again(world: World) -> None:
    identity = await notified(world, 5)
    address = f"{PATH}/{identity}/$events"
    every = (await world.http.get(address)).json()
    assert (every["type"], numbers(every)) == ("history", ["1", "2", "3", "4", "5"])
    said = {row["name"]: row for row in every["entry"][0]["resource"]["parameter"]}
    assert (said["type"]["valueCode"], said["status"]["valueCode"]) == ("query-event", "active")
    assert said["events-since-subscription-start"]["valueString"] == "5"
    assert every["entry"][1]["resource"]["entry"][0]["resource"]["resourceType"] == "ClaimResponse"
    bounds = {"eventsSinceNumber": "2", "eventsUntilNumber": "4"}
    some = (await world.http.get(address, params=bounds)).json()
    assert numbers(some) == ["2", "3", "4"]
    asked = parameters(*((name, "valueString", value) for name, value in bounds.items()))
    assert (await world.post(address, asked)).json() == some
    past = (await world.http.get(address, params={"eventsSinceNumber": "99999999999999999999"})).json()
    assert (numbers(past), len(past["entry"])) == ([], 1)


async def test_an_answer_holds_the_first_of_many_events(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(querying, "MOST_EVENTS", 2)
    identity = await notified(world, 3)
    address = f"{PATH}/{identity}/$events"
    assert numbers((await world.http.get(address)).json()) == ["1", "2"]
    assert numbers((await world.http.get(address, params={"eventsSinceNumber": "3"})).json()) == ["3"]


async def test_the_content_of_events_is_what_was_asked_for(world: World) -> None:
    identity = await notified(world, 1)
    address = f"{PATH}/{identity}/$events"
    empty = (await world.http.get(address, params={"content": "empty"})).json()
    assert (numbers(empty), len(empty["entry"])) == (["1"], 1)
    only = (await world.post(address, parameters(("content", "valueCode", "id-only")))).json()
    assert [("resource" in entry, entry["fullUrl"].startswith(BASE)) for entry in only["entry"][1:]] == [(False, True)]


@pytest.mark.parametrize(
    "query",
    [{"eventsSinceNumber": "-1"}, {"eventsUntilNumber": "last"}, {"content": "all"}, {"eventsSinceNumber": ["1", "2"]}],
)
async def test_what_cannot_be_read_is_said(world: World, query: dict[str, Any]) -> None:
    address = f"{PATH}/{await notified(world, 1)}/$events"
    assert (await world.http.get(address, params=query)).status_code == 400


async def test_a_body_that_is_no_parameters_is_said(world: World) -> None:
    address = f"{PATH}/{await notified(world, 1)}/$events"
    for body in (
        {"resourceType": "Patient"},
        {"resourceType": "Parameters", "parameter": {"name": "content"}},
        {"resourceType": "Parameters", "parameter": [{"name": "content", "valueCode": 7}]},
    ):
        assert (await world.post(address, body)).status_code == 400


async def test_events_are_their_owners(world: World) -> None:
    for identity in (await kept(world, client="another"), "unknown"):
        assert (await world.http.get(f"{PATH}/{identity}/$events")).status_code == 404
    assert (await world.http.get(f"{PATH}/$status", headers={"authorization": ""})).status_code == 401
