"""The layouts in which public code lists are published.

hcpcs     HCPCS level II, CMS quarterly file: fixed text (record layout of 320 positions: code 1-5, a modifier in 4-5,
          record 11, long description 12-91, added 269-276, last day 285-292), workbook or CSV with CMS's column names.
          Records 4 and 8 go on with a description; 7 is a modifier.
icd10cm   ICD-10-CM, CMS/NCHS: order file (code 7-13, heading or valid in 15, title from 78), code file (code,
          blank, title), a bare list of codes, or the tabular list in XML, whose seventh characters are not spelled out.
pos       Place of service, CMS: a table of code and name; unassigned codes are left out.
article   Tables of LCD, NCD and article codes, Medicare Coverage Database CSV export: article_x_hcpc_code,
          article_x_icd10_covered and …_noncovered, and the same of LCDs.
Not handled: seventh characters of the tabular list; ranges in a row of an article (`range` beside the code).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date

from gateway.core.errors import ConfigurationError
from gateway.rules.codes.files import MAX_FILE, Rows, is_workbook, is_xml, lines_of, table_of, xml_of
from gateway.rules.codes.model import Code, CodeList, with_headings

_PROCEDURE = re.compile(r"[A-Z][0-9]{4}|[0-9]{4}[0-9A-Z]", re.ASCII)
_MODIFIER = re.compile(r"[A-Z0-9]{2}", re.ASCII)
_DIAGNOSIS = re.compile(r"[A-Z][0-9A-Z]{2,6}", re.ASCII)
_ORDERED = re.compile(r"[0-9]{5} ([A-Z0-9]{3,7}) *([01]) ", re.ASCII)
_PLACE = re.compile(r"[0-9]{2}", re.ASCII)
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")
_HEAD_WITHIN = 30
"""Rows of titles before the head of a table."""


def read_codes(data: bytes, layout: str, *, document: str = "") -> CodeList:
    """The codes of a file. `document` chooses one article or LCD of a table that holds several.

    Raises ConfigurationError with the row for a file that is not of the layout, too large or hostile.
    """
    if layout not in LAYOUTS:
        raise ConfigurationError(f"no layout {layout[:40]!r}; there are {', '.join(LAYOUTS)}")
    if len(data) > MAX_FILE:
        raise ConfigurationError(f"the file is larger than {MAX_FILE} bytes")
    system, found, documents = LAYOUTS[layout](data, document)
    if not found:
        raise ConfigurationError(f"no code was found: is it a file of the layout {layout}?")
    groups = tuple(sorted({code.group for code in found if code.group}))
    return CodeList(system, "sha256:" + hashlib.sha256(data).hexdigest(), tuple(found), documents, groups)


Found = tuple[str, list[Code], tuple[str, ...]]


def _hcpcs(data: bytes, _document: str) -> Found:
    first = b"" if is_workbook(data) else data[:4000].partition(b"\n")[0]
    fixed = len(first.rstrip(b"\r")) >= 119 and b"," not in first[:11]
    found: list[Code] = []
    for location, code, record, title, added, ended in _hcpcs_fixed(data) if fixed else _hcpcs_table(data):
        if record in ("4", "8"):
            if found:
                found[-1] = _longer(found[-1], title)
            continue
        modifier = record == "7"
        if not (_MODIFIER if modifier else _PROCEDURE).fullmatch(code):
            raise ConfigurationError("not an HCPCS code", location=location)
        start, end = _day(added, location), _day(ended, location)
        found.append(Code(code, title, group="modifier" if modifier else "procedure", start=start, end=end))
    return "HCPCS", found, ()


_Line = tuple[str, str, str, str, str, str]


def _hcpcs_fixed(data: bytes) -> Iterator[_Line]:
    for number, line in enumerate(lines_of(data), 1):
        if line.strip():
            code, record, title = line[0:5].strip(), line[10:11], line[11:91].strip()
            yield f"line {number}", code, record, title, line[268:276], line[284:292]


def _hcpcs_table(data: bytes) -> Iterator[_Line]:
    for location, row in _columns(table_of(data), {"code": ("hcpc", "hcpcs", "hcpcscode", "code")}):
        code = row["code"].strip().upper()
        if not code:
            continue
        record = row.get("recid", "").strip() or ("7" if len(code) == 2 else "3")
        title = row.get("longdescription") or row.get("description") or row.get("shortdescription", "")
        yield location, code, record, title.strip(), row.get("adddt", ""), row.get("termdt", "")


def _longer(code: Code, more: str) -> Code:
    return Code(code.code, f"{code.title} {more}".strip(), code.heading, code.group, code.start, code.end)


def _icd10cm(data: bytes, _document: str) -> Found:
    if is_xml(data):
        return "ICD-10-CM", _tabular(data), ()
    plain: list[str] = []
    titles: dict[str, str] = {}
    ordered: list[Code] = []
    for number, line in enumerate(lines_of(data), 1):
        match = _ORDERED.match(line)
        if match:
            ordered.append(Code(dotted(match[1]), line[77:].strip(), heading=match[2] == "0"))
            continue
        code, _, title = line.strip().partition(" ")
        bare = code.replace(".", "")
        if _DIAGNOSIS.fullmatch(bare):
            plain.append(dotted(bare))
            titles[dotted(bare)] = title.strip()
        elif line.strip() and not re.fullmatch(r"[0-9]{1,2}|[A-Z0-9]{3}-[A-Z0-9]{3}", line.strip(), re.ASCII):
            raise ConfigurationError("not a line of an ICD-10-CM list", location=f"line {number}")
    if ordered and plain:
        raise ConfigurationError("lines of an order file and of another list in one file")
    return (
        "ICD-10-CM",
        ordered or [Code(each.code, titles[each.code], each.heading) for each in with_headings(plain)],
        (),
    )


def _tabular(data: bytes) -> list[Code]:
    found = []
    for element in xml_of(data).iter("diag"):
        name = (element.findtext("name") or "").strip().upper()
        if not _DIAGNOSIS.fullmatch(name.replace(".", "")):
            raise ConfigurationError("not an ICD-10-CM code", location=f"line {element.sourceline}")
        heading = element.find("diag") is not None
        found.append(Code(dotted(name.replace(".", "")), (element.findtext("desc") or "").strip(), heading))
    return found


def dotted(code: str) -> str:
    """The code with its point, as the facts carry it."""
    return code if len(code) <= 3 else f"{code[:3]}.{code[3:]}"


def _pos(data: bytes, _document: str) -> Found:
    found = []
    names = {"code": ("code", "poscode", "placeofservicecode", "placeofservicecodes", "pos")}
    for location, row in _columns(table_of(data), names):
        given = row["code"].strip()
        title = (row.get("placeofservicename") or row.get("name") or row.get("description") or "").strip()
        if not given or title.casefold() == "unassigned":
            continue
        code = given.zfill(2)  # spreadsheets drop the zero
        if not _PLACE.fullmatch(code):
            raise ConfigurationError("not a place of service", location=location)
        found.append(Code(code, title))
    return "POS", found, ()


_DOCUMENT = ("articleid", "lcdid", "ncdid")
_LISTED = ("hcpccodeid", "icd10codeid")
_GROUPED = ("hcpccodegroup", "icd10coveredgroup", "icd10noncoveredgroup")


def _article(data: bytes, document: str) -> Found:
    wanted = document.strip().upper().lstrip("AL")
    rows: list[tuple[str, str, Mapping[str, str]]] = []
    for location, row in _columns(table_of(data), {"document": _DOCUMENT, "code": _LISTED}):
        rows.append((location, row["document"].strip().lstrip("AL"), row))
    held = sorted({name for _, name, _ in rows})
    if not wanted and len(held) > 1:
        raise ConfigurationError(f"the file holds {len(held)} documents: name one")
    chosen = [(location, row) for location, name, row in rows if not wanted or name == wanted]
    versions = [_version(row) for _, row in chosen]
    newest = max(versions, default=0)
    diagnoses = bool(rows) and "icd10codeid" in rows[0][2]
    shape = _DIAGNOSIS if diagnoses else _PROCEDURE
    found = []
    for (location, fields), version in zip(chosen, versions, strict=True):
        if version < newest:
            continue
        code = fields["code"].strip().upper().replace(".", "")
        if not shape.fullmatch(code):
            raise ConfigurationError("not a code of this table", location=location)
        title = fields.get("longdescription") or fields.get("description") or ""
        group = next((fields[name].strip() for name in _GROUPED if fields.get(name)), "")
        found.append(Code(dotted(code) if diagnoses else code, title.strip(), group=group))
    named = tuple(f"{name} version {newest}" if newest else name for name in ([wanted] if wanted else held))
    return "ICD-10-CM" if diagnoses else "HCPCS", found, named


def _version(row: Mapping[str, str]) -> int:
    given = next((value for name, value in row.items() if name in ("articleversion", "lcdversion", "ncdversion")), "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 0


def _columns(rows: Rows, needed: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row by its column names (letters and digits only), the needed ones also under our name for them."""
    head: list[str] = []
    ours: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        if not head:
            names = [_NOT_A_WORD.sub("", cell.casefold()) for cell in row]
            ours = {key: names.index(name) for key, given in needed.items() for name in given if name in names}
            if len(ours) == len(needed):
                head = names
            elif number >= _HEAD_WITHIN:
                break
            continue
        found = dict(zip(head, row, strict=False))
        found.update({key: row[index] if index < len(row) else "" for key, index in ours.items()})
        yield f"row {number}", found
    if not head:
        raise ConfigurationError("no row names the columns of this layout")


def _day(given: str, location: str) -> date | None:
    text = given.strip().removesuffix(".0")
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError("a date YYYYMMDD is needed here", location=location) from error


LAYOUTS: Mapping[str, Callable[[bytes, str], Found]] = {
    "hcpcs": _hcpcs, "icd10cm": _icd10cm, "pos": _pos, "article": _article,
}  # fmt: skip
