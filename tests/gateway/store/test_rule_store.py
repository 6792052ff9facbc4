"""What every store of rule set versions owes: one contract, run on memory and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import pytest

from gateway.core.errors import ConfigurationError, MessageConflict, OwnError
from gateway.infra.postgres import Database
from gateway.rules.lifecycle import (
    RuleStore,
    Step,
    Version,
    advance,
    draft,
    in_force,
    pinned,
    published,
    rolled_back,
    same_content,
)
from gateway.rules.model import RuleSet
from gateway.rules.release import release
from gateway.store.rule_store import PostgresRules
from mappings.facts import catalogue
from tests.gateway.rules.synthetic import policy

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]
JAN, FEB, MAR = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3))
JULY = date(2026, 7, 1)


@dataclass
class MemoryRules:
    """The port in memory."""

    kept: dict[tuple[str, str], dict[int, Version]] = field(default_factory=dict)

    async def versions(self, tenant: str, ruleset: str) -> Sequence[Version]:
        known = self.kept.get((tenant, ruleset), {})
        return [known[number] for number in sorted(known)]

    async def apply(self, tenant: str, ruleset: str, step: Step) -> Sequence[Version]:
        known = self.kept.get((tenant, ruleset), {})
        changed = step([known[number] for number in sorted(known)])
        for version in changed:
            same_content(known.get(version.version), version)
        self.kept[tenant, ruleset] = known | {version.version: version for version in changed}
        return changed


@pytest.fixture(params=["memory", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which store; the server is started here, outside of any event loop."""
    return str(request.getfixturevalue("postgres") if request.param == "postgres" else "")


@pytest.fixture
async def store(kind: str) -> AsyncIterator[RuleStore]:
    """A store of one kind."""
    if not kind:
        yield MemoryRules()
        return
    opened = Database(kind)
    await opened.open()
    yield PostgresRules(opened)
    await opened.close()


def numbered(number: int, **given: object) -> RuleSet:
    return replace(policy(catalogue()), version=number, **given)  # type: ignore[arg-type]


def written(number: int = 1, author: str = "ann", **given: object) -> Version:
    found = numbered(number, **given)
    return draft(found, release(found, catalogue()).hash, author)


async def publish(store: RuleStore, tenant: str, version: Version, at: datetime = JAN, supersede: bool = False) -> None:
    await store.apply(tenant, "synthetic", published(version, approver="bob", now=at, supersede=supersede))


async def test_what_is_kept_comes_back_byte_for_byte(store: RuleStore, tenant: str) -> None:
    version = written(effective=JULY, expiration=date(2027, 7, 1))
    await store.apply(tenant, "synthetic", lambda _known: [version])
    (kept,) = await store.versions(tenant, "synthetic")
    assert kept == version
    assert "sha256:" + hashlib.sha256(kept.content).hexdigest() == kept.hash
    assert pinned(kept, catalogue()).hash == version.release_hash


async def test_the_states_are_walked_by_two_people(store: RuleStore, tenant: str) -> None:
    await store.apply(tenant, "synthetic", lambda _known: [written()])

    async def step(state: str, by: str) -> str:
        await store.apply(tenant, "synthetic", lambda known: [advance(known[0], state, by=by, now=JAN)])
        return (await store.versions(tenant, "synthetic"))[0].state

    assert await step("in_review", "ann") == "in_review"
    with pytest.raises(ConfigurationError, match="author cannot approve"):
        await step("approved", "Ann")
    assert await step("approved", "bob") == "approved"
    assert await step("active", "bob") == "active"
    assert await step("retired", "bob") == "retired"
    assert (await store.versions(tenant, "synthetic"))[0].approver == "bob"


async def test_another_content_under_a_known_number_is_refused(store: RuleStore, tenant: str) -> None:
    await publish(store, tenant, written())
    with pytest.raises(MessageConflict):
        await publish(store, tenant, written(name="Another"))
    with pytest.raises(MessageConflict):
        await store.apply(tenant, "synthetic", lambda _known: [written(2, expiration=JULY), written(name="Another")])
    assert [each.version for each in await store.versions(tenant, "synthetic")] == [1], "all or nothing"
    await publish(store, tenant, written())
    assert (await store.versions(tenant, "synthetic"))[0].activated_at == JAN, "published once more changes nothing"


async def test_tenants_have_versions_of_their_own(store: RuleStore, tenant: str) -> None:
    await publish(store, tenant, written())
    await publish(store, f"{tenant}-other", written(name="Theirs"))
    assert (await store.versions(tenant, "synthetic"))[0].rules().name != "Theirs"
    assert await store.versions(tenant, "nothing") == []


async def test_both_times_are_kept(store: RuleStore, tenant: str) -> None:
    """Which version decided a day, as known in January, in February, and after a rollback in March."""
    await publish(store, tenant, written())
    with pytest.raises(ConfigurationError, match="overlaps active version 1"):
        await publish(store, tenant, written(2, effective=JULY), FEB)
    await publish(store, tenant, written(2, effective=JULY), FEB, supersede=True)
    await store.apply(tenant, "synthetic", rolled_back(by="bob", now=MAR))
    kept = await store.versions(tenant, "synthetic")

    def number(day: date, known_at: datetime | None = None) -> int | None:
        found = in_force(kept, day, known_at)
        return found.version if found else None

    assert [number(JULY, at) for at in (JAN, FEB, MAR, None)] == [1, 2, 1, 1]
    assert [number(date(2026, 6, 30), at) for at in (JAN, FEB, MAR, None)] == [1, 1, 1, 1]


async def test_a_rollback_to_a_retired_version_forgets_no_earlier_time(store: RuleStore, tenant: str) -> None:
    await publish(store, tenant, written())
    await store.apply(tenant, "synthetic", lambda known: [advance(known[0], "retired", by="bob", now=FEB)])
    await publish(store, tenant, written(2), FEB)
    await store.apply(tenant, "synthetic", rolled_back(by="bob", now=MAR))
    first, second = await store.versions(tenant, "synthetic")
    assert (first.state, first.earlier, second.state) == ("active", ((JAN, FEB),), "retired")
    asked = [in_force([first, second], JULY, at) for at in (JAN, FEB, MAR)]
    assert [each and each.version for each in asked] == [1, 2, 1]


async def test_two_activations_at_once_do_not_both_pass(store: RuleStore, tenant: str) -> None:
    tried = [publish(store, tenant, written(number)) for number in (1, 2, 3)]
    ended = await asyncio.gather(*tried, return_exceptions=True)
    assert sum(isinstance(each, ConfigurationError) for each in ended) == 2
    assert [each.state for each in await store.versions(tenant, "synthetic")] == ["active"]


CHANGES = (
    "UPDATE workflow.rule_releases SET content = '\\x7b7d'",
    "UPDATE workflow.rule_releases SET author = 'eve'",
    "DELETE FROM workflow.rule_releases",
    "UPDATE workflow.business_rules SET priority = 1",
    "DELETE FROM workflow.business_rules",
)


@pytest.mark.parametrize("change", CHANGES)
async def test_the_application_changes_no_content(database: Database, tenant: str, change: str) -> None:
    await publish(PostgresRules(database), tenant, written())
    with pytest.raises(OwnError, match="InsufficientPrivilege"):
        async with database.transaction(tenant) as connection:
            await connection.execute(change)


async def test_the_database_itself_wants_two_people_and_the_hash(database: Database, tenant: str) -> None:
    rules = PostgresRules(database)
    alone = replace(written(), state="approved", approver="ANN")
    with pytest.raises(OwnError, match="CheckViolation"):
        await rules.apply(tenant, "synthetic", lambda _known: [alone])
    with pytest.raises(OwnError, match="CheckViolation"):
        await rules.apply(tenant, "synthetic", lambda _known: [replace(written(), hash="sha256:0")])


async def test_rules_can_be_read_one_by_one(database: Database, tenant: str) -> None:
    await publish(PostgresRules(database), tenant, written())
    async with database.transaction(tenant) as connection:
        rows = await connection.fetch("SELECT rule_id, category, condition, action FROM workflow.business_rules")
    assert {row["rule_id"] for row in rows} == {rule.id for rule in numbered(1).rules}
    assert all(row["condition"] and row["action"]["type"] for row in rows)
