"""The tables of checks name tests that are there, and all checks of their lists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = {"pas-checks.md": 28, "hl7-checks.md": 21, "x12-checks.md": 25}
"""How many checks each list has."""


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def table(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TABLES)
def test_every_test_of_the_table_is_there(name: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", table(name))
    assert len(named) > 60
    assert [f"{path}::{test}" for path, test in named if test not in functions(path)] == []


@pytest.mark.parametrize(("name", "checks"), TABLES.items())
def test_every_check_has_a_row_and_a_test(name: str, checks: int) -> None:
    rows = re.findall(r"^\| (\d+) \|(.*)$", table(name), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, checks + 1))
    assert [number for number, row in rows if "::test_" not in row] == []
