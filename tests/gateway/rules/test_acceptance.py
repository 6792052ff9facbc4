"""docs/rules-acceptance.md names tests and programs that exist, and leaves out none of the twenty-two checks."""

from __future__ import annotations

import re

from tests.architecture.tree import ROOT

TABLE = (ROOT / "docs" / "rules-acceptance.md").read_text(encoding="utf-8")


def test_every_check_is_shown_by_what_exists() -> None:
    rows = re.findall(r"^\| (\d+) \|.*$", TABLE, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 23)]
    files = [(path.name, path.read_text(encoding="utf-8")) for path in (ROOT / "tests").rglob("test_*.py")]

    def exists(file: str, test: str) -> bool:
        return any(name == file and f"def {test}(" in text for name, text in files)

    named = re.findall(r"`(test_\w+\.py)::(\w+)`", TABLE)
    assert len(named) > 20
    assert [pair for pair in named if not exists(*pair)] == []
    assert all((ROOT / program).is_file() for program in re.findall(r"`(benchmarks/\w+\.py)`", TABLE))
