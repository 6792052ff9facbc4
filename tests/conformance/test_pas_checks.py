"""The table of PAS checks names tests that are there, and all twenty-eight checks."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "pas-checks.md").read_text(encoding="utf-8")


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_test_of_the_table_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TABLE)
    assert len(named) > 60
    assert [f"{path}::{name}" for path, name in named if name not in functions(path)] == []


def test_every_check_has_a_row_and_a_test() -> None:
    rows = re.findall(r"^\| (\d+) \|(.*)$", TABLE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 29))
    assert [number for number, row in rows if "::test_" not in row] == []
