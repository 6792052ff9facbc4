"""Random S-FEEL cells, ours beside feelin (a FEEL engine in JavaScript): the same answer, or a reason.

Runs where GATEWAY_FEELIN names an installed feelin folder (`npm install feelin`, then node_modules/feelin) and node is
there. What differs by reading of the standard stands in feelin/differences.yaml, each kind with the section it follows.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import ConfigurationError
from gateway.rules.feel.parser import compile_expression, compile_unary, run
from gateway.rules.files import read_yaml

FOLDER = Path(__file__).with_name("feelin")
FEELIN = os.environ.get("GATEWAY_FEELIN", "")
CELLS = int(os.environ.get("GATEWAY_FEELIN_CELLS", "4000"))
NAMES = {"limit": "12", "first day": 'date("2026-02-28")'}
VALUES = {
    "number": ["0", "5", "-5", "5.0", "5.5", "12", "88", "0.1", "1000000", "-0.25", "007"],
    "string": ['"A"', '"B"', '"a"', '""', '"A B"', '"5"', '"-"', '"é"', '"Z\\"q"'],
    "boolean": ["true", "false"],
    "date": ['date("2026-02-28")', 'date("2024-02-29")', 'date("2026-03-01")', 'date("1999-12-31")'],
    "time": ['time("08:00:00")', 'time("23:59:59")', 'time("12:30:00")'],
    "date and time": ['date and time("2026-02-28T08:00:00")', 'date and time("2026-02-28T23:59:59")'],
    "days": ['duration("P1D")', 'duration("PT24H")', 'duration("-PT1H")', 'duration("P2DT3H")'],
    "months": ['duration("P1Y")', 'duration("P12M")', 'duration("P2Y3M")'],
}
ORDERED = [kind for kind in VALUES if kind not in ("boolean",)]


def endpoint(dice: random.Random, kind: str) -> str:
    if kind == "number" and dice.random() < 0.1:
        return "limit"
    if kind == "date" and dice.random() < 0.1:
        return "first day"
    return dice.choice(VALUES[kind])


def simple(dice: random.Random, kind: str) -> str:
    shape = dice.random()
    if shape < 0.35 or kind == "boolean":
        return endpoint(dice, kind)
    if shape < 0.7:
        return f"{dice.choice(['<', '<=', '>', '>='])} {endpoint(dice, kind)}"
    return f"{dice.choice('[(]')}{endpoint(dice, kind)}..{endpoint(dice, kind)}{dice.choice('])[')}"


def cell(dice: random.Random) -> tuple[str, str]:
    """(kind, cell)."""
    kind = dice.choice(list(VALUES))
    if dice.random() < 0.03:
        return kind, "-"
    tests = ", ".join(simple(dice, kind) for _ in range(dice.choice([1, 1, 1, 2, 3])))
    return kind, f"not({tests})" if dice.random() < 0.25 else tests


def cases() -> list[tuple[str, str, str, str]]:
    """Distinct (kind of cell, cell, kind of input, input)."""
    dice, found = random.Random(7), set[tuple[str, str, str, str]]()
    while len(found) < CELLS:
        kind, text = cell(dice)
        given = dice.choice(list(VALUES)) if dice.random() < 0.1 else kind
        value = "null" if dice.random() < 0.05 else dice.choice(VALUES[given])
        found.add((kind, text, "null" if value == "null" else given, value))
    return sorted(found)


def ours(text: str, value: str) -> Any:
    try:
        variables = {name: run(compile_expression(given, frozenset()), {}) for name, given in NAMES.items()}
        found = run(compile_expression(value, frozenset()), {})
        return run(compile_unary(text, frozenset({*NAMES, "?"})), variables | {"?": found})
    except ConfigurationError:
        return "error"


END = r"[^()\[\],]*(?:\(\"[^\"]*\"\))?"
INTERVAL = re.compile(rf"(?P<open>[(\[\]])(?P<low>{END})\.\.(?P<high>{END})(?P<close>[)\[\]])")


def in_order(text: str) -> str:
    """The cell with reversed intervals turned round, each bracket with its end."""

    def ordered(match: re.Match[str]) -> str:
        low, high = match["low"], match["high"]
        if ours(f"> {high}", NAMES.get(low, low)) is not True:
            return match[0]
        opening = "[" if match["close"] == "]" else "("
        closing = "]" if match["open"] == "[" else ")"
        return f"{opening}{high}..{low}{closing}"

    return INTERVAL.sub(ordered, text)


def kind_of(of: str, text: str, given: str, value: str, mine: Any, theirs: Any) -> str:
    """The kind of a difference, or empty: then one of the two is wrong."""
    if of != given and mine is None and theirs is not None:
        return "another type"
    if in_order(text) != text and ours(in_order(text), value) == theirs:
        return "reversed interval"
    return ""


def answers() -> tuple[list[tuple[str, str, str, str]], list[Any]]:
    """The cases and what feelin says of them."""
    rows = cases()
    given = json.dumps([[text, value, NAMES] for _, text, _, value in rows])
    node = [str(shutil.which("node")), str(FOLDER / "answer.mjs"), FEELIN]
    done = subprocess.run(node, input=given, capture_output=True, text=True, check=True, timeout=120)
    return rows, json.loads(done.stdout)


@pytest.mark.skipif(
    not (FEELIN and shutil.which("node")), reason="GATEWAY_FEELIN names no installed feelin, or no node"
)
def test_random_cells_agree_or_differ_for_a_reason() -> None:
    listed = read_yaml((FOLDER / "differences.yaml").read_bytes())
    found, unlisted, same = Counter[str](), [], 0
    for row, theirs in zip(*answers(), strict=True):
        mine = ours(row[1], row[3])
        assert mine != "error", row
        if mine == theirs:
            same += 1
        elif kind := kind_of(*row, mine, theirs):
            found[kind] += 1
        else:
            unlisted.append((*row, mine, theirs))
    print(f"{len(cases())} cells, {same} agree, {dict(found)}")
    assert unlisted == []
    assert set(found) == set(listed)
    assert same >= CELLS // 2


@pytest.mark.parametrize(
    ("cell_text", "value", "expected"),
    [
        ("]5..7[", "5", False), ("]5..7[", "6", True), ("]5..7[, 9", "9", True), ("not(]5..7[)", "6", False),
        ("[5..7[", "7", False), ("? in ]5..7[ and ? > 5", "6", True), ("? in [5..7] and ? > 6", "6", False),
            ("count([1, 2, 3][item > 1]) = ?", "2", True),
        ('< date and time("2026-02-28T08:00:00")', 'date and time("2026-02-28T07:00:00")', True),
    ],
)  # fmt: skip
def test_intervals_open_by_turned_brackets_and_builtins_with_spaces(cell_text: str, value: str, expected: bool) -> None:
    assert ours(cell_text, value) is expected
