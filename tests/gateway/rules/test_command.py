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
