"""File at most 400 lines, function at most 60, test file at most 600: a longer one has more than one job."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.tree import PRODUCTION, ROOT, python_files

FILE, FUNCTION, TEST_FILE = 400, 60, 600

LONGER: dict[str, tuple[int, str]] = {}
"""The longest a file may be that is longer than the rule, and why. Never a reason to grow further."""


def lines(path: Path) -> int:
    return len((ROOT / path).read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(("rooms", "most"), [((*PRODUCTION, "benchmarks"), FILE), (("tests",), TEST_FILE)])
def test_files(rooms: tuple[str, ...], most: int) -> None:
    allowed = {Path(name): size for name, (size, _) in LONGER.items()}
    too_long = {path: lines(path) for path in python_files(*rooms)}
    assert {path: size for path, size in too_long.items() if size > allowed.get(path, most)} == {}


def test_a_waiver_ends_when_it_is_not_needed() -> None:
    assert [name for name in LONGER if lines(Path(name)) <= FILE] == []


def functions(path: Path) -> dict[str, int]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {f"{path}:{node.name}": (node.end_lineno or 0) - node.lineno + 1 for node in found}


def test_functions() -> None:
    sizes = {name: size for path in python_files(*PRODUCTION) for name, size in functions(path).items()}
    assert {name: size for name, size in sizes.items() if size > FUNCTION} == {}
