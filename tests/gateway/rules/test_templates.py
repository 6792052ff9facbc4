"""Shipped policy is tested policy: every scenario, every condition seen true, false and unknown, mutants killed."""

from __future__ import annotations

import re

import pytest

from gateway.rules import templates
from gateway.rules.catalogue import Catalogue
from gateway.rules.files import assemble
from gateway.rules.proving.mutation import mutation_run, score
from gateway.rules.proving.scenarios import read_scenarios, run_all

WANTED = {
    "imaging", "home-oxygen", "dme", "step-therapy", "therapy-visits", "inpatient", "out-of-network", "coverage",
    "duplicate-claim", "code-pairs", "timely-filing", "credentials", "part2-consent", "demo", "pap", "glucose-monitors",
    "hospital-beds", "power-mobility", "echocardiography", "coordination-of-benefits", "units-limit", "gold-card",
}  # fmt: skip
OWNER = "to be set by the policy owner"
CPT = re.compile(rb"\b[0-9]{4}[0-9FTU]\b")


def test_the_templates_are_there():
    assert set(templates.names()) >= WANTED


@pytest.mark.parametrize("name", templates.names())
def test_scenarios_pass_and_see_every_condition_three_ways(catalogue: Catalogue, name: str):
    pinned = templates.load(name, catalogue)
    results, coverage = run_all(pinned, read_scenarios(templates.files_of(name)["scenarios.yaml"]))
    assert [(result.scenario.name, result.differences) for result in results if result.differences] == []
    assert coverage.missing(pinned) == []
    assert {rule.id for rule in pinned.ruleset.rules} == coverage.matched, "every rule decides somewhere"


@pytest.mark.parametrize("name", templates.names())
def test_scenarios_notice_nine_of_ten_mutants(catalogue: Catalogue, name: str):
    files = templates.files_of(name)
    mutants = mutation_run(assemble(files, catalogue), catalogue, read_scenarios(files["scenarios.yaml"]))
    assert mutants
    assert score(mutants) >= 0.9, [f"{each.rule}: {each.text}" for each in mutants if not each.killed]


@pytest.mark.parametrize("name", sorted(WANTED - {"demo"}))
def test_rules_cite_their_source_and_hold_no_licensed_code(catalogue: Catalogue, name: str):
    found = templates.load(name, catalogue).ruleset
    assert found.citation
    assert all(rule.action.citation for rule in found.rules)
    for value_set in found.value_sets.values():
        assert not [code for code in value_set.codes if CPT.fullmatch(code.encode())], value_set.name


@pytest.mark.parametrize("name", sorted(WANTED - {"demo"}))
def test_a_denial_names_its_reason_or_says_that_nobody_has_set_it(catalogue: Catalogue, name: str):
    """Numbers of lists under licence are facts where a public source gives them; nothing is made up in their place."""
    found = templates.load(name, catalogue).ruleset
    for rule in found.rules:
        assert rule.action.reason_codes == (), "a code on the wire (list 886) is the policy owner's"
        if rule.action.type == "deny":
            told = f"{rule.source} {found.citation}"
            assert OWNER in told or re.search(r"claim adjustment reason \d+", told), rule.id
