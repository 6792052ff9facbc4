"""File at most 400 lines, function at most 60, test file at most 600: a longer one has more than one job."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.tree import PRODUCTION, ROOT, python_files

FILE, FUNCTION, TEST_FILE = 400, 60, 600


def lines(path: Path) -> int:
    return len((ROOT / path).read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(("rooms", "most"), [((*PRODUCTION, "benchmarks"), FILE), (("tests",), TEST_FILE)])
def test_files(rooms: tuple[str, ...], most: int) -> None:
    assert {path: size for path in python_files(*rooms) if (size := lines(path)) > most} == {}


def functions(path: Path) -> dict[str, int]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {f"{path}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1 for node in found}


def test_functions() -> None:
    sizes = {name: size for path in python_files(*PRODUCTION) for name, size in functions(path).items()}
    assert {name: size for name, size in sizes.items() if size > FUNCTION} == {}
