"""The laws of three-valued logic, over random conditions and random requests."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.rules.leaves import Scope
from gateway.rules.model import AllOf, AnyOf, Compare, Duration, Fact, Literal, Not, Quantified, Window
from gateway.rules.program import compile_condition_tree
from tests.gateway.rules.random_rules import VALUE_SETS, complete_facts, conditions, quantifiers

EXAMPLES = int(os.environ.get("GATEWAY_HYPOTHESIS_EXAMPLES", "150"))
relaxed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def truth(catalogue, condition, facts):
    services = facts.get("services") or [{}]
    return compile_condition_tree(Scope(catalogue, VALUE_SETS), condition)(facts, services[0], services[0])


@st.composite
def thinned(draw):
    """Facts, and the same with some of them missing: a top-level fact, a field of a record, or a whole list."""
    full = draw(complete_facts)
    thin = copy.deepcopy(full)
    for key in draw(st.sets(st.sampled_from(sorted(full)), max_size=4)):
        del thin[key]
    for name in ("services", "diagnoses", "observations"):
        for record in thin.get(name, ()):
            for key in list(record):
                if draw(st.booleans()):
                    del record[key]
    return full, thin


@relaxed
@given(conditions, thinned())
def test_a_decided_condition_stays_decided_when_missing_facts_arrive(catalogue, condition, facts):
    full, thin = facts
    before = truth(catalogue, condition, thin)
    assert before is None or before is truth(catalogue, condition, full)


@pytest.mark.parametrize("quantifier", ["any", "no", "every", "at least", "at most", "exactly", "latest"])
@pytest.mark.parametrize("value", [50, 99])
def test_a_record_that_may_lie_outside_the_window_decides_nothing(catalogue, quantifier, value):
    """Found by 10,000 examples: an undated value decided, and its date, outside the window, made it unknown again."""
    low = Compare(Fact("observation.value"), "lt", Literal("number", Decimal(88), "%"))
    window = Window(Duration(30, "day"), "before", Fact("request.receivedAt"))
    condition = Quantified(quantifier, "observations", "", low, window, 1)
    undated = {"code": "alpha-1", "value": value, "unit": "%"}
    facts = {"request.receivedAt": "2026-01-02", "observations": [undated]}
    assert truth(catalogue, condition, facts) is None
    facts["observations"] = [undated | {"date": "2020-01-01"}]
    assert truth(catalogue, condition, facts) is None
    facts["observations"] = [undated | {"date": "2026-01-01"}, {"code": "alpha-1", "value": 99, "unit": "%"}]
    if quantifier == "any":
        assert truth(catalogue, condition, facts) is (value == 50)


@relaxed
@given(conditions, conditions, thinned())
def test_laws_of_de_morgan_commutation_and_double_negation(catalogue, a, b, facts):
    _, thin = facts

    def value(condition):
        return truth(catalogue, condition, thin)

    assert value(Not(AllOf((a, b)))) is value(AnyOf((Not(a), Not(b))))
    assert value(Not(AnyOf((a, b)))) is value(AllOf((Not(a), Not(b))))
    assert value(AllOf((a, b))) is value(AllOf((b, a)))
    assert value(AnyOf((a, b))) is value(AnyOf((b, a)))
    assert value(Not(Not(a))) is value(a)
    assert value(AllOf((a, AnyOf((a, b))))) is value(a), "absorption"


@relaxed
@given(conditions)
def test_nothing_known_decides_nothing(catalogue, condition):
    assert truth(catalogue, condition, {}) is None


@relaxed
@given(quantifiers, thinned())
def test_a_quantifier_agrees_with_its_counting_form(catalogue, quantifier, facts):
    """`any` and `no` have closures of their own that stop early; counting walks every record."""
    _, thin = facts
    counted = replace(quantifier, quantifier="at least", count=1)
    none = replace(quantifier, quantifier="at most", count=0)
    some = replace(quantifier, quantifier="any")
    assert truth(catalogue, some, thin) is truth(catalogue, counted, thin)
    assert truth(catalogue, replace(quantifier, quantifier="no"), thin) is truth(catalogue, none, thin)
    if quantifier.test is not None:
        every = replace(quantifier, quantifier="every", test=Not(quantifier.test))
        assert truth(catalogue, some, thin) is truth(catalogue, Not(every), thin)
