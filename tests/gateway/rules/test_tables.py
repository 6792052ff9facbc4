"""Decision tables: the three coats without loss, hit policies as conditions, gaps and overlaps with examples."""

from __future__ import annotations

import io
import zipfile

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.errors import ConfigurationError
from gateway.rules.dmn import read_model
from gateway.rules.dmn.exchange import read_table_of, write_model
from gateway.rules.engine import evaluate
from gateway.rules.model import RuleSet, ValueSet
from gateway.rules.release import release
from gateway.rules.tables.analysis import analyse, class_bits, classes_of
from gateway.rules.tables.cells import Cell, read_cell
from gateway.rules.tables.grids import (
    read_csv,
    read_document,
    read_xlsx,
    shield,
    unshield,
    write_csv,
    write_document,
    write_xlsx,
)
from gateway.rules.tables.model import Column, Row, Table, table_rules


def table(hit="F", *rows, values=()):
    return Table(
        id="walkers",
        name="Walkers",
        hit=hit,
        category="compliance",
        values=values,
        columns=(Column("age", "a"), Column("any diagnosis ?")),
        outputs=("action", "reason"),
        rows=tuple(
            Row(str(number), tuple(map(read_cell, cells)), outputs) for number, (cells, outputs) in enumerate(rows, 1)
        ),
    )


FIRST = table(
    "F",
    ((">= 65", 'set "gait"'), ("approve", "Of age, with the condition.")),
    (("[18..65)", 'set "gait"'), ("pend", "A person looks.")),
    (("-", "-"), ("deny", "Not covered.")),
)

COATS = {
    "csv": (write_csv, read_csv),
    "xlsx": (write_xlsx, read_xlsx),
    "yaml": (write_document, read_document),
}
dangerous = st.sampled_from(
    ["=cmd|' /C calc'!A0", "+1", "-x", "@SUM(A1)", "'quoted", "''", "\tx", "-", "-5", "1", "a\nb", ""]
)


@pytest.mark.parametrize("coat", COATS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.sampled_from(["-", ">= 65", "[18..65)", "not(7)"]), dangerous, dangerous), min_size=1, max_size=4
    )
)
def test_every_coat_is_lossless_and_runs_no_formula(coat, rows):
    write, read = COATS[coat]
    found = Table(
        id="t", name="=1+1", hit="C", category="fraud", columns=(Column("age", "a"),),
        outputs=("action", "reason"), values=("deny", "approve"),
        rows=tuple(Row(f"r{n}", (read_cell(cell),), ("pend", why), note) for n, (cell, why, note) in enumerate(rows)),
    )  # fmt: skip
    written = write(found)
    assert read(written) == found
    if coat == "csv":
        assert not any(line.startswith(("=", "+", "@")) for line in written.decode().replace('"', "").split(","))
    if coat == "xlsx":
        sheet = openpyxl.load_workbook(io.BytesIO(written)).active
        assert not any(cell.data_type == "f" for row in sheet.iter_rows() for cell in row)


@given(st.text(max_size=8))
def test_shield_is_undone_exactly(text):
    assert unshield(shield(text)) == text


def test_formulas_bombs_and_other_files_are_refused():
    book = openpyxl.Workbook()
    book.active["A1"] = "=1+1"
    out = io.BytesIO()
    book.save(out)
    with pytest.raises(ConfigurationError, match="formula"):
        read_xlsx(out.getvalue())
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 20_000_000)
    with pytest.raises(ConfigurationError, match="too much"):
        read_xlsx(bomb.getvalue())
    for data in (b"", b"PK\x03\x04", b"a,b\n1,2\n"):
        with pytest.raises(ConfigurationError):
            read_xlsx(data)


CELLS = ["-", "<= 88", "> 5", "[5..15)", "(5..15]", '"A", "B"', "65, 70", 'not("A")', "true", "2026-01-01", 'set "x"']


@pytest.mark.parametrize("text", CELLS)
def test_cells_print_as_they_are_read(text):
    assert read_cell(read_cell(text).text()) == read_cell(text)
    assert read_cell(text).text() == text


@pytest.mark.parametrize("text", ["<=", "5 6", "[5..", "[15..5]", "f(x)", '"open', "x", "5,", "2026-02-30", "=cmd|x"])
def test_what_is_no_test_is_refused(text):
    with pytest.raises(ConfigurationError):
        read_cell(text, "row 1")


def decide(catalogue, now, found, facts):
    sets = {"gait": ValueSet(name="gait", codes=frozenset({"R26.9"}))}
    rules = table_rules(found, catalogue)
    ruleset = RuleSet(id="t", version=1, rules=rules, value_sets=sets, automatic_denials=("compliance",))
    return evaluate(release(ruleset, catalogue), facts, now=now)


ANSWERS = [
    ({"patient.age": 70, "diagnoses": [{"code": "R26.9"}]}, "approve"),
    ({"patient.age": 65, "diagnoses": [{"code": "R26.9"}]}, "approve"),
    ({"patient.age": 64, "diagnoses": [{"code": "R26.9"}]}, "pend"),
    ({"patient.age": 17, "diagnoses": [{"code": "R26.9"}]}, "deny"),
    ({"patient.age": 70, "diagnoses": [{"code": "Z00.0"}]}, "deny"),
    ({"patient.age": 70}, "request_info"),
    ({"diagnoses": [{"code": "R26.9"}]}, "request_info"),
    ({"diagnoses": [{"code": "Z00.0"}]}, "deny"),
]


@pytest.mark.parametrize(("facts", "expected"), ANSWERS)
def test_first_hit_under_any_strategy_and_with_missing_facts(catalogue, now, facts, expected):
    assert decide(catalogue, now, FIRST, facts).action == expected


def test_priority_and_collect(catalogue, now):
    rows = (((">= 5", "-"), ("approve", "a")), ((">= 50", "-"), ("pend", "p")))
    facts = {"patient.age": 60, "diagnoses": []}
    assert decide(catalogue, now, table("P", *rows, values=("approve", "pend")), facts).action == "approve"
    assert decide(catalogue, now, table("P", *rows, values=("pend", "approve")), facts).action == "pend"
    collected = decide(catalogue, now, table("C", *rows), facts)
    assert collected.items == () or collected.action == "pend"
    assert len(collected.record.items[0]["matched"]) == 2


def test_gaps_overlaps_and_unreachable_rows_have_examples():
    unique = table(
        "U",
        (("< 18", "-"), ("pend", "")),
        (("[18..65]", 'set "gait"'), ("approve", "")),
        ((">= 65", "-"), ("approve", "")),
    )
    found = analyse(unique)
    assert found.overlaps
    assert "age = 65" in found.overlaps[0]
    assert "forbids" in found.broken[0]
    assert found.gaps == ["age = 18, any diagnosis ? anything else"]
    dead = table("F", (("-", "-"), ("pend", "")), ((">= 5", "-"), ("approve", "")))
    assert analyse(dead).unreachable == ["row 2: the rows above it leave nothing"]
    assert analyse(FIRST).gaps == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=6), st.integers(-1, 21))
def test_the_analysis_agrees_with_the_cells(bounds, age):
    rows = [((f"[{min(pair)}..{max(pair)}]", "-"), ("pend", "")) for pair in bounds]
    found = table("C", *rows)
    covered = any(row.cells[0].holds(__import__("decimal").Decimal(age)) for row in found.rows)
    if not analyse(found).gaps:
        assert covered
    whole = table("C", *rows, (("-", "-"), ("pend", "")))
    assert analyse(whole).gaps == []
    assert isinstance(whole.rows[-1].cells[0], Cell)


def test_a_table_travels_through_dmn_and_means_the_same():
    sets = {"gait": ValueSet(name="gait", codes=frozenset({"R26.9"}))}
    data = write_model(FIRST, sets)
    model = read_model(data)
    for age, code, expected in ((70, "R26.9", "approve"), (40, "R26.9", "pend"), (70, "Z00.0", "deny")):
        assert model.evaluate_json("walkers", {"age": age, "any diagnosis": code})["action"] == expected
    back = read_table_of(data, category="compliance")
    assert [row.outputs for row in back.rows] == [row.outputs for row in FIRST.rows]
    assert back.columns == FIRST.columns
    assert write_model(back) == data


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.sampled_from([*CELLS, "< 7", ">= 15", "(65..70)", "not(65)", 'not([5..15], "B")']), min_size=1, max_size=6
    )
)
def test_a_cell_takes_the_same_classes_by_stretch_and_by_asking_each(texts):
    cells = [read_cell(text) for text in texts]
    values = classes_of(cells)
    for cell in cells:
        asked = sum(1 << index for index, value in enumerate(values) if cell.holds(value))
        assert class_bits(cell, values) == asked
