"""`gateway x12 to-fhir` as a user runs it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.x12 import app
from tests.mappings.x12.bench import CASES

FOLDER = CASES[0].parent


def test_bundles_one_a_line_with_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "fields.csv"
    claims = FOLDER.parent / "other" / "837p" / "message.x12"
    result = CliRunner().invoke(app, ["to-fhir", str(claims), "--ledger", str(ledger)])
    assert result.exit_code == 0
    bundles = [json.loads(line) for line in result.stdout.splitlines()]
    assert [bundle["entry"][0]["resource"]["resourceType"] for bundle in bundles] == ["Claim", "Claim"]
    with ledger.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["message"] for row in rows} == {"1", "2"}
    assert "unknown" not in {row["fate"] for row in rows}


def test_facts() -> None:
    result = CliRunner().invoke(app, ["to-fhir", str(FOLDER / "event-only" / "request.x12"), "--facts"])
    found = json.loads(result.stdout)
    assert found["type"] == "authorization.request"
    assert found["facts"]["request.traceNumber"] == "TR-300"


def test_what_is_refused_exits_with_one(tmp_path: Path) -> None:
    broken = tmp_path / "broken.x12"
    broken.write_text((FOLDER / "event-only" / "request.x12").read_text().replace("UM*SC*I", "UM*QQ*I"))
    result = CliRunner().invoke(app, ["to-fhir", str(broken)])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "UM" in result.stderr


def test_missing_file_is_wrong_usage() -> None:
    result = CliRunner().invoke(app, ["to-fhir", "/nowhere/at/all"])
    assert result.exit_code == 2


@pytest.mark.parametrize("verb", ["to-fhir", "to-json", "explain"])
@pytest.mark.parametrize("content", ["", "no X12 at all"])
def test_a_file_without_an_interchange_is_a_problem_shown(tmp_path: Path, verb: str, content: str) -> None:
    file = tmp_path / "file.x12"
    file.write_text(content)
    result = CliRunner().invoke(app, [verb, str(file)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "interchange" in result.stderr or "no transaction set" in result.stderr


def test_what_cannot_be_read_as_a_whole_is_not_explained_in_silence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.x12"
    broken.write_text((FOLDER / "event-only" / "request.x12").read_text().replace("005010X217", "009999X999"))
    result = CliRunner().invoke(app, ["explain", str(broken)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "gateway x12 validate" in result.stderr
    whole = CliRunner().invoke(app, ["explain", str(FOLDER / "event-only" / "request.x12")])
    assert (whole.exit_code, whole.stderr) == (0, "")
