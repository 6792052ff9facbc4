"""What every implementation of the edge's stores must do. Subclass, and give `subject` as a fixture.

class TestPostgresSubscriptions(SubscriptionsContract):
    @pytest.fixture
    def subject(self): return PostgresSubscriptions(...)
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from adapters.fhir.inbound import Issued, Subscriptions
from gateway.security.smart import JtiStore
from tests.adapters.fhir.edge.bundles import subscription

DECIMAL = {"extension": [{"url": "http://ehr.example/share", "valueDecimal": Decimal("1.50")}]}
RESOURCE = {**subscription("https://ehr.example/hook"), **DECIMAL}
del RESOURCE["status"]


class SubscriptionsContract:
    """The Subscription store."""

    async def created(self, subject: Subscriptions, client: str = "ehr-a", tenant: str = "acme") -> Any:
        return await subject.create(tenant, client, "2.2.1", ["1234567893", "222"], RESOURCE)

    async def test_a_new_one_is_requested_and_read_back_by_its_owner_only(self, subject: Subscriptions) -> None:
        made = await self.created(subject)
        assert (made.status, made.version, made.events, made.error) == ("requested", 1, 0, "")
        assert made.resource == {**RESOURCE, "id": made.id}
        assert made.organizations == ("1234567893", "222")
        assert await subject.read("acme", "ehr-a", made.id) == made
        assert await subject.read("acme", "ehr-b", made.id) is None
        assert await subject.read("other", "ehr-a", made.id) is None
        assert await subject.read("acme", "ehr-a", "no-such-id") is None

    async def test_a_client_owns_its_own_at_one_endpoint(self, subject: Subscriptions) -> None:
        first, second = await self.created(subject), await self.created(subject)
        foreign = await self.created(subject, client="ehr-b")
        older = await subject.create("acme", "ehr-a", "2.0.1", ["222"], RESOURCE)

        async def owned(*identities: str, limit: int = 9) -> list[str]:
            return [one.id for one in await subject.owned("acme", "ehr-a", "2.2.1", identities, limit)]

        assert await owned() == sorted([first.id, second.id])
        assert len(await owned(limit=1)) == 1
        assert await owned(second.id, foreign.id, older.id, "unknown") == [second.id]
        assert await owned("unknown") == []

    async def test_update_counts_the_version_and_asks_for_a_new_handshake(self, subject: Subscriptions) -> None:
        made = await self.created(subject)
        await subject.mark("acme", made.id, "error", "no answer")
        changed = {**RESOURCE, "reason": "changed"}
        after = await subject.update("acme", "ehr-a", made.id, ["222"], changed)
        assert after is not None
        assert (after.version, after.status, after.error) == (2, "requested", "")
        assert (after.resource, after.organizations) == ({**changed, "id": made.id}, ("222",))
        assert await subject.update("acme", "ehr-b", made.id, ["222"], changed) is None

    async def test_delete_is_the_owners(self, subject: Subscriptions) -> None:
        made = await self.created(subject)
        assert not await subject.delete("acme", "ehr-b", made.id)
        assert await subject.delete("acme", "ehr-a", made.id)
        assert not await subject.delete("acme", "ehr-a", made.id)
        assert await subject.read("acme", "ehr-a", made.id) is None

    async def test_only_active_ones_watch(self, subject: Subscriptions) -> None:
        made = await self.created(subject)
        assert await subject.watching("acme", "222") == []
        await subject.mark("acme", made.id, "active")
        assert [row.id for row in await subject.watching("acme", "222")] == [made.id]
        assert list(await subject.watching("acme", "22")) == []
        assert list(await subject.watching("other", "222")) == []
        await subject.mark("acme", made.id, "error", "gone")
        assert list(await subject.watching("acme", "222")) == []
        stored = await subject.read("acme", "ehr-a", made.id)
        assert stored is not None
        assert (stored.status, stored.error, stored.version) == ("error", "gone", 1)

    async def test_events_are_numbered_without_gaps_and_once_per_key(self, subject: Subscriptions) -> None:
        made = await self.created(subject)
        keys = [f"decision-{n}" for n in range(20)]
        numbers = await asyncio.gather(*(subject.next_event("acme", made.id, key) for key in keys))
        assert sorted(numbers) == list(range(1, 21))
        assert await subject.next_event("acme", made.id, keys[3]) == numbers[3]
        stored = await subject.read("acme", "ehr-a", made.id)
        assert stored is not None
        assert stored.events == 20
        await subject.update("acme", "ehr-a", made.id, ["222"], RESOURCE)
        assert await subject.next_event("acme", made.id, "decision-new") == 21


class IssuedContract:
    """Resources we issued."""

    async def test_resources_are_the_clients_own(self, subject: Issued) -> None:
        resource = {"resourceType": "Task", "id": "t1", "status": "requested", **DECIMAL}
        await subject.save("acme", "ehr-a", [resource])
        stored = await subject.read("acme", "ehr-a", "Task", "t1")
        assert stored is not None
        assert (stored.resource, stored.version) == (resource, 1)
        assert await subject.read("acme", "ehr-b", "Task", "t1") is None
        assert await subject.read("other", "ehr-a", "Task", "t1") is None
        assert await subject.read("acme", "ehr-a", "Bundle", "t1") is None

    async def test_a_change_is_a_version_and_a_repetition_is_none(self, subject: Issued) -> None:
        first = {"resourceType": "Task", "id": "t1", "status": "requested"}
        second = {**first, "status": "completed"}
        for resource in (first, first, second, second):
            await subject.save("acme", "ehr-a", [resource])
        stored = await subject.read("acme", "ehr-a", "Task", "t1")
        assert stored is not None
        assert (stored.resource, stored.version) == (second, 2)


class JtiContract:
    """Single use of assertion ids, over all replicas that share the store."""

    async def test_an_id_is_used_once_per_issuer(self, subject: JtiStore) -> None:
        until = datetime.now(UTC) + timedelta(minutes=5)
        assert await subject.use("a", "1", until)
        assert not await subject.use("a", "1", until)
        assert await subject.use("b", "1", until)
        assert await subject.use("a", "2", until)

    async def test_of_fifty_racing_uses_one_wins(self, subject: JtiStore) -> None:
        until = datetime.now(UTC) + timedelta(minutes=5)
        assert sum(await asyncio.gather(*(subject.use("a", "race", until) for _ in range(50)))) == 1
