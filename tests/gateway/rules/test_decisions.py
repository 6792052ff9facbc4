"""What a decision owes its readers: the guard, the strategies, effective dates, replay, explanation, the record."""

from __future__ import annotations

import itertools
import json
import os
import random
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.errors import ConfigurationError, GatewayError, InvalidMessage, LimitExceeded
from gateway.rules.check import gaps
from gateway.rules.engine import Reviewer, evaluate, roll_up
from gateway.rules.explain import explain
from gateway.rules.model import ADVERSE, STRATEGIES, Action, Compare, Fact, Literal, Rule, RuleSet
from gateway.rules.release import release
from tests.gateway.rules.random_rules import VALUE_SETS, complete_facts, rules
from tests.gateway.rules.synthetic import policy, request, without

EXAMPLES = int(os.environ.get("GATEWAY_HYPOTHESIS_EXAMPLES", "200"))
GUARD = int(os.environ.get("GATEWAY_GUARD_EXAMPLES", "3000"))
SHUFFLES = int(os.environ.get("GATEWAY_SHUFFLES", "5"))
REPLAYS = int(os.environ.get("GATEWAY_REPLAYS", "1000"))
ALWAYS = Compare(Fact("patient.age"), "ge", Literal("number", Decimal(0)))
KNOWN = {"patient.age": 50, "services": [{"sequence": 1, "code": "X1"}]}


def rule(rule_id="R", action="approve", category="medical_necessity", condition=ALWAYS, **rest):
    return Rule(
        id=rule_id,
        name=rule_id,
        category=category,
        condition=condition,
        action=Action(action, reason="Because.", quantity=Decimal(5) if action == "modify" else None, error_code="33"),
        **rest,
    )


def ruleset(*found, **rest):
    return RuleSet(id="test", version=1, rules=found, **rest)


# the guard


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(rules, min_size=1, max_size=5, unique_by=lambda each: each.id),
    st.sampled_from(STRATEGIES),
    complete_facts,
    st.none()
    | st.builds(Reviewer, st.sampled_from(["", " ", "md-1"]), st.sampled_from(["", "  ", "criteria not met"])),
)
def test_no_rule_set_and_no_input_finalizes_an_adverse_necessity_decision_alone(
    catalogue, now, found, combine, facts, reviewer
):
    adverse = [replace(each, effective=None, expiration=None) for each in found]
    try:
        pinned = release(
            ruleset(
                *adverse,
                combine=combine,
                order=tuple(each.id for each in adverse),
                value_sets=VALUE_SETS,
                automatic_denials=("eligibility", "network", "compliance", "fraud"),
            ),
            catalogue,
        )
    except ConfigurationError:
        return  # refused at save: it decides nothing
    outcome = evaluate(pinned, facts, now=now, reviewer=reviewer)
    by_id = {each.id: each for each in adverse}
    for item in outcome.record.items:
        if item["action"] in ADVERSE:
            signed = reviewer is not None and reviewer.id.strip() and reviewer.rationale.strip()
            assert signed or by_id[item["rule"]].category != "medical_necessity"


def test_the_guard_holds_on_many_requests_under_every_strategy(catalogue, now):
    dice = random.Random(13)
    pinned = [release(policy(catalogue, combine), catalogue) for combine in STRATEGIES]
    necessity = {each.id for each in pinned[0].ruleset.rules if each.category == "medical_necessity"}
    reviewers = (None, Reviewer("", "reason"), Reviewer("md-1", " "))
    held = 0
    for number in range(GUARD):
        facts = without(dice, request(dice), dice.choice([0.0, 0.25]))
        outcome = evaluate(pinned[number % len(pinned)], facts, now=now, reviewer=reviewers[number % 3])
        item = outcome.record.items[0]
        assert item["action"] not in ADVERSE or item["rule"] not in necessity
        held += bool(item["recommended"])
    assert held, "the guard must have had something to hold"


@pytest.mark.parametrize("action", sorted(ADVERSE))
def test_an_adverse_necessity_decision_becomes_a_clinician_task(catalogue, now, action):
    pinned = release(ruleset(rule(action=action)), catalogue)
    held = evaluate(pinned, KNOWN, now=now)
    assert (held.action, held.code) == ("escalate", "A4")
    assert held.tasks[0] == {
        "role": "clinician", "kind": "clinician_review", "sequence": "1", "rule": "R", "recommended": action,
        "reason": "Because.",
    }  # fmt: skip
    assert held.notifications == ()
    half = evaluate(pinned, KNOWN, now=now, reviewer=Reviewer("md-1", " "))
    assert half.action == "escalate"
    signed = evaluate(pinned, KNOWN, now=now, reviewer=Reviewer("md-1", "criteria not met"))
    assert signed.action == action
    assert signed.record.reviewer["id"] == "md-1"


def test_other_denials_are_automatic_only_where_the_rule_set_says_so(catalogue, now):
    denial = rule(action="deny", category="eligibility")
    assert evaluate(release(ruleset(denial), catalogue), KNOWN, now=now).action == "escalate"
    open_set = ruleset(denial, automatic_denials=("eligibility",))
    assert evaluate(release(open_set, catalogue), KNOWN, now=now).action == "deny"
    with pytest.raises(ConfigurationError, match="never automatic"):
        release(ruleset(denial, automatic_denials=("medical_necessity",)), catalogue)


def test_no_match_pends_and_a_default_can_never_approve(catalogue, now):
    never = Compare(Fact("patient.age"), "lt", Literal("number", Decimal(0)))
    assert evaluate(release(ruleset(rule(condition=never)), catalogue), KNOWN, now=now).action == "pend"
    with pytest.raises(ConfigurationError, match="pended or escalated"):
        release(ruleset(rule(), default=Action("approve")), catalogue)


# combining

STRATEGY_TABLE = [
    ("deny-overrides", ["approve", "deny", "pend"], "deny"),
    ("deny-overrides", ["approve", "pend"], "pend"),
    ("approve-overrides", ["approve", "deny", "pend"], "approve"),
    ("priority-first", ["pend", "deny", "approve"], "pend"),
    ("first-applicable", ["escalate", "deny", "approve"], "escalate"),
    ("only-one-applicable", ["approve"], "approve"),
    ("only-one-applicable", ["approve", "approve"], "escalate"),
    ("collect", ["approve", "pend", "deny"], "deny"),
    ("staged", ["approve", "escalate"], "escalate"),
]


@pytest.mark.parametrize(("combine", "actions", "expected"), STRATEGY_TABLE)
def test_strategy_whatever_the_order_of_files(catalogue, now, combine, actions, expected):
    found = [rule(f"R{index}", action, "compliance", priority=100 - index) for index, action in enumerate(actions)]
    order = tuple(each.id for each in found) if combine == "first-applicable" else ()
    hashes = set()
    for shuffled in itertools.permutations(found):
        pinned = release(ruleset(*shuffled, combine=combine, order=order, automatic_denials=("compliance",)), catalogue)
        outcome = evaluate(pinned, KNOWN, now=now)
        assert outcome.action == expected
        hashes.add((pinned.hash, outcome.record.canonical()))
    assert len(hashes) == 1


@pytest.mark.parametrize("combine", STRATEGIES)
def test_no_order_of_files_or_facts_decides(catalogue, now, combine):
    """GATEWAY_SHUFFLES=1000 for the long run; the order that `first-applicable` declares is part of the rule set."""
    dice = random.Random(21)
    found = policy(catalogue, combine)
    requests = [without(dice, request(dice)) for _ in range(10)]
    pinned = release(found, catalogue)
    expected = [evaluate(pinned, facts, now=now).record.canonical() for facts in requests]
    for _ in range(SHUFFLES):
        mixed = release(
            replace(found, rules=tuple(shuffled(dice, found.rules)), value_sets=turned(dice, found.value_sets)),
            catalogue,
        )
        assert mixed.hash == pinned.hash
        number = dice.randrange(len(requests))
        again = evaluate(mixed, turned(dice, requests[number]), now=now)
        assert again.record.canonical() == expected[number]


def shuffled(dice, items):
    return dice.sample(list(items), len(items))


def turned(dice, document):
    return dict(shuffled(dice, document.items()))


def test_staged_passes_early_approvals_on_and_stops_at_the_first_objection(catalogue, now):
    passing = rule("E", "approve", "eligibility")
    deciding = rule("M", "approve")
    objecting = rule("N", "pend", "network")
    assert evaluate(release(ruleset(passing, deciding), catalogue), KNOWN, now=now).action == "approve"
    assert evaluate(release(ruleset(passing, deciding, objecting), catalogue), KNOWN, now=now).items[0].rule == "N"
    never = replace(deciding, condition=Compare(Fact("patient.age"), "lt", Literal("number", Decimal(0))))
    assert evaluate(release(ruleset(passing, never), catalogue), KNOWN, now=now).action == "pend"
    assert evaluate(release(ruleset(passing), catalogue), KNOWN, now=now).action == "approve", "its last stage"


ROLL_UP = [
    (("approve", "approve"), "approve"), (("approve", "deny"), "partial"), (("deny", "deny"), "deny"),
    (("approve", "modify"), "modify"), (("modify", "partial"), "partial"), (("approve", "pend"), "pend"),
    (("deny", "escalate"), "escalate"), (("pend", "request_info"), "request_info"), (("not_required",), "not_required"),
    (("not_required", "approve"), "approve"), (("contact", "approve"), "contact"), (("error", "approve"), "error"),
]  # fmt: skip


@pytest.mark.parametrize(("actions", "expected"), ROLL_UP)
def test_lines_roll_up(actions, expected):
    assert roll_up(actions) == expected


# effective dates

DAYS = [
    (date(2026, 2, 27), "pend"), (date(2026, 2, 28), "approve"), (date(2028, 2, 28), "approve"),
    (date(2028, 2, 29), "pend"), (date(2028, 3, 1), "pend"),
]  # fmt: skip


@pytest.mark.parametrize(("day", "expected"), DAYS)
def test_a_rule_is_in_force_from_its_first_day_until_before_its_end(catalogue, now, day, expected):
    dated = rule(effective=date(2026, 2, 28), expiration=date(2028, 2, 29))
    assert evaluate(release(ruleset(dated), catalogue), KNOWN, as_of=day, now=now).action == expected


def test_an_instant_becomes_a_day_in_the_payers_zone(catalogue, now):
    dated = rule(effective=date(2026, 4, 13))
    pinned = release(ruleset(dated, zone="America/New_York"), catalogue)
    late, early = datetime(2026, 4, 13, 3, 59, tzinfo=UTC), datetime(2026, 4, 13, 4, 0, tzinfo=UTC)
    assert evaluate(pinned, KNOWN, as_of=late, now=now).action == "pend"
    assert evaluate(pinned, KNOWN, as_of=early, now=now).action == "approve"
    received = {**KNOWN, "request.receivedAt": late.isoformat()}
    assert evaluate(pinned, received, now=now).record.as_of == "2026-04-12"


def test_a_suspended_and_an_added_code_answer_by_date(catalogue, now):
    """Required authorization: stimulators until their suspension on 2024-08-28, orthoses since 2026-04-13."""

    def needs(rule_id, code, **dates):
        condition = Compare(Fact("service.code"), "eq", Literal("string", code))
        return rule(rule_id, "pend", "compliance", condition, **dates)

    other = Compare(Fact("service.code"), "ne", Literal("string", ""))
    listed = release(
        ruleset(
            needs("STIM", "E0747", effective=date(2022, 7, 13), expiration=date(2024, 8, 28)),
            needs("BRACE", "L0651", effective=date(2026, 4, 13)),
            rule("NONE", "not_required", "compliance", other),
            combine="deny-overrides",
        ),
        catalogue,
    )

    def answer(code, day):
        return evaluate(listed, {"services": [{"sequence": 1, "code": code}]}, as_of=day, now=now).action

    assert answer("E0747", date(2024, 8, 27)) == "pend"
    assert answer("E0747", date(2024, 8, 28)) == "not_required"
    assert answer("L0651", date(2026, 4, 12)) == "not_required"
    assert answer("L0651", date(2026, 4, 13)) == "pend"


def test_overlapping_versions_are_refused_and_gaps_are_shown(catalogue):
    first = rule(effective=date(2026, 1, 1), expiration=date(2026, 7, 1))
    second = replace(first, version=2, effective=date(2026, 6, 30), expiration=None)
    with pytest.raises(ConfigurationError, match="versions 1 and 2 overlap"):
        release(ruleset(first, second), catalogue)
    later = replace(second, effective=date(2026, 8, 1))
    release(ruleset(first, later), catalogue)
    assert [issue.text for issue in gaps(ruleset(first, later))] == ["no version from 2026-07-01 until 2026-08-01"]


# replay, record, explanation


def test_replay_reproduces_every_record_byte_for_byte(catalogue, now):
    dice = random.Random(11)
    pinned = release(policy(catalogue, "staged"), catalogue)
    stored = []
    for _ in range(REPLAYS):
        facts = without(dice, request(dice))
        stored.append((json.dumps(facts), evaluate(pinned, facts, now=now).record))
    release(replace(policy(catalogue, "staged"), version=2), catalogue)  # a newer release changes nothing
    again = release(policy(catalogue, "staged"), catalogue)
    assert again.hash == pinned.hash
    for text, record in stored:
        replayed = evaluate(
            again,
            json.loads(text),
            as_of=date.fromisoformat(record.as_of),
            now=datetime.fromisoformat(record.decided_at),
        )
        assert replayed.record.canonical() == record.canonical()


def test_the_record_holds_hashes_rules_and_questions_but_no_fact(catalogue, now):
    pinned = release(policy(catalogue), catalogue)
    facts = {**request(random.Random(3)), "patient.id": "CANARY-MRN", "obs.spo2": None}
    text = evaluate(pinned, facts, now=now).record.canonical()
    document = json.loads(text)
    assert b"CANARY" not in text
    assert document["release"] == pinned.hash
    assert document["factsHash"].startswith("sha256:")
    assert set(document["items"][0]) >= {"rule", "matched", "path", "action"}


def test_every_rule_is_explained_with_its_deciding_leaves(catalogue, now):
    dice = random.Random(5)
    pinned = release(policy(catalogue), catalogue)
    seen = set()
    for _ in range(50):
        facts = without(dice, request(dice))
        outcome = evaluate(pinned, facts, now=now)
        reports = explain(pinned, facts, outcome)
        assert {report.rule.id for report in reports} == {each.id for each in pinned.ruleset.rules}
        matched = {report.rule.id for report in reports if report.status == "matched"}
        assert matched == {each.partition("@")[0] for each in outcome.items[0].matched}
        for report in reports:
            seen.add(report.status)
            assert any(leaf.deciding for leaf in report.leaves)
            for leaf in report.leaves:
                if leaf.truth is None and leaf.source in facts and "." in leaf.source:
                    assert facts[leaf.source] is None
    assert seen == {"matched", "not matched", "unknown", "not applicable"}
    expired = release(ruleset(rule(expiration=date(2020, 1, 1))), catalogue)
    assert explain(expired, KNOWN, evaluate(expired, KNOWN, now=now))[0].status == "out of date"


def test_the_index_leaves_out_only_what_cannot_match(catalogue, now):
    pinned = release(policy(catalogue), catalogue)
    dice = random.Random(9)
    for _ in range(200):
        facts = without(dice, request(dice))
        day = date(2026, 1, 15)
        this = facts["services"][0]
        everything = pinned.program.plan(day, None)
        indexed = pinned.program.plan(day, this["code"])
        assert len(indexed.rules) < len(everything.rules)
        truths = dict(zip([each.id for each in everything.rules], everything.run(facts, this)[1], strict=True))
        kept = {each.id for each in indexed.rules}
        assert all(truth is False for rule_id, truth in truths.items() if rule_id not in kept)


def test_requests_beyond_the_limits_or_no_json_are_refused(catalogue, now):
    pinned = release(ruleset(rule()), catalogue)
    with pytest.raises(LimitExceeded):
        evaluate(pinned, {"services": [{}] * 10_001}, now=now)
    with pytest.raises(InvalidMessage):
        evaluate(pinned, {"patient.age": object()}, now=now)
    with pytest.raises(GatewayError):
        evaluate(pinned, KNOWN, now=datetime(2026, 1, 1))
