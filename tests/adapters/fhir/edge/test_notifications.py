"""The address payers notify us at: who may, what is taken, and that 200 follows only what is durable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from adapters.fhir.inbound.notifications import PATH
from adapters.fhir.wire import serialize, validate_subscription
from adapters.fhir.wire.notification import Notice
from gateway.core.envelope import Reception
from gateway.core.errors import GatewayError, MalformedMessage, Unavailable
from gateway.security.principal import Principal
from mappings.payer_subscription import subscription
from tests.adapters.fhir.edge.fakes import World, running
from tests.adapters.fhir.test_wire_notification import notified

SECRET = "Bearer secret-of-the-subscription"
BODY = serialize(notified())
ADDRESS = PATH.format(partner="plan")


@dataclass
class MemoryNotices:
    taken: list[tuple[Notice, Reception]] = field(default_factory=list)
    failure: GatewayError | None = None

    def sender(self, partner: str, authorization: str | None, certificates: Sequence[str]) -> Principal | None:
        known = partner == "plan" and (authorization == SECRET or "ours" in certificates)
        return Principal(tenant="demo", client=partner) if known else None

    async def take(self, notice: Notice, reception: Reception) -> None:
        if self.failure is not None:
            raise self.failure
        self.taken.append((notice, reception))


def given(world: World, notices: MemoryNotices) -> None:
    edge = world.application.state.edge
    object.__setattr__(edge, "services", replace(edge.services, notices=notices))


async def test_a_notification_is_taken_from_its_payer_alone() -> None:
    async with running() as world:
        assert (await world.post(ADDRESS, BODY)).status_code == 404
        notices = MemoryNotices()
        given(world, notices)
        answer = await world.post(ADDRESS, BODY, authorization=SECRET)
        assert (answer.status_code, answer.content) == (200, b"")
        ((notice, reception),) = notices.taken
        assert (notice.kind, reception.source, reception.client) == ("event-notification", "fhir/plan", "plan")
        for address, shown in ((ADDRESS, "Bearer wrong"), (ADDRESS + "x", SECRET), (ADDRESS, "")):
            assert (await world.post(address, BODY, authorization=shown)).status_code == 401
        assert (await world.post(ADDRESS, BODY)).status_code == 401  # a client of ours, but not this payer
        assert len(notices.taken) == 1


@pytest.mark.parametrize(("failure", "status"), [(Unavailable(), 503), (MalformedMessage(), 400)])
async def test_what_is_not_durable_is_not_acknowledged(failure: GatewayError, status: int) -> None:
    async with running() as world:
        given(world, MemoryNotices(failure=failure))
        answer = await world.post(ADDRESS, BODY, authorization=SECRET)
        assert answer.status_code == status
        assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[" * 99, 400), (b'{"resourceType":"Bundle","type":"history"}', 422), (b"x" * 2000, 413)],
)
async def test_a_body_is_hostile_until_it_was_parsed(body: bytes, status: int) -> None:
    async with running(max_body=1000) as world:
        notices = MemoryNotices()
        given(world, notices)
        assert (await world.post(ADDRESS, body, authorization=SECRET)).status_code == status
        assert notices.taken == []


@pytest.mark.parametrize("version", ["2.2.1", "2.0.1"])
def test_our_subscription_is_one_that_we_would_accept(version: str) -> None:
    made: dict[str, Any] = subscription(
        version=version, organization="US", endpoint="https://us.example/hook", authorization=SECRET, heartbeat=60
    )
    assert validate_subscription(made, {"US"}, version=version) == []
    assert made["channel"]["header"] == [f"Authorization: {SECRET}"]
