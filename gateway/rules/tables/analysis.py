"""What a table forgets and where it contradicts itself: gaps, overlaps, rows that can never be reached.

Every column is cut into the classes its cells can tell apart (each literal, the stretches between them, each value set,
anything else); a row is a box of classes. Gaps are what is left of the whole when all boxes are taken away. Columns are
taken as independent. Limits: 5,000 remainders; beyond it the report says that it is not complete.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from gateway.rules.tables.cells import Cell, value_text
from gateway.rules.tables.model import Row, Table

MAX_BOXES = 5_000
Box = tuple[frozenset[int], ...]


@dataclass(slots=True)
class Analysis:
    """Findings with examples. `broken` is what the hit policy forbids."""

    gaps: list[str] = field(default_factory=list)
    overlaps: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    complete: bool = True


def classes_of(cells: Sequence[Cell]) -> list[Any]:
    """One value of every class that a column's cells can tell apart."""
    tests = [test for cell in cells for test in cell.tests]
    values = {value for test in tests if test.operator != "set" for value in (test.low, test.high) if value is not None}
    sets = sorted({str(test.low) for test in tests if test.operator == "set"})
    if values and all(isinstance(value, bool) for value in values):
        return [True, False]
    numbers = sorted(value for value in values if isinstance(value, Decimal))
    days = sorted(value for value in values if isinstance(value, date))
    texts = sorted(value for value in values if isinstance(value, str))
    found: list[Any] = [*_between_numbers(numbers), *_between_days(days), *texts, *(("set", name) for name in sets)]
    if texts or sets or not found:
        found.append(("anything else",))
    return found


def _between_numbers(numbers: list[Decimal]) -> list[Decimal]:
    if not numbers:
        return []
    middles = [(low + high) / 2 for low, high in itertools.pairwise(numbers)]
    return sorted({numbers[0] - 1, *numbers, *middles, numbers[-1] + 1})


def _between_days(days: list[date]) -> list[date]:
    around = {day + timedelta(days=step) for day in days for step in (-1, 0, 1)}
    return sorted(around)


def analyse(table: Table, examples: int = 10) -> Analysis:
    """All findings, at most `examples` of each kind."""
    found = Analysis()
    columns = [classes_of([row.cells[index] for row in table.rows]) for index in range(len(table.columns))]
    boxes = [_box(row.cells, columns) for row in table.rows]
    _overlaps(table, columns, boxes, found, examples)
    rest: list[Box] = [tuple(frozenset(range(len(values))) for values in columns)]
    for row, box in zip(table.rows, boxes, strict=True):
        if table.hit == "F" and not any(_meet(left, box) for left in rest) and found.complete:
            found.unreachable.append(f"row {row.id}: the rows above it leave nothing")
        rest = [part for left in rest for part in _subtract(left, box)]
        if len(rest) > MAX_BOXES:
            found.complete, rest = False, rest[:MAX_BOXES]
    found.gaps = [_example(table, columns, box) for box in rest[:examples]]
    return found


def _box(cells: Sequence[Cell], columns: Sequence[list[Any]]) -> Box:
    return tuple(
        frozenset(index for index, value in enumerate(values) if cell.holds(value))
        for cell, values in zip(cells, columns, strict=True)
    )


def _meet(first: Box, second: Box) -> Box | None:
    joint = tuple(a & b for a, b in zip(first, second, strict=True))
    return joint if all(joint) else None


def _subtract(box: Box, taken: Box) -> Iterable[Box]:
    """The parts of a box outside of another, disjoint."""
    joint = _meet(box, taken)
    if joint is None:
        yield box
        return
    inner = list(box)
    for index, (whole, part) in enumerate(zip(box, joint, strict=True)):
        outside = whole - part
        if outside:
            yield (*inner[:index], outside, *inner[index + 1 :])
        inner[index] = part


def _overlaps(table: Table, columns: Sequence[list[Any]], boxes: list[Box], found: Analysis, examples: int) -> None:
    for index, (row, box) in enumerate(zip(table.rows, boxes, strict=True)):
        for other, second in zip(table.rows[index + 1 :], boxes[index + 1 :], strict=True):
            joint = _meet(box, second)
            if joint is None:
                continue
            text = f"rows {row.id} and {other.id}, for example {_example(table, columns, joint)}"
            if len(found.overlaps) < examples:
                found.overlaps.append(text)
            if (table.hit == "U" or (table.hit == "A" and _differ(row, other))) and len(found.broken) < examples:
                found.broken.append(f"hit policy {table.hit} forbids the overlap of {text}")


def _differ(first: Row, second: Row) -> bool:
    return first.outputs != second.outputs


def _example(table: Table, columns: Sequence[list[Any]], box: Box) -> str:
    parts = []
    for column, values, chosen in zip(table.columns, columns, box, strict=True):
        if len(chosen) == len(values):
            continue
        value = values[min(chosen)]
        parts.append(f"{column.header} {_said(value)}")
    return ", ".join(parts) or "anything"


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return f'in "{value[1]}"' if len(value) == 2 else "anything else"
    return f"= {value_text(value)}"
