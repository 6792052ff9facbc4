"""The readable language: an exact round trip, and errors that point at the word."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.core.errors import ConfigurationError
from gateway.rules.documents import read_rule, write_rule
from gateway.rules.language import compile_condition, parse_condition, parse_rules, print_condition, print_rule
from gateway.rules.model import Compare, Fact, Literal, Quantified, Window
from tests.gateway.rules.random_rules import rules

EXAMPLES = int(os.environ.get("GATEWAY_HYPOTHESIS_EXAMPLES", "300"))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(rules)
def test_print_and_parse_are_inverse(catalogue, rule):
    text = print_rule(rule, catalogue)
    assert parse_rules(text, catalogue) == (rule,), text
    assert print_rule(parse_rules(text, catalogue)[0], catalogue) == text


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(rules)
def test_document_and_model_are_inverse(rule):
    assert read_rule(write_rule(rule)) == rule


def test_the_sentence_of_the_introduction(catalogue):
    found = parse_condition('any observation "SpO2" at most 88 % within 30 days', catalogue)
    assert isinstance(found, Quantified)
    assert (found.quantifier, found.list, found.concept) == ("any", "observations", "SpO2")
    assert isinstance(found.test, Compare)
    assert found.test.left == Fact("observation.value")
    assert isinstance(found.test.right, Literal)
    assert found.test.right.unit == "%"
    assert isinstance(found.window, Window)
    assert print_condition(found, catalogue) == 'any observation "SpO2" at most 88 % within 30 days'


ERRORS = {
    "ag at least 5": ("line 1 column 1", "did you mean 'age'"),
    "age at leest 5": ("line 1 column 5", "expected a comparison"),
    "age is 5\n  and servce is in \"x\"": ("line 2 column 7", "did you mean 'service'"),
    "service quantaty at most 3": ("line 1 column 9", "did you mean 'service quantity'"),
    "age at least 5 and": ("line 1 column 19", "expected a fact"),
    "any observaton \"x\" at most 5": ("line 1 column 5", "expected one of credential, service"),
    "(age is 5": ("line 1 column 10", "expected ')'"),
    "age is 5 age is 6": ("line 1 column 10", "expected 'and'"),
    "coverage start after 2026-02-30": ("line 1 column 22", "not a day"),
    "age is § 5": ("line 1 column 8", "expected a fact"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ERRORS.items())
def test_errors_point_at_the_word_and_suggest(catalogue, text, expected):
    with pytest.raises(ConfigurationError) as caught:
        parse_condition(text, catalogue)
    assert caught.value.location == expected[0]
    assert expected[1] in caught.value.message


CHECKED = {
    "age at least 5 kg": "cannot be compared",
    "age at least coverage start": "a number cannot be compared with a date",
    'age is in "nobody"': "no value set",
    "date of birth at least 5": "a date cannot be compared with a number",
    "coverage active more than true": "no order",
    "observation value at most 88": "needs a quantifier",
    "any diagnosis within 5 days before age": "not a date",
}


@pytest.mark.parametrize(("text", "expected"), CHECKED.items())
def test_wrong_units_types_and_sets_are_refused_at_save(catalogue, text, expected):
    with pytest.raises(ConfigurationError) as caught:
        compile_condition(text, catalogue)
    assert any(expected in issue.text for issue in caught.value.issues), [each.text for each in caught.value.issues]
    assert all(issue.location for issue in caught.value.issues)


def test_conditions_of_workflows_and_routes_are_three_valued(catalogue):
    urgent = compile_condition('priority is "urgent" and age at least 65', catalogue)
    assert urgent({"request.priority": "urgent", "patient.age": 70}) is True
    assert urgent({"request.priority": "normal"}) is False
    assert urgent({"request.priority": "urgent"}) is None
