"""The source tree as the architecture tests see it: what is written by hand, by room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = ("gateway", "adapters", "mappings", "workflows")
ADAPTERS = ("fhir", "hl7", "sftp", "soap", "x12")
TEXT = (".py", ".md", ".yaml", ".yml", ".toml", ".sql", ".json", ".ebnf", ".sha256", ".xml", ".java", ".txt", ".lock")


def python_files(*rooms: str) -> Iterator[Path]:
    """Python files below the rooms, relative to the root."""
    for room in rooms:
        yield from (path.relative_to(ROOT) for path in sorted((ROOT / room).rglob("*.py")))


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every string of a file, docstrings left out."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def text_files() -> Iterator[Path]:
    """Every text a reader of the project may open; folders of tools and of state are left out."""
    rooms = (*PRODUCTION, "tests", "docs", "schemas", "benchmarks", "deploy", ".ci")
    yield from (path for path in ROOT.iterdir() if path.suffix in TEXT or path.name == "Makefile")
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*")):
            if path.is_file() and (path.suffix in TEXT or room == ".ci"):
                yield path
