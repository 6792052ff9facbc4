"""A version published into a real PostgreSQL decides from its day on; older decisions replay from what is stored."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.app.policies import PoliciesInForce
from gateway.core.errors import ConfigurationError
from gateway.infra.postgres import Database
from gateway.rules import templates
from gateway.rules.engine import evaluate
from gateway.rules.lifecycle import draft, pinned, published, rolled_back
from gateway.rules.model import RuleSet
from gateway.rules.record import DecisionRecord
from gateway.rules.release import release
from gateway.stages.policy import Policies
from gateway.store.rule_store import PostgresRules
from mappings.facts import catalogue
from tests.architecture.tree import ROOT
from tests.gateway.rules.synthetic import policy, request, without

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]
NAME = "prior-authorization"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EASTERN = "America/New_York"


def numbered(number: int, **given: Any) -> RuleSet:
    return replace(policy(catalogue()), version=number, **given)


async def publish(rules: PostgresRules, tenant: str, found: RuleSet, **given: Any) -> None:
    version = replace(draft(found, release(found, catalogue()).hash, "ann"), ruleset=NAME)
    await rules.apply(tenant, NAME, published(version, approver="bob", now=NOW, **given))


def loader(rules: PostgresRules) -> PoliciesInForce:
    return PoliciesInForce(Policies({NAME: templates.load("demo", catalogue())}), rules, catalogue())


def record(policies: PoliciesInForce, tenant: str, as_of: datetime, facts: dict[str, Any] | None = None) -> Any:
    given = {"services": []} if facts is None else facts
    return policies(given, ruleset=NAME, tenant=tenant, as_of=as_of, now=NOW).record


async def test_a_version_decides_from_its_day_in_the_payers_zone(database: Database, tenant: str) -> None:
    rules = PostgresRules(database)
    policies = loader(rules)
    await policies.refresh()
    assert record(policies, tenant, NOW)["ruleset"] == templates.load("demo", catalogue()).ruleset.id
    await publish(rules, tenant, numbered(1, zone=EASTERN, effective=date(2026, 1, 1)))
    await publish(rules, tenant, numbered(2, zone=EASTERN, effective=date(2026, 7, 1)), supersede=True)
    await policies.refresh()

    def number(*moment: int) -> tuple[str, int]:
        found = record(policies, tenant, datetime(*moment, tzinfo=UTC))  # type: ignore[misc]
        return found["ruleset"], found["version"]

    assert number(2026, 1, 1, 4, 59)[0] != "synthetic", "days before the first version stay with the files"
    assert number(2026, 1, 1, 5, 0) == ("synthetic", 1)
    assert number(2026, 7, 1, 3, 59) == ("synthetic", 1)
    assert number(2026, 7, 1, 4, 0) == ("synthetic", 2)
    assert record(policies, f"{tenant}-other", NOW)["ruleset"] != "synthetic"
    await rules.apply(tenant, NAME, rolled_back(by="bob", now=NOW))
    await policies.refresh()
    assert number(2026, 7, 1, 4, 0) == ("synthetic", 1)


async def test_a_gap_is_not_left_to_another_policy(database: Database, tenant: str) -> None:
    rules = PostgresRules(database)
    await publish(rules, tenant, numbered(1, effective=date(2026, 1, 1), expiration=date(2026, 2, 1)))
    policies = loader(rules)
    await policies.refresh()
    with pytest.raises(ConfigurationError, match="in force"):
        record(policies, tenant, NOW)


async def test_a_publication_is_seen_without_a_restart(database: Database, tenant: str) -> None:
    rules = PostgresRules(database)
    policies = loader(rules)
    async with policies.kept_fresh(seconds=0.02):
        await publish(rules, tenant, numbered(7))
        for _ in range(1000):
            if record(policies, tenant, NOW)["version"] == 7:
                return
            await asyncio.sleep(0.02)
    pytest.fail("the publication was never seen")


async def test_old_decisions_replay_byte_for_byte_from_facts_and_the_pinned_release(
    database: Database, tenant: str
) -> None:
    rules, dice = PostgresRules(database), random.Random(8)
    policies = loader(rules)
    await publish(rules, tenant, numbered(1))
    await policies.refresh()
    stored = []
    for _ in range(int(os.environ.get("GATEWAY_REPLAYS", "200"))):
        facts = without(dice, request(dice))
        stored.append((json.dumps(facts), canonical(record(policies, tenant, NOW, facts))))
    lenient = tuple(rule for rule in numbered(1).rules if rule.action.type == "approve")
    await publish(rules, tenant, numbered(2, rules=lenient), supersede=True)
    await policies.refresh()
    by_hash = {each.release_hash: pinned(each, catalogue()) for each in await rules.versions(tenant, NAME)}
    otherwise = 0
    for text, before in stored:
        known, facts = json.loads(before), json.loads(text)
        again = evaluate(
            by_hash[known["release"]],
            facts,
            as_of=date.fromisoformat(known["asOf"]),
            now=datetime.fromisoformat(known["decidedAt"]),
        )
        assert again.record.canonical() == before
        otherwise += record(policies, tenant, NOW, facts)["action"] != known["action"]
    assert otherwise, "the new version must decide something otherwise, else this shows nothing"


def contents(path: str) -> bytes:
    return Path(path).read_bytes()


def canonical(document: dict[str, Any]) -> bytes:
    names = {"release": "release", "asOf": "as_of", "decidedAt": "decided_at", "factsHash": "facts"}
    given = {names.get(key, key): value for key, value in document.items()}
    return DecisionRecord(**given | {"items": tuple(given["items"]), "unknown": tuple(given["unknown"])}).canonical()


async def test_the_command_publishes_the_same_bytes_into_git_and_the_store(
    database: Database, postgres: str, tenant: str, tmp_path: Path
) -> None:
    async def gateway(*words: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "rules", *words, "--tenant", tenant, "--json",
            cwd=ROOT, env={**os.environ, "GATEWAY_POSTGRES": postgres}, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, output.decode()

    people = ("--author", "ann", "--approver", "bob", "--out", str(tmp_path), "--store", "--name", NAME)
    code, output = await gateway("publish", "imaging", *people)
    assert code == 0
    (kept,) = await PostgresRules(database).versions(tenant, NAME)
    assert contents(json.loads(output)["file"]) == kept.content
    code, output = await gateway("versions", NAME)
    assert [(row["version"], row["state"], row["hash"]) for row in json.loads(output)] == [(1, "active", kept.hash)]
    assert (await gateway("rollback", NAME, "--by", "bob"))[0] == 1, "nothing to go back to"
    assert (await gateway("publish", "eligibility", *people))[0] == 1, "another content under a known number"
    assert len(await PostgresRules(database).versions(tenant, NAME)) == 1
