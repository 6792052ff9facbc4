"""A decision in a real PostgreSQL is made again from what is stored there: the same bytes, years and versions later."""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway.app.policies import PoliciesInForce
from gateway.core.errors import ConfigurationError
from gateway.infra.postgres import Database
from gateway.rules import templates
from gateway.rules.engine import Reviewer, evaluate
from gateway.rules.lifecycle import draft, pinned, published
from gateway.rules.model import RuleSet
from gateway.rules.proving.shadow import Case, shadow_run
from gateway.rules.record import facts_hash
from gateway.rules.release import release
from gateway.rules.replay import replay, stored
from gateway.security.cipher import DerivedKeys, EnvelopeCipher
from gateway.security.tokens import Tokens
from gateway.stages.policy import Policies
from gateway.stages.start import Definition, Opening
from gateway.store import events, recorded
from gateway.store.cases import CaseStore
from gateway.store.rule_store import PostgresRules
from gateway.testing import FixedClock
from mappings.facts import catalogue
from tests.gateway.rules.synthetic import policy, request, without
from tests.gateway.stages.fakes import NOW, envelope
from workflows import definitions
from workflows.activities import CaseActivities
from workflows.inputs import StepInput

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]
CIPHER = EnvelopeCipher(DerivedKeys({"k1": b"1" * 32}, "k1"))
NAME = "prior-authorization"


class Desk:
    """Cases opened and decided as the gateway does it: the store, the policies in force, the decide activity."""

    def __init__(self, database: Database, tenant: str) -> None:
        self.database, self.tenant = database, tenant
        self.clock = FixedClock(NOW)
        self.cases = CaseStore(database, CIPHER, Tokens(b"t" * 32), self.clock)
        self.rules = PostgresRules(database)
        files = Policies({NAME: templates.load("demo", catalogue())})
        self.policies = PoliciesInForce(files, self.rules, catalogue())

        async def no_way(*_: object) -> tuple[str, ...]:
            return ()

        self.activities = CaseActivities(
            cases=self.cases,
            policy=self.policies,
            deliver_stage=None,  # type: ignore[arg-type] # nothing is delivered here
            ways_back=no_way,
            lookup_keys=lambda _decision: (),
            clock=self.clock,
        )

    async def publish(self, found: RuleSet, **given: Any) -> None:
        version = replace(draft(found, release(found, catalogue()).hash, "ann"), ruleset=NAME)
        await self.rules.apply(self.tenant, NAME, published(version, approver="bob", now=NOW, **given))
        await self.policies.refresh()

    async def receive(self, facts: dict[str, Any], subject: str, kind: str = "authorization.request") -> str:
        content = definitions.load()["prior_authorization"]
        kept: Definition = await self.cases.register(self.tenant, content, definitions.content_hash(content))
        message = envelope(kind, id=str(uuid.uuid4()), tenant=self.tenant, subject=f"{self.tenant}-{subject}",
                           dedupe_key=str(uuid.uuid4()), facts=facts)  # fmt: skip
        due = NOW + timedelta(days=7)
        found = await self.cases.open(
            Opening(
                envelope=message, definition=kept, priority="standard", due_at=due, lane="batch", keys=(), opens=True
            )
        )
        return found.case_id

    async def decide(self, case_id: str) -> None:
        step = StepInput(case_id=case_id, tenant=self.tenant, step_id="decide", command_id=str(uuid.uuid4()),
                         executor={"ruleset": NAME})  # fmt: skip
        await self.activities.decide(step)

    async def decisions(self, case_id: str) -> list[recorded.RecordedDecision]:
        return await recorded.of_case(self.database, CIPHER, self.tenant, case_id)

    async def again(self, each: recorded.RecordedDecision) -> bytes:
        version = await self.rules.of_release(self.tenant, each.record["release"])
        assert version is not None
        return replay(pinned(version, catalogue()), each.record, each.facts).record.canonical()


@pytest.fixture
def desk(database: Database, tenant: str) -> Desk:
    return Desk(database, tenant)


def numbered(number: int, **given: Any) -> RuleSet:
    return replace(policy(catalogue()), version=number, **given)


async def test_a_stored_decision_replays_to_its_bytes_after_newer_versions(desk: Desk) -> None:
    dice = random.Random(31)
    await desk.publish(numbered(1))
    cases = []
    for number in range(12):
        facts = without(dice, request(dice)) | {"answers.cost": Decimal("1234.50")}
        case_id = await desk.receive(facts, f"s{number}")
        await desk.decide(case_id)
        cases.append(case_id)
    lenient = tuple(rule for rule in numbered(1).rules if rule.action.type == "approve")
    await desk.publish(numbered(2, rules=lenient), supersede=True)
    desk.clock.now = NOW + timedelta(days=3000)
    otherwise = 0
    for case_id in cases:
        (kept,) = await desk.decisions(case_id)
        assert await desk.again(kept) == stored(kept.record)
        await desk.decide(case_id)
        first, second = await desk.decisions(case_id)
        assert (first.record, first.record["version"], second.record["version"]) == (kept.record, 1, 2)
        assert await desk.again(second) == stored(second.record)
        otherwise += first.record["action"] != second.record["action"]
    assert otherwise, "the new version must decide something otherwise, else this shows nothing"


@pytest.mark.parametrize(("seed", "denied"), [(5, True), (2, False)])
async def test_each_decision_of_a_case_has_the_facts_of_its_moment(desk: Desk, seed: int, denied: bool) -> None:
    """An update of what is denied is refused, not decided: what comes later adds to the request that stands."""
    await desk.publish(numbered(1))
    facts = request(random.Random(seed)) | {"documents": [{"type": "PY"}]}
    case_id = await desk.receive(facts, "one")
    await desk.decide(case_id)
    update = facts | {"patient.age": 7, "obs.spo2": 71}
    assert await desk.receive(update, "one", "authorization.update") == case_id
    await desk.decide(case_id)
    attached = {"documents": [{"type": "28570-0", "controlNumber": "A1"}]}
    assert await desk.receive(attached, "one", "authorization.attachment") == case_id
    await desk.decide(case_id)
    found = await desk.decisions(case_id)
    assert (found[0].record["action"] == "deny") == denied
    age = facts["patient.age"]
    assert [each.facts["patient.age"] for each in found] == ([age, age] if denied else [age, 7, 7])
    assert {"type": "28570-0", "controlNumber": "A1"} in found[-1].facts["documents"]
    for each in found:
        assert facts_hash(each.facts) == each.record["factsHash"]
        assert await desk.again(each) == stored(each.record)


async def test_another_release_other_facts_or_a_changed_record_is_no_replay(desk: Desk) -> None:
    await desk.publish(numbered(1))
    case_id = await desk.receive(request(random.Random(6)), "one")
    await desk.decide(case_id)
    (kept,) = await desk.decisions(case_id)
    same = release(numbered(1), catalogue())
    with pytest.raises(ConfigurationError, match="another release"):
        replay(release(numbered(2), catalogue()), kept.record, kept.facts)
    with pytest.raises(ConfigurationError, match="another set of facts"):
        replay(same, kept.record, kept.facts | {"patient.age": 1})
    with pytest.raises(ConfigurationError, match="another engine"):
        replay(same, kept.record | {"engine": "0"}, kept.facts)
    forged = kept.record | {"action": "approve" if kept.record["action"] != "approve" else "deny"}
    assert replay(same, forged, kept.facts).record.canonical() != stored(forged)


async def test_a_reviewers_part_of_a_record_is_replayed_too() -> None:
    pinned_release = release(numbered(1), catalogue())
    facts = request(random.Random(6))
    signer = Reviewer("md-1", "criteria not met", "207R00000X")
    record = json.loads(evaluate(pinned_release, facts, now=NOW, reviewer=signer).record.canonical())
    assert replay(pinned_release, record, facts).record.canonical() == stored(record)


async def test_a_shadow_run_over_recorded_decisions_names_what_would_differ(desk: Desk, tenant: str) -> None:
    dice = random.Random(9)
    await desk.publish(numbered(1))
    for number in range(40):
        await desk.decide(await desk.receive(request(dice), f"s{number}"))
    ruleset = numbered(1).id

    async def since(moment: datetime, limit: int = 1000, name: str = ruleset) -> list[recorded.RecordedDecision]:
        found, unread = await recorded.since(desk.database, CIPHER, tenant, name, moment, limit)
        assert unread == 0
        return found

    begin = datetime(2026, 1, 1, tzinfo=UTC)
    found = await since(begin)
    assert len(found) == 40
    assert len(await since(begin, limit=7)) == 7
    assert await since(NOW + timedelta(days=1)) == await since(begin, name="demo") == []
    cases = [
        Case(id=each.case_id, facts=each.facts, as_of=date.fromisoformat(each.record["asOf"]), now=NOW)
        for each in found
    ]
    current = release(numbered(1), catalogue())
    without_fraud = tuple(rule for rule in numbered(1).rules if not rule.id.startswith("FR"))
    count, differences = shadow_run(current, release(numbered(2, rules=without_fraud), catalogue()), cases)
    assert count == 40
    told = {each.case_id: each.record["items"][0]["action"] for each in found}
    assert differences
    assert all(told[each.case] == each.before for each in differences), "before is what was recorded"


async def test_a_case_of_another_tenant_is_not_there(desk: Desk, database: Database) -> None:
    await desk.publish(numbered(1))
    case_id = await desk.receive(request(random.Random(6)), "one")
    with pytest.raises(LookupError):
        await recorded.of_case(database, CIPHER, f"{desk.tenant}-other", case_id)
    assert await desk.decisions(case_id) == [], "opened, not decided"


async def test_a_decision_whose_facts_are_gone_is_counted_and_not_made_up(desk: Desk, tenant: str) -> None:
    await desk.publish(numbered(1))
    whole, broken = [await desk.receive(request(random.Random(seed)), f"s{seed}") for seed in (1, 2)]
    for case_id in (whole, broken):
        await desk.decide(case_id)
    async with desk.database.transaction(tenant) as connection:
        case = await desk.cases.lock(connection, broken)
        (kept,) = await desk.decisions(broken)
        record = kept.record | {"factsHash": "sha256:" + "0" * 64}
        made = events.NewEvent(
            type="DecisionMade", data={"action": "A1", "release": "x"}, sealed={"decision": {"record": record}}
        )
        await desk.cases.record(connection, case, [made], command_id=str(uuid.uuid4()), status="running")
    found, unread = await recorded.since(
        desk.database, CIPHER, tenant, numbered(1).id, datetime(2026, 1, 1, tzinfo=UTC), 10
    )
    assert ({each.case_id for each in found}, len(found), unread) == ({whole, broken}, 2, 1)
    with pytest.raises(ConfigurationError, match="do not give the facts"):
        await desk.decisions(broken)
