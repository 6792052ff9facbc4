"""Bytes of a code file → rows of texts, whatever coat they came in; hostile files are refused.

Limits: 64 MB, 64 MB unpacked, 1,000,000 rows (200,000 of a workbook), 60 columns, 128 KiB in a cell. A formula in a
workbook, a document type definition in XML, a zero byte in a text end the reading.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from lxml import etree

from gateway.core.errors import ConfigurationError
from gateway.rules.tables.grids import sheet_rows

MAX_FILE = 64_000_000
MAX_ROWS = 1_000_000
MAX_SHEET_ROWS = 200_000
"""Rows of a workbook: its format costs a hundred times a text's, and rows that are not there count too."""
MAX_COLUMNS = 60
Rows = Iterator[list[str]]


def is_workbook(data: bytes) -> bool:
    """Whether it is a ZIP archive, as XLSX is."""
    return data[:4] == b"PK\x03\x04"


def is_xml(data: bytes) -> bool:
    """Whether it begins as XML does."""
    return data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def text_of(data: bytes) -> str:
    """The text, UTF-8 or the Windows code page that the agencies write. Raises ConfigurationError."""
    if b"\0" in data:
        raise ConfigurationError("not a text file: it holds zero bytes")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigurationError("neither UTF-8 nor Windows-1252 text")


def lines_of(data: bytes) -> Iterator[str]:
    """The lines of a text. Raises ConfigurationError beyond the limit."""
    for number, line in enumerate(text_of(data).splitlines(), 1):
        if number > MAX_ROWS:
            raise ConfigurationError(f"more than {MAX_ROWS} lines")
        yield line


def table_of(data: bytes) -> Rows:
    """The rows of a workbook's first sheet, or of a text with commas or tabs. Raises ConfigurationError."""
    if is_workbook(data):
        yield from sheet_rows(data, rows=MAX_SHEET_ROWS, columns=MAX_COLUMNS, unpacked=MAX_FILE)
        return
    text = text_of(data)
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for number, row in enumerate(reader, 1):
            if number > MAX_ROWS or len(row) > MAX_COLUMNS:
                raise ConfigurationError(f"more than {MAX_ROWS} rows or {MAX_COLUMNS} columns")
            yield row
    except csv.Error as error:
        raise ConfigurationError("not a table of texts", location=f"row {reader.line_num}") from error


def xml_of(data: bytes) -> etree._Element:
    """The root of an XML file. Raises ConfigurationError; nothing outside of the file is looked at."""
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ConfigurationError("a document type definition is not served")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise ConfigurationError("not XML") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise ConfigurationError("a document type definition is not served")
    return root
