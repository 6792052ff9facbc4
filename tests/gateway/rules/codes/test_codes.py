"""Public code lists become value sets that rules ask and whose origin a release keeps; hostile files are refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.rules import app
from gateway.core.errors import ConfigurationError
from gateway.rules.catalogue import Catalogue
from gateway.rules.codes.layouts import read_codes
from gateway.rules.codes.model import select, value_set
from gateway.rules.diff import diff
from gateway.rules.documents import read_value_set, write_value_set
from gateway.rules.engine import evaluate
from gateway.rules.files import assemble
from gateway.rules.release import release
from gateway.rules.tables.grids import read_table
from tests.gateway.rules.codes import layouts

ICD = ["X11.00", "X11.01", "X11.9", "X20", "XA1.XXXA"]


@pytest.mark.parametrize("coat", [layouts.hcpcs_text, layouts.hcpcs_workbook, layouts.hcpcs_csv])
def test_hcpcs_reads_the_same_in_each_coat(coat: Callable[[], bytes]) -> None:
    found = read_codes(coat(), "hcpcs")
    assert found.hash == "sha256:" + hashlib.sha256(coat()).hexdigest() or coat is layouts.hcpcs_workbook
    assert {each.code: each.group for each in found.codes} == {
        "QQ": "modifier", "X1390": "procedure", "X1391": "procedure", "X1392": "procedure", "D9999": "procedure",
    }  # fmt: skip
    by_code = {each.code: each for each in found.codes}
    assert by_code["X1390"].title == "Made-up concentrator, one port, that goes on for a second line"
    assert by_code["X1392"].end == date(2025, 12, 31)
    chosen = select(found, group="procedure")
    assert ([each.code for each in chosen.codes], chosen.licensed) == (["X1390", "X1391", "X1392"], 1)
    assert len(select(found, group="procedure", licensed=True).codes) == 4


def test_codes_are_taken_as_they_stand_on_a_day() -> None:
    found = read_codes(layouts.hcpcs_csv(), "hcpcs")

    def on(*day: int) -> list[str]:
        return [each.code for each in select(found, ["X139*"], on=date(*day)).codes]

    assert on(2025, 3, 31) == ["X1390", "X1392"]
    assert on(2025, 4, 1) == ["X1390", "X1391", "X1392"]
    assert on(2025, 12, 31) == ["X1390", "X1391", "X1392"]
    assert on(2026, 1, 1) == ["X1390", "X1391"]


@pytest.mark.parametrize("coat", [layouts.order_file, layouts.bare_list, layouts.tabular])
def test_icd10cm_reads_the_same_in_each_coat(coat: Callable[[], bytes]) -> None:
    found = read_codes(coat(), "icd10cm")
    third = [] if coat is layouts.tabular else ICD[4:]
    assert [each.code for each in select(found).codes] == ICD[:4] + third
    assert [each.code for each in select(found, ["X11*"], headings=True).codes] == [
        "X11", "X11.0", "X11.00", "X11.01", "X11.9",
    ]  # fmt: skip
    assert [each.code for each in select(found, ["X11.01-X20"]).codes] == ["X11.01", "X11.9", "X20"]
    assert [each.code for each in select(found, ["X10-X11"]).codes] == ICD[:3], (
        "what begins with the end is in the range"
    )


def test_places_of_service_have_two_digits_and_an_owner() -> None:
    found = read_codes(layouts.places(), "pos")
    assert [(each.code, each.title) for each in found.codes] == [("01", "Made-up shop"), ("11", "Office")]


def test_an_article_is_read_in_its_newest_version_by_group() -> None:
    with pytest.raises(ConfigurationError, match="2 documents"):
        read_codes(layouts.article("icd10"), "article")
    found = read_codes(layouts.article("icd10"), "article", document="A50001")
    assert (found.system, found.documents, found.groups) == ("ICD-10-CM", ("50001 version 4",), ("1", "2"))
    assert [each.code for each in select(found, group="1").codes] == ["X11.01"]
    services = read_codes(layouts.article("hcpc"), "article")
    chosen = select(services)
    assert ([each.code for each in chosen.codes], chosen.licensed) == (["X1390"], 1)


HOSTILE = {
    "zero bytes": ("icd10cm", b"X11\0\n"),
    "other text": ("icd10cm", b"dear reader\n"),
    "two layouts": ("icd10cm", layouts.order_file() + b"\nX77 more\n"),
    "nothing": ("pos", b""),
    "no head": ("article", b"a,b\n1,2\n"),
    "head only": ("hcpcs", ",".join(layouts.HCPCS_HEAD).encode()),
    "another code": ("hcpcs", b"HCPC,RECID,LONG DESCRIPTION\n=1+1,3,x\n"),
    "a date that is none": ("hcpcs", b"HCPC,RECID,ADD DT\nX1390,3,20261301\n"),
    "a formula": ("hcpcs", layouts.hcpcs_workbook("=cmd|' /C calc'!A0")),
    "no workbook": ("hcpcs", b"PK\x03\x04" + b"x" * 100),
    "wide": ("pos", b"," * 100),
    "a cell without end": ("pos", b'code,name\n11,"' + b"x" * 200_000),
    "entities": ("icd10cm", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'),
    "utf-16 entities": (
        "icd10cm",
        b"<a/>".ljust(8) + '<!DOCTYPE a [<!ENTITY b "c">]>'.encode("utf-16-le"),
    ),
    "deep": ("icd10cm", b"<a>" + b"<diag>" * 5000 + b"</diag>" * 5000 + b"</a>"),
    "an unknown layout": ("cpt", b"00001"),
}  # fmt: skip


@pytest.mark.parametrize(("layout", "data"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_such_list_is_refused(layout: str, data: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_codes(data, layout)
    assert len(str(caught.value)) < 300


def test_a_bomb_is_not_unpacked() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 65_000_000)
    with pytest.raises(ConfigurationError, match="unpacks to too much"):
        read_codes(out.getvalue(), "hcpcs")


def changed_sheet(change: Callable[[bytes], bytes]) -> bytes:
    """The workbook with its sheet's XML changed."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(layouts.hcpcs_workbook())) as source,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, change(data) if name.endswith("sheet1.xml") else data)
    return out.getvalue()


SHEETS: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda xml: xml[: len(xml) // 2],
    "a row far below": lambda xml: xml.replace(b'r="5"', b'r="900000000"').replace(b'"A5"', b'"A900000000"'),
    "entities": lambda xml: b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + xml,
}


@pytest.mark.parametrize("change", SHEETS.values(), ids=SHEETS.keys())
def test_a_broken_or_endless_sheet_is_refused(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ConfigurationError):
        read_codes(changed_sheet(change), "hcpcs")
    with pytest.raises(ConfigurationError):
        read_table("t.xlsx", changed_sheet(change))


@pytest.mark.parametrize("wanted", ["X11", "ZZ*", "X9-X1", "*", "a b", "X1" * 40])
def test_a_choice_that_takes_nothing_is_refused(wanted: str) -> None:
    with pytest.raises(ConfigurationError):
        select(read_codes(layouts.order_file(), "icd10cm"), ["X20", wanted])


RULESET = b"""
id: made-up
valueSets:
  concentrator: {title: concentrators, question: "Which one?", codes: []}
rules:
  - {id: R1, category: medical_necessity, condition: {all: [{fact: service.code, in: {valueSet: concentrator}},
      {quantifier: any, list: diagnoses, test: {fact: diagnosis.code, under: {valueSet: disease}}}]},
     action: {type: approve}}
"""


def folder(path: Path) -> Path:
    (path / "ruleset.yaml").write_bytes(RULESET)
    (path / "hcpcs.txt").write_bytes(layouts.hcpcs_text())
    (path / "order.txt").write_bytes(layouts.order_file())
    return path


def load(path: Path, *words: str) -> dict[str, object]:
    result = CliRunner().invoke(app, ["codes", "load", *words, "--into", str(path), "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_loaded_sets_decide_and_their_origin_is_in_the_lock(
    catalogue: Catalogue, now: datetime, tmp_path: Path
) -> None:
    path = folder(tmp_path)
    days = ("--effective", "2026-01-01", "--until", "2026-04-01")
    hcpcs = (str(path / "hcpcs.txt"), "--layout", "hcpcs", "--name", "concentrator", "--select", "X139*")
    told = load(path, *hcpcs, "--release", "2026-01", "--on", "2026-01-01", *days)
    assert (told["chosen"], told["licensedLeftOut"]) == (2, 0)
    order = (str(path / "order.txt"), "--layout", "icd10cm", "--name", "disease", "--select", "X11")
    load(path, *order, "--release", "FY2026", "--headings")
    files = {each.name: each.read_bytes() for each in path.iterdir()}
    ruleset = assemble(files, catalogue)
    pinned = release(ruleset, catalogue)
    hashed = "sha256:" + hashlib.sha256(layouts.hcpcs_text()).hexdigest()
    assert pinned.lock["origin of concentrator"] == f"HCPCS 2026-01, 2026-01-01 to 2026-04-01, {hashed}"
    assert pinned.lock["origin of disease"].startswith("ICD-10-CM FY2026, … to …, sha256:")
    assert ruleset.value_sets["concentrator"].question == "Which one?"

    def action(service: str, diagnosis: str) -> str:
        facts = {"services": [{"sequence": 1, "code": service}], "diagnoses": [{"code": diagnosis}]}
        return evaluate(pinned, facts, now=now).action

    assert action("X1391", "X11.01") == "approve"
    assert action("X1391", "X20") == "pend"
    assert action("X1392", "X11.01") == "pend", "discontinued before the day"
    known = ruleset.value_sets["concentrator"]
    assert read_value_set("concentrator", write_value_set(known)) == known
    load(path, *hcpcs, "--release", "2026-04", "--on", "2026-01-01", "--effective", "2026-04-01")
    later = assemble({each.name: each.read_bytes() for each in path.iterdir()}, catalogue)
    assert release(later, catalogue).hash != pinned.hash
    (change,) = diff(ruleset, later, catalogue)
    assert "2026-[-01-]{+04+}" in change.text or "{+" in change.text


def test_a_set_has_one_source(catalogue: Catalogue, tmp_path: Path) -> None:
    path = folder(tmp_path)
    load(path, str(path / "hcpcs.txt"), "--layout", "hcpcs", "--name", "concentrator", "--release", "2026-01")
    files = {each.name: each.read_bytes() for each in path.iterdir()}
    files["ruleset.yaml"] = RULESET.replace(b"codes: []", b"codes: [X1]")
    with pytest.raises(ConfigurationError, match="already"):
        assemble(files, catalogue)
    for broken in (b"{", b'{"codes": ["X1"], "fileHash": "sha256:1"}', b'{"codes": 1}', b"[" * 100_000):
        with pytest.raises(ConfigurationError):
            assemble({**files, "disease.codes.json": broken, "ruleset.yaml": RULESET}, catalogue)


def test_a_set_has_days_in_order() -> None:
    chosen = select(read_codes(layouts.order_file(), "icd10cm"))
    with pytest.raises(ConfigurationError, match="first day"):
        value_set(chosen, name="d", version="1", effective=date(2026, 1, 1), expiration=date(2026, 1, 1))


def test_the_choice_can_be_looked_at_first(tmp_path: Path) -> None:
    path = folder(tmp_path)
    shown = CliRunner().invoke(
        app, ["codes", "list", str(path / "order.txt"), "--layout", "icd10cm", "--select", "X11*"]
    )
    assert shown.exit_code == 0
    assert "Made-up disease, severe" in shown.stdout
    assert "3 of 8 ICD-10-CM codes" in shown.stdout


OUTSIDE = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "/nowhere")) / "rules" / "codes"
PUBLISHED = {
    "hcpcs_level_2_2022.csv": ("hcpcs", "E1390", 7500),
    "icd10cm-code-list-2026-04.txt": ("icd10cm", "E11.9", 98_000),
    "place_of_service.csv": ("pos", "11", 50),
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.skipif(not OUTSIDE.is_dir(), reason="GATEWAY_OUTSIDE_DATA names no folder of published lists")
def test_published_lists_are_read(name: str) -> None:
    layout, code, count = PUBLISHED[name]
    found = read_codes((OUTSIDE / name).read_bytes(), layout)
    assert code in {each.code for each in found.codes}
    assert len(found.codes) >= count
