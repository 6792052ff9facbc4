"""`gateway rules …` as a user types it: output, JSON, exit codes, no traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.rules import app
from gateway.core.errors import ConfigurationError
from gateway.rules.templates import files_of
from tests.gateway.rules.test_tables import FIRST

from gateway.rules.tables.grids import write_csv  # isort: skip


def run(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in files_of("home-oxygen").items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_check_shows_every_problem_with_its_place(folder):
    assert json.loads(run("check", folder, "--json"))["ok"] is True
    text = (folder / "policy.rule").read_text()
    (folder / "policy.rule").write_text(text.replace('observation "saturation"', 'observation "satuation"'))
    document = json.loads(run("check", folder, "--json", code=1))
    assert "no value set 'satuation'" in document["issues"][0]["text"]
    assert document["issues"][0]["location"] == "rule O2-1.condition"
    (folder / "policy.rule").write_text(text.replace("any diagnosis", "any diagnossis"))
    document = json.loads(run("check", folder, "--json", code=1))
    assert document["issues"][0]["location"].startswith("policy.rule line 16 column 11")


def test_test_reports_failures_coverage_and_survivors(folder):
    report = json.loads(run("test", folder, "--mutate", "--json"))
    assert (report["ok"], report["coverage"], report["failed"]) == (True, 1.0, [])
    assert report["mutationScore"] >= 0.9
    scenarios = (folder / "scenarios.yaml").read_text()
    (folder / "scenarios.yaml").write_text(scenarios.replace("action: approve", "action: deny", 1))
    assert "FAILED" in run("test", folder, code=1)


def test_explain_says_why_and_why_not(folder):
    facts = {
        "request.receivedAt": "2026-03-02T10:00:00Z",
        "services": [{"sequence": 1, "code": "E1390"}],
        "diagnoses": [],
        "observations": [{"code": "59408-5", "value": 95, "unit": "%", "date": "2026-02-20"}],
    }
    (folder / "facts.json").write_text(json.dumps(facts))
    text = run("explain", folder, "--facts", folder / "facts.json")
    assert "needed: What is the arterial PO2" in text
    document = json.loads(run("explain", folder, "--facts", folder / "facts.json", "--json"))
    assert document["action"] == "request_info"
    status = {each["rule"]: each["status"] for each in document["rules"]}
    assert status == {"O2-1": "unknown", "O2-2": "unknown", "O2-3": "unknown"}


def test_diff_shadow_and_publish(folder, tmp_path):
    assert "0 changes" in run("diff", folder, "home-oxygen")
    (folder / "policy.rule").write_text((folder / "policy.rule").read_text().replace("at most 88 %", "at most 85 %"))
    assert "[-88-]{+85+}" in run("diff", "home-oxygen", folder)
    case = {
        "request.receivedAt": "2026-03-02T10:00:00Z",
        "services": [{"sequence": 1, "code": "E1390"}],
        "observations": [{"code": "59408-5", "value": 87, "unit": "%", "date": "2026-02-20"}],
    }
    cases = tmp_path / "cases"
    cases.mkdir()
    (cases / "one.json").write_text(json.dumps(case))
    found = json.loads(run("shadow", "home-oxygen", folder, "--cases", cases, "--json"))
    assert [(each["before"], each["after"]) for each in found["differences"]] == [("approve", "request_info")]
    out = tmp_path / "releases"
    with pytest.raises(ConfigurationError, match="not released"):
        CliRunner().invoke(
            app, ["publish", str(folder), "--author", "a", "--approver", "b", "--out", str(out)], catch_exceptions=False
        )
    with pytest.raises(ConfigurationError, match="author cannot approve"):
        CliRunner().invoke(
            app, ["publish", "imaging", "--author", "a", "--approver", "a", "--out", str(out)], catch_exceptions=False
        )
    run("publish", "imaging", "--author", "ann", "--approver", "bob", "--out", out)
    assert (out / "imaging" / "1.json").exists()
    run("publish", "imaging", "--author", "ann", "--approver", "bob", "--out", out)


def test_tables_and_dmn(tmp_path):
    (tmp_path / "t.csv").write_bytes(write_csv(FIRST))
    for name in ("t.xlsx", "t.yaml"):
        run("table", tmp_path / "t.csv", "--to", tmp_path / name)
        run("table", tmp_path / name, "--to", tmp_path / "again.csv")
        assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "t.csv").read_bytes()
    report = json.loads(run("table", tmp_path / "t.csv", "--json"))
    assert report["gaps"] == []
    assert report["hit"] == "F"
    run("table", "gateway/rules/templates/dme/walkers.table.csv", "--to", tmp_path / "w.dmn", "--ruleset", "dme")
    given = json.dumps({"service": "E0148", "mobility limitation": True, "weight": 140})
    for words in (["dmn", "evaluate"], ["dmn"]):
        found = json.loads(run(*words, tmp_path / "w.dmn", "--decision", "WALK", "--input", given))
        assert found["action"] == "approve"
    (tmp_path / "in.json").write_text(given)
    assert "approve" in run("dmn", tmp_path / "w.dmn", "--input", tmp_path / "in.json", "--decision", "WALK", "--json")
    assert run("dmn", "list", tmp_path / "w.dmn").strip() == "WALK"


MODEL = """<definitions xmlns="https://www.omg.org/spec/DMN/20230324/MODEL/" name="m" namespace="n">
<inputData id="a" name="Größe in cm"><variable name="Größe in cm" typeRef="number"/></inputData>
<inputData id="b" name="Tag"><variable name="Tag" typeRef="date"/></inputData>
<decision id="c" name="Wie groß?"><informationRequirement><requiredInput href="#a"/></informationRequirement>
<literalExpression><text>Größe in cm * 1.5</text></literalExpression></decision>
<decision id="d" name="Später"><informationRequirement><requiredInput href="#b"/></informationRequirement>
<literalExpression><text>[Tag + duration("P1M"), date("2026-03-01") - Tag]</text></literalExpression></decision>
<decision id="e" name="Genau"><literalExpression><text>[1/3, 12345678901234567890.123, 2.5 * 2, 1/0]</text>
</literalExpression></decision></definitions>"""


@pytest.mark.parametrize(
    ("decision", "given", "expected"),
    [
        ("Wie groß?", '{"Größe in cm": 180}', "270"),
        ("Wie groß?", '{"Größe in cm": 1234567890123456789.5}', "1851851835185185184.25"),
        ("Wie groß?", '{"Größe in cm": "groß"}', "null"),
        ("Wie groß?", '{"Größe in cm": null, "other": 1}', "null"),
        ("Später", '{"Tag": "2026-01-31"}', '["2026-02-28","P29D"]'),
        ("Später", '{"Tag": "31.01.2026"}', "[null,null]"),
        ("Genau", "{}", "[0.3333333333333333333333333333333333,12345678901234567890.123,5,null]"),
    ],
)
def test_a_decision_is_json_with_its_digits(tmp_path, decision, given, expected):
    (tmp_path / "m.dmn").write_text(MODEL, "utf-8")
    assert run("dmn", tmp_path / "m.dmn", "--decision", decision, "--input", given).strip() == expected
    (tmp_path / "in.json").write_bytes(b"\xef\xbb\xbf" + given.encode())
    assert run("dmn", tmp_path / "m.dmn", "--decision", decision, "--input", tmp_path / "in.json").strip() == expected


@pytest.mark.parametrize("given", ['{"Tag": NaN}', "{bad", "[1]", "\xff", '{"Tag": ' + "[" * 100_000, ""])
def test_what_is_no_json_object_is_said(tmp_path, given):
    (tmp_path / "m.dmn").write_text(MODEL, "utf-8")
    file = tmp_path / "in.json"
    file.write_bytes(given.encode("latin-1"))
    for words in (
        ("dmn", str(tmp_path / "m.dmn"), "--decision", "Genau", "--input", str(file)),
        ("explain", "home-oxygen", "--facts", str(file)),
    ):
        with pytest.raises(ConfigurationError, match="JSON"):
            CliRunner().invoke(app, list(words), catch_exceptions=False)
    with pytest.raises(ConfigurationError, match=r"not XML \(at .*in.json\)"):
        CliRunner().invoke(app, ["dmn", "list", str(file)], catch_exceptions=False)


def test_dmn_inputs_come_from_standard_input(tmp_path):
    (tmp_path / "m.dmn").write_text(MODEL, "utf-8")
    words = ["dmn", str(tmp_path / "m.dmn"), "--decision", "Genau", "--input", "-"]
    given = '{"Größe in cm": 1, "Tag": "2026-03-02"}'
    piped = CliRunner().invoke(app, words, input=given.encode(), catch_exceptions=False)
    assert piped.exit_code == 0
    assert piped.stdout == run(*words[:-1], given)


def test_facts_that_nobody_knows_are_said(tmp_path):
    (tmp_path / "facts.json").write_text('{"coverage.paier": "P", "coverage.payer": "P", "services": []}')
    told = CliRunner().invoke(app, ["explain", "home-oxygen", "--facts", str(tmp_path / "facts.json")])
    assert told.exit_code == 0
    assert told.stderr.startswith("unknown fact coverage.paier; near: coverage.payer")
    assert "unknown fact" not in told.stdout
    assert "services" not in told.stderr
