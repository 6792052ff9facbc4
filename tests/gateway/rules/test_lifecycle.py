"""Versions: two people, immutable bytes, two time axes, rollback, and differences in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from gateway.core.errors import ConfigurationError, MessageConflict
from gateway.rules.diff import diff, words
from gateway.rules.lifecycle import advance, draft, in_force, roll_back, same_content
from gateway.rules.lifecycle import pinned as pinned_release
from gateway.rules.model import ValueSet
from gateway.rules.proving.shadow import Case, conflicts, shadow_run
from gateway.rules.release import release
from gateway.rules.templates import load
from tests.gateway.rules.synthetic import policy, request, without

JAN, FEB, MAR = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3))


def version(catalogue, number=1, state="active", at=JAN, **dates):
    found = replace(policy(catalogue), version=number, **dates)
    made = draft(found, release(found, catalogue).hash, "ann")
    for step, by in (("in_review", "ann"), ("approved", "bob"), ("active", "bob")):
        if made.state != state:
            made = advance(made, step, by=by, now=at)
    return made


def test_the_author_cannot_approve_and_no_step_is_skipped(catalogue):
    made = version(catalogue, state="in_review")
    with pytest.raises(ConfigurationError, match="author cannot approve"):
        advance(made, "approved", by="Ann ", now=JAN)
    with pytest.raises(ConfigurationError, match="cannot become active"):
        advance(made, "active", by="bob", now=JAN)
    with pytest.raises(ConfigurationError, match="needs a person"):
        advance(made, "approved", by=" ", now=JAN)
    assert advance(made, "approved", by="bob", now=JAN).approver == "bob"


def test_stored_bytes_give_the_same_release_and_cannot_change(catalogue):
    made = version(catalogue)
    assert release(made.rules(), catalogue).hash == made.release_hash
    tampered = replace(made, content=made.content.replace(b"deny", b"pend", 1))
    with pytest.raises(ConfigurationError, match="does not have its hash"):
        tampered.rules()
    other = draft(replace(policy(catalogue), name="other"), "sha256:0", "ann")
    with pytest.raises(MessageConflict):
        same_content(made, other)
    same_content(made, version(catalogue))


def test_valid_time_and_recorded_time_are_two_axes(catalogue):
    first = version(catalogue, 1, at=JAN, expiration=date(2026, 7, 1))
    second = version(catalogue, 2, at=FEB, effective=date(2026, 7, 1))
    both = [second, first]
    assert in_force(both, date(2026, 6, 30)) == first
    assert in_force(both, date(2026, 7, 1)) == second
    assert in_force(both, date(2026, 7, 1), known_at=JAN) is None, "in January nobody knew the second"
    retired = advance(first, "retired", by="bob", now=MAR)
    assert in_force([retired, second], date(2026, 6, 30)) is None
    assert in_force([retired, second], date(2026, 6, 30), known_at=FEB) == retired, "an appeal asks what held then"


def test_active_versions_may_not_overlap(catalogue):
    first = version(catalogue, 1)
    second = version(catalogue, 2, state="approved", effective=date(2026, 7, 1))
    with pytest.raises(ConfigurationError, match="overlaps active version 1"):
        advance(second, "active", by="bob", now=FEB, others=[first])
    bounded = version(catalogue, 1, expiration=date(2026, 7, 1))
    assert advance(second, "active", by="bob", now=FEB, others=[bounded]).state == "active"


def test_rollback_retires_one_and_revives_the_one_before(catalogue):
    first = advance(version(catalogue, 1), "retired", by="bob", now=FEB)
    second = version(catalogue, 2, at=FEB)
    gone, back = roll_back([first, second], second, by="bob", now=MAR)
    assert (gone.version, gone.state, back.version, back.state) == (2, "retired", 1, "active")
    with pytest.raises(ConfigurationError, match="no earlier version"):
        roll_back([second], second, by="bob", now=MAR)


def test_differences_are_told_in_words(catalogue):
    old = load("imaging", catalogue).ruleset
    first = replace(old.rules[0], action=replace(old.rules[0].action, reason="Other words."))
    sets = {**old.value_sets, "lumbar-mri": ValueSet(name="lumbar-mri", codes=frozenset({"X7214", "X7299"}))}
    new = replace(old, version=2, rules=(first, old.rules[1]), value_sets=sets, combine="deny-overrides")
    changes = {change.what: (change.how, change.text) for change in diff(old, new, catalogue)}
    assert set(changes) == {"rule IMG-1", "rule IMG-3", "value set lumbar-mri", "combine"}
    assert changes["rule IMG-1"][0] == "changed"
    assert '{+"Other words."+}' in changes["rule IMG-1"][1]
    assert changes["rule IMG-3"][0] == "removed"
    assert changes["value set lumbar-mri"][1] == "without X7215; with X7299"
    assert diff(old, old, catalogue) == []
    assert words("at most 88 %", "at most 90 %") == "at most [-88-]{+90+} %"


def test_a_shadow_run_lists_what_would_be_decided_otherwise(catalogue, now):
    import random

    dice = random.Random(4)
    current = release(policy(catalogue), catalogue)
    rules = [rule for rule in policy(catalogue).rules if rule.id != "FR-1"]
    candidate = release(replace(policy(catalogue), version=2, rules=tuple(rules)), catalogue)
    cases = [Case(id=str(n), facts=without(dice, request(dice)), as_of=date(2026, 1, 15), now=now) for n in range(300)]
    count, same = shadow_run(current, current, cases)
    assert (count, same) == (300, [])
    _, found = shadow_run(current, candidate, cases)
    assert found
    assert all(any("FR-1" in step for step in each.why_before) for each in found)
    pairs, dead = conflicts(current, [case.facts for case in cases], now)
    assert any("decides before" in pair for pair in pairs)
    assert "FR-1" not in dead


def test_rewording_the_catalogue_changes_no_hash_but_another_type_does(catalogue, now):
    pinned = release(policy(catalogue), catalogue)
    age = catalogue.facts["patient.age"]
    reworded = replace(catalogue, facts={**catalogue.facts, "patient.age": replace(age, question="How old?")})
    assert release(policy(catalogue), reworded).hash == pinned.hash
    retyped = replace(catalogue, facts={**catalogue.facts, "patient.age": replace(age, unit="mo")})
    assert release(policy(catalogue), retyped).hash != pinned.hash
    kept = version(catalogue)
    assert pinned_release(kept, reworded).hash == kept.release_hash
    with pytest.raises(ConfigurationError, match="another meaning"):
        pinned_release(kept, retyped)
