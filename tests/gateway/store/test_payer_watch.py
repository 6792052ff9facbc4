"""Keeping our subscription at a payer: made once, looked at, made anew when it ended, whatever its server can do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.settings import PayerServer
from adapters.fhir.wire.notification import Happening, Notice
from gateway.app.payer_watch import Notices
from gateway.core.envelope import Intake, Reception
from gateway.infra.postgres import Database
from gateway.partners import Asking, Partner, Partners
from gateway.security.clients import fingerprint
from gateway.security.tokens import Tokens
from gateway.store.payer_watches import Watch
from tests.adapters.fhir.edge.servers import payer
from tests.gateway.infra.certificates import CLIENT, Authority
from tests.gateway.store.test_cases import CIPHER
from tests.mappings.fhir.test_payer_pas import A1, given

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

ANSWER = given(A1, A1.__class__(sequence=2, action="A1"))


@dataclass
class Plan:
    """A payer's server: what it has, what it can, what it was asked."""

    url: str = ""
    status: str = "active"
    events: int = 0
    refuses: dict[str, int] = field(default_factory=dict)
    """HTTP status by method, or by method and the end of the path."""
    made: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    bodies: Callable[[], bytes] = bytes

    def __call__(self, request: Request) -> Response:
        path = request.url.path.removeprefix("/fhir/")
        self.asked.append(f"{request.method} {path}")
        for name in (f"{request.method} {path.rpartition('/')[2]}", request.method):
            if name in self.refuses:
                return Response(status_code=self.refuses[name])
        if request.method == "POST":
            self.made.append(json.loads(self.bodies()))
            return self._shown({**self.made[-1], "id": f"s{len(self.made)}"}, 201)
        if path.startswith("ClaimResponse"):
            return self._shown(ANSWER)
        if path.endswith("$status"):
            rows = [
                {"name": "status", "valueCode": self.status},
                {"name": "events-since-subscription-start", "valueString": str(self.events)},
            ]
            return self._shown({"resourceType": "Parameters", "parameter": rows})
        return self._shown({"resourceType": "Subscription", "status": self.status})

    def _shown(self, resource: dict[str, Any], status: int = 200) -> Response:
        return Response(json.dumps(resource, default=float), status, media_type="application/fhir+json")


@dataclass
class Bench:
    notices: Notices
    plan: Plan
    tenant: str
    accepted: list[Intake]

    async def look(self) -> Watch:
        self.notices.due.clear()
        database = self.notices.watches.database
        async with database.transaction(self.tenant) as connection:
            await connection.execute("UPDATE workflow.payer_watches SET leased_until = '-infinity'")
        await self.notices.tick()
        found = await self.notices.watches.find(self.tenant, "plan")
        assert found is not None
        return found

    async def age(self, **ago: timedelta) -> None:
        """Make moments of the watch earlier."""
        async with self.notices.watches.database.transaction(self.tenant) as connection:
            for column, by in ago.items():
                await connection.execute(f"UPDATE workflow.payer_watches SET {column} = {column} - $1::interval", by)


async def bench_of(database: Database, tenant: str, plan: Plan, **more: Any) -> Bench:
    accepted: list[Intake] = []

    async def accept(intake: Intake, _: Reception) -> None:
        accepted.append(intake)

    server = PayerServer(base_url=f"{plan.url}/fhir", organization="US", **more)
    partners = Partners([Partner(name="plan", fhir=server, ask=Asking(payers=("*",), by="fhir", tenants=(tenant,)))])
    settings = SimpleNamespace(profile="demo", public_url="https://us.example", tenant=tenant)
    app = SimpleNamespace(
        database=database, cipher=CIPHER, tokens=Tokens(b"t" * 32), settings=settings, partners=partners
    )
    return Bench(Notices(cast("Any", app), cast("Any", accept), cast("Any", None)), plan, tenant, accepted)


@pytest.fixture
async def plan() -> AsyncIterator[Plan]:
    async with payer() as server:
        found = Plan(server.url, bodies=lambda: server.seen[-1][3])
        server.answer = found
        yield found


async def test_one_is_made_once_and_then_looked_at(database: Database, tenant: str, plan: Plan) -> None:
    bench = await bench_of(database, tenant, plan)
    assert (await bench.look()).subscription == "s1"
    assert (await bench.look()).status == "active"
    assert plan.asked == ["POST Subscription", "GET Subscription/s1/$status"]
    (made,) = plan.made
    assert made["channel"]["endpoint"] == "https://us.example/fhir/pas/notifications/plan"
    other = await bench_of(database, tenant, plan)
    await other.notices.tick()  # another edge: the lease is taken
    assert len(plan.asked) == 2


@pytest.mark.parametrize("how", ["off", "error", "gone", "silent", "never shaken hands with"])
async def test_one_that_ended_is_made_anew_and_what_was_missed_is_known(
    database: Database, tenant: str, plan: Plan, how: str
) -> None:
    bench = await bench_of(database, tenant, plan, heartbeat=60)
    await bench.look()
    await bench.age(made_at=timedelta(minutes=4 if how == "silent" else 6))
    if how == "gone":
        plan.refuses = {"GET $status": 404, "DELETE": 404}
    elif how == "never shaken hands with":
        plan.status = "requested"
    elif how in ("off", "error"):
        plan.status = how
    now = datetime.now(UTC)
    if how != "silent":
        await bench.notices.watches.heard(Watch(tenant=tenant, partner="plan"), [], 0, now)
    bench.notices.client = cast("Any", None)  # no open case: nobody is signalled
    found = await bench.look()
    assert found.subscription == "s2"
    assert plan.asked[-2:] == ["DELETE Subscription/s1", "POST Subscription"]
    assert not found.behind  # it was behind, and every open case (none here) inquires


async def test_a_server_without_status_is_read_instead(database: Database, tenant: str, plan: Plan) -> None:
    bench = await bench_of(database, tenant, plan)
    await bench.look()
    plan.refuses = {"GET $status": 405}
    assert (await bench.look()).status == "active"
    assert plan.asked[-1] == "GET Subscription/s1"


@pytest.mark.parametrize("status", [404, 422, 501, 503])
async def test_a_payer_without_subscriptions_is_no_fault(
    database: Database, tenant: str, plan: Plan, status: int
) -> None:
    bench = await bench_of(database, tenant, plan)
    plan.refuses = {"POST": status}
    assert (await bench.look()).subscription == ""
    plan.refuses = {}
    assert (await bench.look()).subscription == "s1"


async def test_what_is_only_named_is_read_there_and_nowhere_else(database: Database, tenant: str, plan: Plan) -> None:
    bench = await bench_of(database, tenant, plan)
    await bench.look()
    before = len(plan.asked)
    reception = Reception(tenant=tenant, source="fhir/plan", received_at=datetime.now(UTC), client="plan")
    places = [
        f"{plan.url}/fhir/ClaimResponse/1",
        "ClaimResponse/2",
        "http://169.254.169.254/x",
        f"{plan.url}/fhir/../x",
    ]
    for number, focus in enumerate(places, 1):
        happening = Happening(number=number, focus=focus)
        notice = Notice(
            kind="event-notification", status="active", subscription="s1", since_start=number, events=(happening,)
        )
        await bench.notices.take(notice, reception)
    await bench.notices.tick()
    assert sorted(plan.asked[before:]) == ["GET ClaimResponse/1", "GET ClaimResponse/2"]
    assert len(bench.accepted) == 2
    assert all(intake.reply["answers"] for intake in bench.accepted)
    watch = await bench.notices.watches.find(tenant, "plan")
    assert watch is not None
    assert (watch.events, await bench.notices.watches.news(watch)) == (4, [])


async def test_who_may_notify(database: Database, tenant: str, plan: Plan, tmp_path: Path) -> None:
    _, issued = Authority(tmp_path).issue("plan", CLIENT)
    certificate = issued.public_bytes(Encoding.PEM).decode()
    bench = await bench_of(database, tenant, plan, notifier_certificates=(fingerprint(certificate),))
    await bench.look()
    name, _, secret = plan.made[0]["channel"]["header"][0].partition(": ")
    assert name == "Authorization"
    assert len(secret.removeprefix("Bearer ")) == 32
    known = bench.notices.sender("plan", secret, ())
    assert known is not None
    assert (known.tenant, known.client) == (tenant, "plan")
    assert bench.notices.sender("plan", None, (certificate,)) is not None
    for partner, shown in (("plan", None), ("plan", ""), ("plan", secret + "0"), ("other", secret), ("plan", "Ä")):
        assert bench.notices.sender(partner, shown, ()) is None
