"""Decision tables in and out of DMN: a table of the gateway as a DMN 1.5 model, and a model's table as ours.

Standard: DMN 1.5, 8.3 (DecisionTable metamodel) and 12 (interchange).
Limits: those of xml.py and of tables.
Not handled: columns that are no fact on import (computed input expressions), aggregation (C+ C< C> C#) as actions,
diagrams. Units go along in the input's label; a value set is written out as its codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lxml import etree

from gateway.core.errors import ConfigurationError
from gateway.rules.dmn.xml import child, children, name_of, parse, text_of
from gateway.rules.model import ValueSet
from gateway.rules.tables.cells import Cell, Test, read_cell
from gateway.rules.tables.hits import LETTERS, POLICIES
from gateway.rules.tables.model import Column, Row, Table, check_table

NAMESPACE = "https://www.omg.org/spec/DMN/20230324/MODEL/"
_LABEL = "urn:gateway:table"


def write_model(table: Table, value_sets: Mapping[str, ValueSet] | None = None) -> bytes:
    """The table as a DMN model with one decision. Raises ConfigurationError for a value set that is not given."""
    root = etree.Element(f"{{{NAMESPACE}}}definitions", nsmap={None: NAMESPACE})  # type: ignore[dict-item]
    root.set("name", table.name or table.id)
    root.set("id", table.id)
    root.set("namespace", f"{_LABEL}:{table.id}:{table.version}")
    decision = _child(root, "decision", id=f"{table.id}.decision", name=table.id)
    _child(decision, "variable", name=table.id)
    for index, _column in enumerate(table.columns, 1):
        needed = _child(decision, "informationRequirement", id=f"{table.id}.requirement.{index}")
        _child(needed, "requiredInput", href=f"#{table.id}.input.{index}")
    body = _child(decision, "decisionTable", id=f"{table.id}.table", hitPolicy=POLICIES[table.hit])
    for column in table.columns:
        head = _child(body, "input", label=f"{column.header} [{column.unit}]" if column.unit else column.header)
        _text(_child(head, "inputExpression"), plain(column.header))
    for name in table.outputs:
        output = _child(body, "output", name=name)
        if name == "action" and table.values:
            _text(_child(output, "outputValues"), ", ".join(f'"{value}"' for value in table.values))
    _child(body, "annotation", name="note")
    for row in table.rows:
        rule = _child(body, "rule", id=f"row.{row.id}")
        for cell in row.cells:
            _text(_child(rule, "inputEntry"), _expanded(cell, value_sets or {}).text())
        for value in row.outputs:
            _text(_child(rule, "outputEntry"), _quoted(value))
        _text(_child(rule, "annotationEntry"), row.note)
    for index, column in enumerate(table.columns, 1):
        given = _child(root, "inputData", id=f"{table.id}.input.{index}", name=plain(column.header))
        _child(given, "variable", name=plain(column.header))
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def plain(header: str) -> str:
    """The column's phrase as a name of DMN."""
    return " ".join(header.replace("?", " ").replace('"', " ").split())


def _child(parent: etree._Element, tag: str, **attributes: str) -> etree._Element:
    found = etree.SubElement(parent, f"{{{NAMESPACE}}}{tag}")
    for name, value in attributes.items():
        found.set(name, value)
    return found


def _text(element: etree._Element, content: str) -> None:
    _child(element, "text").text = content


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _expanded(cell: Cell, value_sets: Mapping[str, ValueSet]) -> Cell:
    tests: list[Test] = []
    for test in cell.tests:
        if test.operator != "set":
            tests.append(test)
            continue
        name = str(test.low)
        if name not in value_sets:
            raise ConfigurationError(f"no value set {name!r}")
        tests.extend(Test("=", code) for code in sorted(value_sets[name].codes))
    return replace(cell, tests=tuple(tests))


def read_table_of(data: bytes, *, category: str, decision: str = "") -> Table:
    """The table of a model's decision (the first one that has a table, or by name).

    Output columns must carry the names of action fields. Raises ConfigurationError with the row of a cell that is more
    than S-FEEL.
    """
    root = parse(data)
    for element in children(root, "decision"):
        body = child(element, "decisionTable")
        if body is not None and decision in ("", name_of(element)):
            return _read(element, body, category)
    raise ConfigurationError("no decision with a table" + (f" named {decision[:80]!r}" if decision else ""))


def _read(element: etree._Element, body: etree._Element, category: str) -> Table:
    policy = (body.get("hitPolicy") or "UNIQUE") + (f" {body.get('aggregation')}" if body.get("aggregation") else "")
    if policy not in LETTERS:
        raise ConfigurationError(f"hit policy {policy[:40]!r} is not known")
    outputs = children(body, "output")
    names = tuple(name_of(output) or "action" for output in outputs)
    rows = []
    for number, rule in enumerate(children(body, "rule"), 1):
        where = f"row {number}"
        cells = tuple(read_cell(text_of(entry) or "-", where) for entry in children(rule, "inputEntry"))
        values = tuple(_unquoted(text_of(entry), where) for entry in children(rule, "outputEntry"))
        notes = children(rule, "annotationEntry")
        identity = (rule.get("id") or "").removeprefix("row.")
        rows.append(Row(identity or str(number), cells, values, text_of(notes[0]) if notes else ""))
    priorities = next((text_of(child(output, "outputValues")) for output in outputs if name_of(output) == "action"), "")
    table = Table(
        id=name_of(element).replace(" ", "-") or "table",
        name=element.getroottree().getroot().get("name") or "",
        hit=LETTERS[policy],
        category=category,
        columns=tuple(_column(each) for each in children(body, "input")),
        outputs=names,
        rows=tuple(rows),
        values=tuple(str(test.low) for test in read_cell(priorities).tests),
    )
    check_table(table)
    return table


def _column(element: etree._Element) -> Column:
    label = element.get("label") or text_of(child(element, "inputExpression"))
    header, _, unit = label.partition(" [")
    return Column(header, unit.rstrip("]")) if unit.endswith("]") else Column(label)


def _unquoted(text: str, location: str) -> str:
    if not text or text == "-":
        return ""
    cell = read_cell(text, location)
    if len(cell.tests) != 1 or cell.tests[0].operator != "=":
        raise ConfigurationError("an output is one value", location=location)
    value = cell.tests[0].low
    return value if isinstance(value, str) else text
