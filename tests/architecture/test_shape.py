"""Every adapter has the same six entries, and every wire says what it reads, within which limits, and what not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.tree import ADAPTERS, ROOT, python_files

ENTRIES = {"__init__", "README", "settings", "wire", "inbound", "outbound"}


def test_the_adapters_are_those_known_here() -> None:
    found = {path.parent.name for path in (ROOT / "adapters").glob("*/settings.py")}
    assert found == set(ADAPTERS)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_six_entries(adapter: str) -> None:
    entries = [path for path in (ROOT / "adapters" / adapter).iterdir() if path.name != "__pycache__"]
    assert {path.stem for path in entries} == ENTRIES
    assert len(entries) == len(ENTRIES)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_init_is_a_docstring_only(adapter: str) -> None:
    """One import there would make the adapter's wire impure at run time."""
    body = ast.parse((ROOT / "adapters" / adapter / "__init__.py").read_text(encoding="utf-8")).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


def wire_docstring(adapter: str) -> str:
    folder = ROOT / "adapters" / adapter
    path = folder / "wire.py" if (folder / "wire.py").exists() else folder / "wire" / "__init__.py"
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


@pytest.mark.parametrize("part", ["Standard:", "Limits:", "Not handled:"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_wire_says_its_standard_limits_and_gaps(adapter: str, part: str) -> None:
    assert part in wire_docstring(adapter)


def test_no_room_for_leftovers() -> None:
    names = {"utils", "util", "helpers", "common", "base", "misc"}
    assert [path for path in python_files("gateway", "adapters", "mappings", "workflows") if path.stem in names] == []


def test_every_stage_is_drawn_in_the_readme() -> None:
    readme = Path(ROOT / "README.md")
    if not readme.exists():
        pytest.skip("the project has no README yet")
    text = readme.read_text(encoding="utf-8")
    assert [stage for stage in ("accept", "start", "decide", "deliver") if stage not in text] == []
