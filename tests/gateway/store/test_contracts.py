"""The stores of the edges on PostgreSQL keep the contracts that the tests' fakes keep."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from adapters.soap.inbound import Answer
from adapters.x12.wire.ports import NumberAllocator
from gateway.core.errors import Unavailable
from gateway.core.ports import Outbound, Receipt
from gateway.infra.postgres import SYSTEM, Database
from gateway.security.cipher import DerivedKeys, EnvelopeCipher
from gateway.security.tokens import Tokens
from gateway.store.blobs import PostgresBlobs
from gateway.store.deliveries import Deliveries
from gateway.store.fhir_edge import PostgresIssued, PostgresSubscriptions, PostgresUsedOnce
from gateway.store.journal import Entry, Journal
from gateway.store.soap_answers import PostgresAnswers
from gateway.store.x12_ledger import PostgresLedger, PostgresNumbers
from tests.adapters.fhir.edge.contracts import RESOURCE, IssuedContract, JtiContract, SubscriptionsContract
from tests.adapters.x12.contract import EnvelopeLedgerContract, NumberAllocatorContract
from tests.gateway.stages.fakes import MARKER, envelope

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

CIPHER = EnvelopeCipher(DerivedKeys({"k1": b"1" * 32}, "k1"))
DAY = timedelta(days=1)
USED = ("subscriptions", "subscription_events", "issued", "interchanges", "control_numbers")


@pytest.fixture
async def empty(database: Database) -> Database:
    """Contracts name their tenants themselves, so each test begins with empty tables."""
    async with database.transaction(SYSTEM) as connection:
        for table in reversed(USED):
            await connection.execute(f"DELETE FROM workflow.{table}")
        await connection.execute("DELETE FROM workflow.used_once")
    return database


class TestPostgresSubscriptions(SubscriptionsContract):
    @pytest.fixture
    def subject(self, empty: Database) -> PostgresSubscriptions:
        return PostgresSubscriptions(empty, CIPHER)

    async def test_it_is_off_when_its_end_has_come(self, empty: Database) -> None:
        moment = datetime.now(UTC)
        now, later = (PostgresSubscriptions(empty, CIPHER, lambda at=at: at) for at in (moment, moment + 2 * DAY))
        resource = {**RESOURCE, "end": (moment + DAY).isoformat()}
        made = await now.create("acme", "ehr-a", "2.2.1", ["222"], resource)
        await now.mark("acme", made.id, "active")
        assert [row.id for row in await now.watching("acme", "222")] == [made.id]
        assert await later.watching("acme", "222") == []
        found = await later.find("acme", made.id)
        assert found is not None
        assert found.status == "off"

    async def test_told_is_what_was_rendered_for_delivery(
        self, empty: Database, subject: PostgresSubscriptions
    ) -> None:
        made = await subject.create("acme", "ehr-a", "2.2.1", ["222"], RESOURCE)
        other = await subject.create("acme", "ehr-a", "2.0.1", ["222"], RESOURCE)
        case = str(uuid.uuid4())
        for version in (1, 2, 3):
            number = await subject.next_event("acme", made.id, f"{case}:{version}")
            if version == 2:
                continue  # its number is taken, its notification is not stored yet
            endpoint = f"fhir-notify.{made.id}"
            key = f"{case}:{version}:{endpoint}"
            sent = Outbound(endpoint=endpoint, data=b'{"id":"%d"}' % number, media_type="x/y", idempotency_key=key)
            await Deliveries(empty, CIPHER).intend("acme", case, sent)
        assert [row["id"] for row in await subject.told("acme", "ehr-a", made.id, 1, 9, 9)] == ["1", "3"]
        assert [row["id"] for row in await subject.told("acme", "ehr-a", made.id, 2, 3, 9)] == ["3"]
        assert [row["id"] for row in await subject.told("acme", "ehr-a", made.id, 1, 9, 1)] == ["1"]
        assert await subject.told("acme", "ehr-b", made.id, 1, 9, 9) == []
        assert await subject.told("acme", "ehr-a", other.id, 1, 9, 9) == []
        assert await subject.told("acme", "ehr-a", "unknown", 1, 9, 9) == ()


class TestPostgresIssued(IssuedContract):
    @pytest.fixture
    def subject(self, empty: Database) -> PostgresIssued:
        return PostgresIssued(empty, CIPHER)


class TestPostgresUsedOnce(JtiContract):
    @pytest.fixture
    def subject(self, empty: Database) -> PostgresUsedOnce:
        return PostgresUsedOnce(empty)


class TestPostgresLedger(EnvelopeLedgerContract):
    @pytest.fixture
    def ledger(self, empty: Database) -> PostgresLedger:
        return PostgresLedger(empty, CIPHER)


class TestPostgresNumbers(NumberAllocatorContract):
    @pytest.fixture
    def numbers(self, empty: Database) -> PostgresNumbers:
        return PostgresNumbers(empty)

    @pytest.fixture
    async def near_the_end(self, empty: Database) -> NumberAllocator:
        numbers = PostgresNumbers(empty)
        await numbers.allocate("t", "P", "C", "interchange", 999_999_997)
        return numbers


async def test_soap_answers_the_first_one_stands(database: Database, tenant: str) -> None:
    answers = PostgresAnswers(database, CIPHER, Tokens(b"t" * 32))
    key, first = (tenant, "client-a", "payload-1"), Answer("d1", b"<first/>", b"TA1")
    assert await answers.get(key) is None
    await answers.put(key, first)
    await answers.put(key, Answer("d2", b"<second/>"))
    assert await answers.get(key) == first
    assert await answers.get((tenant, "client-b", "payload-1")) is None
    assert await answers.get((f"{tenant}-other", "client-a", "payload-1")) is None
    plain = Answer("d3", b"<plain/>", None)
    await answers.put((tenant, "client-a", "payload-2"), plain)
    assert await answers.get((tenant, "client-a", "payload-2")) == plain


async def test_blobs_are_content_addressed_sealed_and_the_tenants_own(database: Database, tenant: str) -> None:
    blobs = PostgresBlobs(database, CIPHER)
    data = MARKER.encode() * 1000
    uri = await blobs.put(tenant, data)
    assert uri == f"blob:{hashlib.sha256(data).hexdigest()}"
    assert await blobs.put(tenant, data) == uri
    assert await blobs.get(tenant, uri) == data
    with pytest.raises(Unavailable):
        await blobs.get(f"{tenant}-other", uri)
    async with database.transaction(tenant) as connection:
        rows = await connection.fetch("SELECT data FROM workflow.blobs")
    assert len(rows) == 1
    assert MARKER.encode() not in rows[0]["data"]


async def test_the_first_rendering_stands_and_its_state_is_told(database: Database, tenant: str) -> None:
    deliveries, case = Deliveries(database, CIPHER), str(uuid.uuid4())
    key = f"{case}:2:clearinghouse-a"

    def rendered(data: bytes) -> Outbound:
        attributes = {"file": "a.x12"}
        return Outbound(
            endpoint="clearinghouse-a", data=data, media_type="t", idempotency_key=key, attributes=attributes
        )

    assert await deliveries.find(tenant, key) is None
    results = await asyncio.gather(*(deliveries.intend(tenant, case, rendered(b"%d" % n)) for n in range(10)))
    assert len({result.outbound.data for result in results}) == 1
    assert await deliveries.find(tenant, key) == results[0]
    assert await deliveries.attempt(tenant, key, "clearinghouse-a", 0.0) == 0.0
    await deliveries.settle(tenant, key, Receipt(accepted=False))
    refused = await deliveries.find(tenant, key)
    assert refused is not None
    assert not refused.delivered
    await deliveries.settle(tenant, key, Receipt(accepted=True, reference="R1"))
    done = await deliveries.find(tenant, key)
    assert done is not None
    assert (done.delivered, done.reference, done.outbound) == (True, "R1", results[0].outbound)
    assert await deliveries.find(f"{tenant}-other", key) is None


async def test_the_journal_writes_once_and_shows_no_content(database: Database, tenant: str) -> None:
    journal = Journal(database)
    given = envelope(id=str(uuid.uuid4()), tenant=tenant, correlation_id=str(uuid.uuid4()), facts={"n": MARKER})
    body = CIPHER.encrypt(tenant, given.body())
    entries = [
        Entry(envelope=given, body=body, topic="intake.authorization.v1", partition=1, offset=offset)
        for offset in (7, 8)
    ]
    await journal.write(entries)
    await journal.write(entries[1:])
    rows = await journal.find(given.correlation_id)
    assert [row["record_offset"] for row in rows] == [7]
    assert MARKER not in repr(rows)


async def test_the_journal_takes_messages_of_several_tenants_at_once(database: Database, tenant: str) -> None:
    given = [
        envelope(id=str(uuid.uuid4()), tenant=name, correlation_id=str(uuid.uuid4()))
        for name in (tenant, f"{tenant}-2")
    ]
    await Journal(database).write(
        [Entry(envelope=one, body=b"", topic="intake.parked.v1", partition=0, offset=9) for one in given]
    )
    for one in given:
        ((row),) = await Journal(database).find(one.id)
        assert row["tenant"] == one.tenant
