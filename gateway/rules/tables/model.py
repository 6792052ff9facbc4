"""A decision table and its compilation into rules of the engine.

Each row becomes a rule; the hit policy becomes part of the conditions, so that a table means the same under every
strategy and with missing facts: F (first) asks each row for the negation of all rows above it, P (priority) for that of
the rows whose action is listed before its own; U and A are checked by the analysis before release; C, R, O keep all
rows. The sums of C+ C< C> C# answer numbers, not actions: they are for DMN models (dmn/).

Columns: `when` columns hold a phrase of the rule language (a fact, or `any observation "SpO2" ? within 30 days`),
`then` columns one of action, for, quantity, unit, code, to, reason, codes, citation.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway.core.errors import ConfigurationError
from gateway.rules.catalogue import Catalogue
from gateway.rules.documents.reading import identifier, read_action
from gateway.rules.language.parser import parse_condition
from gateway.rules.model import ACTIONS, AllOf, AnyOf, Condition, Not, Rule
from gateway.rules.tables.cells import Cell, phrase
from gateway.rules.tables.hits import POLICIES

MAX_ROWS = 2_000
MAX_COLUMNS = 40
OUTPUTS = ("action", "for", "quantity", "unit", "code", "to", "reason", "codes", "citation")
_SERVED = ("U", "A", "P", "F", "R", "O", "C")


@dataclass(frozen=True, slots=True)
class Column:
    """A `when` column: its phrase and the unit of its numbers."""

    header: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: cells beside the columns, texts beside the outputs, and a remark."""

    id: str
    cells: tuple[Cell, ...]
    outputs: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A decision table. `values` lists the actions in order of priority (P, O)."""

    id: str
    name: str
    hit: str
    category: str
    columns: tuple[Column, ...]
    outputs: tuple[str, ...]
    rows: tuple[Row, ...]
    version: int = 1
    priority: int = 0
    values: tuple[str, ...] = ()


def check_table(table: Table) -> None:
    """Raise ConfigurationError for a shape that cannot be a table of actions."""
    if table.hit not in _SERVED:
        known = ", ".join(f"{letter} ({POLICIES[letter].lower()})" for letter in _SERVED)
        raise ConfigurationError(f"a table of actions has hit policy {known}", location=f"table {table.id}")
    if not table.columns or len(table.columns) > MAX_COLUMNS or len(table.rows) > MAX_ROWS:
        raise ConfigurationError(f"1 to {MAX_COLUMNS} columns, up to {MAX_ROWS} rows", location=f"table {table.id}")
    unknown = [name for name in table.outputs if name not in OUTPUTS]
    if unknown or "action" not in table.outputs:
        raise ConfigurationError(
            f"'then' columns are {', '.join(OUTPUTS)}; action is needed", location=f"table {table.id}"
        )
    if len({row.id for row in table.rows}) < len(table.rows):
        raise ConfigurationError("two rows have one id", location=f"table {table.id}")
    for row in table.rows:
        if len(row.cells) != len(table.columns) or len(row.outputs) != len(table.outputs):
            raise ConfigurationError("the row is not as wide as the table", location=f"table {table.id} row {row.id}")
        if action_of(table, row) not in ACTIONS:
            raise ConfigurationError(
                f"an action is one of {', '.join(ACTIONS)}", location=f"table {table.id} row {row.id}"
            )


def action_of(table: Table, row: Row) -> str:
    """The row's action."""
    return row.outputs[table.outputs.index("action")]


def row_condition(table: Table, row: Row, catalogue: Catalogue) -> Condition | None:
    """The row's own condition; None when every cell is `-`."""
    parts = []
    for column, cell in zip(table.columns, row.cells, strict=True):
        if cell.tests:
            try:
                parts.append(parse_condition(phrase(cell, column.header, column.unit), catalogue))
            except ConfigurationError as error:
                where = f"table {table.id} row {row.id} column {column.header[:60]}"
                raise ConfigurationError(error.message, location=where) from error
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def table_rules(table: Table, catalogue: Catalogue) -> tuple[Rule, ...]:
    """The rules of a table. Raises ConfigurationError with row and column."""
    check_table(table)
    own = [row_condition(table, row, catalogue) for row in table.rows]
    rules = []
    for index, row in enumerate(table.rows):
        blockers = [own[other] for other in _stronger(table, index)]
        if None in blockers:
            continue  # a row of dashes above leaves nothing for this one
        condition = _guarded(own[index], [each for each in blockers if each is not None])
        if condition is None:
            raise ConfigurationError(
                "a row of dashes needs a row above it, or a cell", location=f"table {table.id} row {row.id}"
            )
        rules.append(_rule(table, row, condition))
    return tuple(rules)


def _stronger(table: Table, index: int) -> list[int]:
    """The rows whose match keeps this one from counting."""
    if table.hit == "F":
        return list(range(index))
    if table.hit == "P":
        order = {action: rank for rank, action in enumerate(table.values)}
        rank = [order.get(action_of(table, row), len(order)) for row in table.rows]
        return [other for other in range(len(rank)) if rank[other] < rank[index]]
    return []


def _guarded(own: Condition | None, blockers: list[Condition]) -> Condition | None:
    if not blockers:
        return own
    none_of = Not(blockers[0] if len(blockers) == 1 else AnyOf(tuple(blockers)))
    return none_of if own is None else AllOf((own, none_of))


def _rule(table: Table, row: Row, condition: Condition) -> Rule:
    given = {name: text for name, text in zip(table.outputs, row.outputs, strict=True) if text}
    where = f"table {table.id} row {row.id}"
    document = {"type": given["action"], "params": _parameters(given, where), "reason": _reason(given)}
    return Rule(
        id=identifier(f"{table.id}.{row.id}", where),
        name=(row.note or f"{table.name} row {row.id}")[:200],
        category=table.category,
        version=table.version,
        priority=table.priority,
        condition=condition,
        action=read_action(document, where),
    )


def _parameters(given: dict[str, str], location: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "for" in given:
        found["duration"] = given["for"]
    if "quantity" in given:
        try:
            found["quantity"] = Decimal(given["quantity"])
        except ArithmeticError as error:
            raise ConfigurationError("a quantity is a number", location=location) from error
    for name, key in (("unit", "unit"), ("code", "code"), ("to", "role")):
        if name in given:
            found[key] = given[name]
    return found


def _reason(given: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "reason" in given:
        found["text"] = given["reason"]
    if "codes" in given:
        found["codes"] = given["codes"].split()
    if "citation" in given:
        found["citation"] = given["citation"]
    return found
