"""The table of PAS checks names tests that are there, and all twenty-eight checks."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "pas-checks.md").read_text(encoding="utf-8")

STATEMENTS = {
    "ainfo": 7, "conf": 16, "metric": 2, "priv": 3, "prof": 10, "prof-ben": 1, "prof-sub": 1, "spec": 73, "use": 6,
}  # fmt: skip
"""How many requirements the guide numbers of each kind (PAS 2.2.1 narrative, 119 in all)."""
REQUIREMENTS = "tests/mappings/fhir/test_requirements.py"


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


def numbers_of(name: str) -> set[str]:
    """The requirements a test of REQUIREMENTS is named by: test_prof_4_and_spec_65_the_prior … → prof-4, spec-65."""
    found, kind = set(), ""
    for word in name.removeprefix("test_").split("_"):
        if word in STATEMENTS:
            kind = word
        elif word.isdigit() and kind:
            found.add(f"{kind}-{word}")
        elif word != "and":
            break
    return found


def test_every_requirement_of_the_guide_is_shown_or_said_to_be_anothers() -> None:
    known = {f"{kind}-{number}" for kind, count in STATEMENTS.items() for number in range(1, count + 1)}
    assert len(known) == 119
    named = set().union(*(numbers_of(name) for name in functions(REQUIREMENTS)))
    listed = set(re.findall(rf"\b(?:{'|'.join(STATEMENTS)})-\d+\b", TABLE))
    assert named <= known
    assert listed <= known
    assert sorted(known - named - listed) == []
