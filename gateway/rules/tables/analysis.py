"""What a table forgets and where it contradicts itself: gaps, overlaps, rows that can never be reached.

Every column is cut into the classes its cells can tell apart (each literal, the stretches between them, each value set,
anything else); a row is a box of classes. Gaps are what is left of the whole when all boxes are taken away. Columns are
taken as independent. Limits: 5,000 remainders; beyond it the report says that it is not complete.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from gateway.rules.tables.cells import Cell, Test, value_text
from gateway.rules.tables.model import Row, Table

MAX_BOXES = 5_000
Box = tuple[int, ...]
"""Per column a bit set of classes."""


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


def analyse(table: Table, examples: int = 10, *, gaps: bool = True) -> Analysis:
    """All findings, at most `examples` of each kind; `gaps=False` looks for overlaps only."""
    found = Analysis()
    columns = [classes_of([row.cells[index] for row in table.rows]) for index in range(len(table.columns))]
    boxes = [_box(row.cells, columns) for row in table.rows]
    _overlaps(table, columns, boxes, found, examples)
    if not gaps:
        return found
    rest: list[Box] = [tuple((1 << len(values)) - 1 for values in columns)]
    for row, box in zip(table.rows, boxes, strict=True):
        if table.hit == "F" and not any(_meet(left, box) for left in rest) and found.complete:
            found.unreachable.append(f"row {row.id}: the rows above it leave nothing")
        rest = [part for left in rest for part in _subtract(left, box)]
        if len(rest) > MAX_BOXES:
            found.complete, rest = False, rest[:MAX_BOXES]
    found.gaps = [_example(table, columns, box) for box in rest[:examples]]
    return found


def _box(cells: Sequence[Cell], columns: Sequence[list[Any]]) -> Box:
    return tuple(class_bits(cell, values) for cell, values in zip(cells, columns, strict=True))


def class_bits(cell: Cell, values: list[Any]) -> int:
    """The classes a cell takes, as bits. Numbers and days stand sorted, so a test on them is one stretch."""
    everything = (1 << len(values)) - 1
    if not cell.tests:
        return everything
    found = 0
    for test in cell.tests:
        found |= _stretch(test, values)
    return everything & ~found if cell.negated else found


def _stretch(test: Test, values: list[Any]) -> int:
    kind = type(test.low)
    if test.operator == "set" or kind not in (Decimal, date):
        return sum(1 << index for index, value in enumerate(values) if test.holds(value))
    first = next((index for index, value in enumerate(values) if type(value) is kind), 0)
    same = list(itertools.takewhile(lambda value: type(value) is kind, itertools.islice(values, first, None)))
    low, high = 0, len(same)
    if test.operator in ("", ">", ">=", "="):
        closed = test.operator in (">=", "=") or (not test.operator and test.low_closed)
        low = (bisect_left if closed else bisect_right)(same, test.low)
    if test.operator in ("", "<", "<=", "="):
        end: Any = test.high if not test.operator else test.low
        closed = test.operator in ("<=", "=") or (not test.operator and test.high_closed)
        high = (bisect_right if closed else bisect_left)(same, end)
    return ((1 << max(high, low)) - (1 << low)) << first


def _meet(first: Box, second: Box) -> Box | None:
    joint = []
    for one, other in zip(first, second, strict=True):
        if not one & other:
            return None
        joint.append(one & other)
    return tuple(joint)


def _subtract(box: Box, taken: Box) -> Iterable[Box]:
    """The parts of a box outside of another, disjoint."""
    joint = _meet(box, taken)
    if joint is None:
        yield box
        return
    inner = list(box)
    for index, (whole, part) in enumerate(zip(box, joint, strict=True)):
        outside = whole & ~part
        if outside:
            yield (*inner[:index], outside, *inner[index + 1 :])
        inner[index] = part


def _overlaps(table: Table, columns: Sequence[list[Any]], boxes: list[Box], found: Analysis, examples: int) -> None:
    for index, (row, box) in enumerate(zip(table.rows, boxes, strict=True)):
        for other, second in zip(table.rows[index + 1 :], boxes[index + 1 :], strict=True):
            joint = _meet(box, second)
            if joint is None:
                continue
            forbidden = table.hit == "U" or (table.hit == "A" and _differ(row, other))
            wanted = [
                kind for kind, on in ((found.overlaps, True), (found.broken, forbidden)) if on and len(kind) < examples
            ]
            if not wanted:
                continue
            text = f"rows {row.id} and {other.id}, for example {_example(table, columns, joint)}"
            for kind in wanted:
                kind.append(text if kind is found.overlaps else f"hit policy {table.hit} forbids the overlap of {text}")


def _differ(first: Row, second: Row) -> bool:
    return first.outputs != second.outputs


def _example(table: Table, columns: Sequence[list[Any]], box: Box) -> str:
    parts = []
    for column, values, chosen in zip(table.columns, columns, box, strict=True):
        if chosen == (1 << len(values)) - 1:
            continue
        value = values[(chosen & -chosen).bit_length() - 1]
        parts.append(f"{column.header} {_said(value)}")
    return ", ".join(parts) or "anything"


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return f'in "{value[1]}"' if len(value) == 2 else "anything else"
    return f"= {value_text(value)}"
