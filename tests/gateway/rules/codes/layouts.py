"""Made-up code lists in the layouts of the public ones. No code below Z99 and none that begins with X is real."""

from __future__ import annotations

import csv
import io

import openpyxl

HCPCS_HEAD = ["HCPC", "SEQNUM", "RECID", "LONG DESCRIPTION", "SHORT DESCRIPTION", "ADD DT", "ACT EFF DT", "TERM DT"]
HCPCS_ROWS = [
    ["QQ", "00100", "7", "Made-up modifier", "Modifier", "20200101", "20200101", ""],
    ["X1390", "00100", "3", "Made-up concentrator, one port, that goes", "Concentrator", "20200101", "20240101", ""],
    ["X1390", "00200", "4", "on for a second line", "", "", "", ""],
    ["X1391", "00100", "3", "Made-up concentrator, two ports", "Concentrator two", "20250401", "20250401", ""],
    ["X1392", "00100", "3", "Made-up portable", "Portable", "20200101", "20200101", "20251231"],
    ["D9999", "00100", "3", "Made-up dental", "Dental", "20200101", "20200101", ""],
]
ICD10CM = [
    ("X11", True, "Made-up disease"), ("X110", True, "Made-up disease with something"),
    ("X1100", False, "Made-up disease with something, mild"), ("X1101", False, "Made-up disease, severe"),
    ("X119", False, "Made-up disease, unspecified"), ("X20", False, "Another made-up disease"),
    ("XA1", True, "A third"), ("XA1XXXA", False, "A third, first encounter"),
]  # fmt: skip
_UPDATED = "2026-01-01"
_ARTICLE = [
    ["50001", "3", "X11.00", "47", "1", "", "2025-01-01", "Old version, mild"],
    ["50001", "4", "X11.01", "48", "1", "", _UPDATED, "Made-up disease, severe"],
    ["50001", "4", "X20", "48", "2", "", _UPDATED, "Another"],
    ["50002", "1", "X11.9", "48", "1", "", _UPDATED, "Elsewhere"],
]
_ARTICLE_HCPCS = [
    ["50001", "4", "X1390", "7", "1", "", _UPDATED, "Made-up concentrator"],
    ["50001", "4", "00001", "7", "1", "", _UPDATED, "A licensed shape"],
]
_POS = [
    ["Place of Service Code(s)", "Place of Service Name", "Place of Service Description"],
    ["1", "Made-up shop", "A, b"], ["11", "Office", ""], ["27", "Unassigned", ""],
]  # fmt: skip


def comma_separated(rows: list[list[str]]) -> bytes:
    """Rows as CSV."""
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def article(kind: str) -> bytes:
    """The table of covered diagnoses (`icd10`) or of services (`hcpc`)."""
    group, title = (
        ("icd10_covered_group", "description") if kind == "icd10" else ("hcpc_code_group", "long_description")
    )
    head = ["article_id", "article_version", f"{kind}_code_id", f"{kind}_code_version", group, "range", "last_updated"]
    return comma_separated([[*head, title], *(_ARTICLE if kind == "icd10" else _ARTICLE_HCPCS)])


def places() -> bytes:
    """Places of service."""
    return comma_separated(_POS)


def hcpcs_text() -> bytes:
    """The fixed text of 320 positions."""
    lines = []
    for code, sequence, record, long, short, added, effective, ended in HCPCS_ROWS:
        line = f"{code if len(code) > 2 else '   ' + code:5}{sequence}{record}{long:80}{short:28}".ljust(268)
        lines.append((line + added.ljust(8) + effective.ljust(8) + ended.ljust(8)).ljust(320))
    return "\r\n".join(lines).encode("cp1252")


def hcpcs_workbook(formula: str = "") -> bytes:
    """The workbook, with titles above its head."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in [["Made-up quarterly file"], [], HCPCS_HEAD, *HCPCS_ROWS]:
        sheet.append(row)
    if formula:
        sheet["D4"] = formula
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def hcpcs_csv() -> bytes:
    """The same as CSV."""
    return "\ufeff".encode() + comma_separated([HCPCS_HEAD, *HCPCS_ROWS])


def order_file() -> bytes:
    """The order file."""
    lines = [
        f"{number:05} {code:7} {'0' if heading else '1'} {title[:60]:60} {title}"
        for number, (code, heading, title) in enumerate(ICD10CM, 1)
    ]
    return "\n".join(lines).encode()


def bare_list() -> bytes:
    """Codes alone, with a chapter and a block."""
    return "\n".join(["1", "X10-X20", *(code for code, _, _ in ICD10CM)]).encode()


def tabular() -> bytes:
    """The tabular list."""
    return b"""<?xml version="1.0"?><ICD10CM.tabular><chapter><name>1</name><section id="X10-X20">
      <diag><name>X11</name><desc>Made-up disease</desc>
        <diag><name>X11.0</name><desc>with something</desc>
          <diag><name>X11.00</name><desc>mild</desc></diag><diag><name>X11.01</name><desc>severe</desc></diag></diag>
        <diag><name>X11.9</name><desc>unspecified</desc></diag></diag>
      <diag><name>X20</name><desc>Another</desc></diag></section></chapter></ICD10CM.tabular>"""
