"""Numbers compare as they are written: no binary rounding, units converted exactly."""

from __future__ import annotations

import pytest

from gateway.rules.catalogue import catalogue_of
from gateway.rules.language import compile_condition
from gateway.rules.units import convert, dimension

HOT = {"facts": {"obs.temperature": {"label": "temperature", "type": "number", "unit": "Cel"}}}
SERVICES = {
    "services": [{"code": "A", "quantity": 0.1, "amount": 19.99}, {"code": "B", "quantity": 0.2, "amount": 0.01}]
}

CASES = [
    ("total service quantity at most 0.3", True),
    ("total service quantity is 0.3", True),
    ("total service quantity less than 0.3", False),
    ("total service quantity between 0.3 and 0.3", True),
    ("total service quantity is in (0.3, 7)", True),
    ("total service amount is 20", True),
    ("total service quantity plus service quantity at most 0.4", True),
    ("service amount at most 19.99 USD", True),
    ("service amount less than 19.99 USD", False),
    ("service amount is 19.99 USD", True),
    ("service amount between 19.99 and 20", True),
    ("every service with (service quantity at most 0.2)", True),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_decimal_comparison(catalogue, text, expected):
    assert compile_condition(text, catalogue)(SERVICES) is expected


def test_a_unit_that_converts_to_nought(catalogue):
    freezing = compile_condition("temperature at most 32 [degF]", catalogue_of(HOT))
    assert freezing({"obs.temperature": 0}) is True
    assert freezing({"obs.temperature": 1}) is False
    assert freezing({"obs.temperature": "0"}) is None


OBSERVED = [
    ("any observation between 56 mm[Hg] and 59 mm[Hg]", True),
    ("any observation between 60 mm[Hg] and 70 mm[Hg]", False),
    ("any observation between 56 kg and 59 kg", None),
    ("any observation with (observation value is in (7.6 kPa, 9 kPa))", True),
    ("any observation with (observation value is not in (7.6 kPa, 9 kPa))", False),
]


@pytest.mark.parametrize(("text", "expected"), OBSERVED)
def test_a_range_is_asked_in_the_unit_of_the_record(catalogue, text, expected):
    assert compile_condition(text, catalogue)({"observations": [{"value": 7.6, "unit": "kPa"}]}) is expected


def test_a_range_in_another_unit_of_the_fact(catalogue):
    grown = compile_condition("age between 216 mo and 240 mo", catalogue)
    assert [grown({"patient.age": age}) for age in (17, 18, 20, 21)] == [False, True, True, False]


def test_units_convert_or_are_refused():
    from decimal import Decimal

    assert convert(Decimal(1), "kg", "g") == 1000
    assert convert(Decimal(100), "mg/dL", "g/L") == 1
    assert convert(Decimal(1), "kg", "m") is None
    assert dimension("kg/m2") == "mass/area"
    assert dimension("furlong") is None
