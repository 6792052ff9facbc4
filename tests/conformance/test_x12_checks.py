"""The table of X12 checks names tests that are there, and all twenty-five checks."""

from __future__ import annotations

import re

from tests.conformance.test_pas_checks import ROOT, functions

TABLE = (ROOT / "docs" / "x12-checks.md").read_text(encoding="utf-8")


def test_every_test_of_the_table_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TABLE)
    assert len(named) > 60
    assert [f"{path}::{name}" for path, name in named if name not in functions(path)] == []


def test_every_check_has_a_row_and_a_test_or_says_where_to_look() -> None:
    rows = re.findall(r"^\| (\d+) \|(.*)$", TABLE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 26))
    assert [number for number, row in rows if "::test_" not in row and "pas-checks.md) 19, 20" not in row] == []
