"""Tables as YAML, CSV and XLSX: one grid, three coats, lossless between them.

    table   dme-walkers   hit  F   category  medical_necessity   version 1   priority 0   name  …   values approve deny
    id      when age      when any diagnosis      then action   then for   note
    1       >= 65         set "gait"              approve       P12M       …

A spreadsheet runs a cell that begins with = + - @ as a formula: such texts (and those that begin with an apostrophe)
are written with an apostrophe in front, and read back without it. Numbers and a lone dash stay as they are. Formula
cells are refused on reading. Limits: 16 MB unpacked, 2,000 rows, 41 columns.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import openpyxl
from openpyxl.utils.exceptions import IllegalCharacterError, InvalidFileException

from gateway.core.errors import ConfigurationError
from gateway.rules.documents.reading import identifier, integer, mapping, one_of, sequence, text
from gateway.rules.files_yaml import read_yaml
from gateway.rules.model import CATEGORIES
from gateway.rules.tables.cells import read_cell
from gateway.rules.tables.hits import POLICIES
from gateway.rules.tables.model import MAX_COLUMNS, MAX_ROWS, Column, Row, Table, check_table

MAX_UNPACKED = 16_000_000
_NUMBER = re.compile(r"-?\d+(\.\d+)?|-", re.ASCII)
_FRAME = ("table", "name", "hit", "category", "version", "priority", "values")
Grid = list[list[str]]


def to_grid(table: Table) -> Grid:
    """The table as rows of texts."""
    frame = ["table", table.id, "name", table.name, "hit", table.hit, "category", table.category]
    frame += ["version", str(table.version), "priority", str(table.priority), "values", " ".join(table.values)]
    heads = [f"when {column.header}" + (f" [{column.unit}]" if column.unit else "") for column in table.columns]
    head = ["id", *heads, *(f"then {name}" for name in table.outputs), "note"]
    rows = [[row.id, *(cell.text() for cell in row.cells), *row.outputs, row.note] for row in table.rows]
    return [frame, head, *rows]


def from_grid(grid: Grid) -> Table:
    """Inverse of `to_grid`. Raises ConfigurationError with row and column."""
    grid = [row for row in grid if any(cell.strip() for cell in row)]
    if len(grid) < 2 or len(grid) > MAX_ROWS + 2:
        raise ConfigurationError(f"a table has a frame, a head and up to {MAX_ROWS} rows")
    frame = dict(zip(grid[0][::2], grid[0][1::2], strict=False))
    mapping(frame, "row 1", frozenset({*_FRAME, ""}))
    head = [cell.strip() for cell in grid[1]]
    while head and not head[-1]:
        head.pop()
    if len(head) > MAX_COLUMNS + len(_FRAME) + 2 or head[:1] != ["id"]:
        raise ConfigurationError("the second row begins with id and names the columns", location="row 2")
    when = [index for index, name in enumerate(head) if name.startswith("when ")]
    then = [index for index, name in enumerate(head) if name.startswith("then ")]
    note = head.index("note") if "note" in head else -1
    odd = [name for index, name in enumerate(head) if index not in (0, note, *when, *then)]
    if odd:
        raise ConfigurationError(f"a column is id, note, when … or then …, not {odd[0][:40]!r}", location="row 2")
    rows = []
    for number, line in enumerate(grid[2:], 3):
        padded = line + [""] * (len(head) - len(line))
        cells = tuple(read_cell(padded[index], f"row {number} column {index + 1}") for index in when)
        outputs = tuple(padded[index] for index in then)
        rows.append(Row(padded[0].strip(), cells, outputs, padded[note] if note >= 0 else ""))
    table = Table(
        id=identifier(frame.get("table"), "row 1 table"),
        name=frame.get("name", ""),
        hit=one_of(frame.get("hit"), tuple(POLICIES), "row 1 hit"),
        category=one_of(frame.get("category"), CATEGORIES, "row 1 category"),
        version=_whole(frame.get("version", "1") or "1"),
        priority=_whole(frame.get("priority", "0") or "0"),
        values=tuple(frame.get("values", "").split()),
        columns=tuple(_column(head[index][5:]) for index in when),
        outputs=tuple(head[index][5:] for index in then),
        rows=tuple(rows),
    )
    check_table(table)
    return table


def _whole(given: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", given, re.ASCII):
        raise ConfigurationError("a whole number is needed here", location="row 1")
    return int(given)


def _column(header: str) -> Column:
    match = re.fullmatch(r"(.*?) \[([^ ]{1,20})\]", header)
    return Column(match[1], match[2]) if match else Column(header)


def shield(cell: str) -> str:
    """The text so that no spreadsheet takes it for a formula."""
    risky = cell[:1] in ("=", "+", "@", "\t", "\r", "'") or (cell[:1] == "-" and not _NUMBER.fullmatch(cell))
    return f"'{cell}" if risky else cell


def unshield(cell: str) -> str:
    """Inverse of `shield`."""
    return cell[1:] if cell[:1] == "'" and shield(cell[1:]) == cell else cell


def write_csv(table: Table) -> bytes:
    """CSV, UTF-8."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([[shield(cell) for cell in row] for row in to_grid(table)])
    return out.getvalue().encode()


def read_csv(data: bytes) -> Table:
    """Inverse of `write_csv`. Raises ConfigurationError."""
    if len(data) > MAX_UNPACKED:
        raise ConfigurationError("the table is too large")
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError("not CSV in UTF-8") from error
    return from_grid([[unshield(cell) for cell in row] for row in rows])


def write_xlsx(table: Table) -> bytes:
    """XLSX; every cell is text."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None  # noqa: S101 - a new workbook has a sheet
    sheet.title = "table"
    for number, row in enumerate(to_grid(table), 1):
        for column, cell in enumerate(row, 1):
            target = sheet.cell(number, column)
            try:
                target.value = shield(cell)
            except IllegalCharacterError as error:
                raise ConfigurationError("a control character in a cell", location=f"row {number}") from error
            target.data_type = "s"
            target.number_format = "@"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def read_xlsx(data: bytes) -> Table:
    """Inverse of `write_xlsx`, first sheet. Raises ConfigurationError for a formula or a bomb."""
    rows = sheet_rows(data, rows=MAX_ROWS + 3, columns=MAX_COLUMNS + 20, unpacked=MAX_UNPACKED)
    return from_grid([[unshield(cell) for cell in row] for row in rows])


def sheet_rows(data: bytes, *, rows: int, columns: int, unpacked: int) -> Iterator[list[str]]:
    """The first sheet's rows as texts. Raises ConfigurationError for a formula, a bomb, or what is no workbook."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > unpacked:
                raise ConfigurationError("the workbook unpacks to too much")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what the file says of its size may leave rows out
        for number, row in enumerate(sheet.iter_rows(max_col=columns), 1):
            if number > rows:
                raise ConfigurationError(f"more than {rows} rows")
            if any(cell.data_type == "f" for cell in row):
                raise ConfigurationError("a formula in a cell", location=f"row {number}")
            yield [_plain(cell.value) for cell in row]
    except (
        zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, IndexError, OSError, SyntaxError,
    ) as error:  # fmt: skip
        # Broken XML is a SyntaxError (xml.etree.ElementTree.ParseError).
        raise ConfigurationError("not an XLSX workbook") from error


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.date().isoformat() if hasattr(value, "date") and not isinstance(value, str) else str(value)


def write_document(table: Table) -> dict[str, Any]:
    """The table as a typed document (YAML)."""
    return {
        "table": table.id,
        "name": table.name,
        "hit": table.hit,
        "category": table.category,
        "version": table.version,
        "priority": table.priority,
        "values": list(table.values),
        "head": to_grid(table)[1],
        "rows": to_grid(table)[2:],
    }


def read_document(value: object) -> Table:
    """Inverse of `write_document`. Raises ConfigurationError."""
    body = mapping(value, "table", frozenset({*_FRAME, "head", "rows"}))
    frame: list[str] = []
    for name in ("table", "name", "hit", "category"):
        frame += [name, text(body.get(name, ""), f"table.{name}")]
    for name in ("version", "priority"):
        frame += [name, str(integer(body.get(name, 0 if name == "priority" else 1), f"table.{name}"))]
    frame += [
        "values",
        " ".join(text(each, "table.values") for each in sequence(body.get("values", []), "table.values")),
    ]
    grid = [frame, [text(each, "table.head") for each in sequence(body.get("head"), "table.head")]]
    for index, row in enumerate(sequence(body.get("rows"), "table.rows")):
        grid.append([_plain(cell) for cell in sequence(row, f"table.rows[{index}]")])
    return from_grid(grid)


def read_table(name: str, data: bytes) -> Table:
    """A table file by its ending: .csv, .xlsx, .yaml. Raises ConfigurationError."""
    if name.endswith(".csv"):
        return read_csv(data)
    if name.endswith(".xlsx"):
        return read_xlsx(data)
    return read_document(read_yaml(data, name))
