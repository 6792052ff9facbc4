"""`gateway x12` on files: what it writes, where, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adapters.x12.wire import InterchangeReport, read
from gateway.cli.x12 import app
from tests.adapters.x12.samples import claims

KEYS = {"segment_position", "loop", "segment", "element", "code", "message"}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.x12"
    path.write_text(claims(2))
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.x12"
    path.write_text(claims(1).replace("*60*", "**"))
    return path


def test_validate_tells_outcomes_and_errors_as_json(bad: Path) -> None:
    result = run("validate", "--json", bad)
    assert result.exit_code == 1
    (interchange,) = json.loads(result.stdout)["interchanges"]
    (group,) = interchange["groups"]
    (one,) = group["transactions"]
    assert [interchange["outcome"], group["outcome"], one["outcome"]] == ["rejected"] * 3
    (error,) = one["errors"]
    assert error.keys() >= KEYS
    assert {key: error[key] for key in KEYS} == {
        "segment_position": 18, "loop": "2300", "segment": "CLM", "element": 2, "code": "1",
        "message": "CLM02: required element is missing; expected 1 to 18 characters",
    }  # fmt: skip


def test_validate_of_the_control_structure_alone(bad: Path) -> None:
    assert run("validate", "--control", bad).exit_code == 0
    bad.write_text(bad.read_text().replace("IEA*1*", "IEA*2*"))
    assert run("validate", "--control", bad).exit_code == 1


def test_validate_of_several_files_gives_a_list(good: Path, bad: Path) -> None:
    result = run("validate", "--json", good, bad)
    assert [one["interchanges"][0]["outcome"] for one in json.loads(result.stdout)] == ["accepted", "rejected"]


def test_validate_for_people_names_segment_loop_and_expectation(good: Path, bad: Path) -> None:
    assert run("validate", good).exit_code == 0
    text = " ".join(run("validate", bad).stdout.split())
    assert "2300" in text
    assert "CLM02: required element" in text


def test_ack_writes_one_segment_a_line_and_only_what_is_due(good: Path, bad: Path, tmp_path: Path) -> None:
    result = run("ack", good, bad)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert all(line.endswith("~") for line in lines)
    assert [line[:4] for line in lines].count("ISA*") == 2
    assert len([event for event in read([result.stdout.encode()]) if isinstance(event, InterchangeReport)]) == 2
    own = tmp_path / "own.x12"
    own.write_text(result.stdout)
    assert run("ack", own).stdout == ""


def test_ack_tells_of_each_claim_where_asked(good: Path, tmp_path: Path) -> None:
    whole = run("ack", "--claims", good).stdout
    assert (
        whole.splitlines()[: len(run("ack", good).stdout.splitlines())][3:] == run("ack", good).stdout.splitlines()[3:]
    )
    assert [line for line in whole.splitlines() if line.startswith("ST*")] == [
        "ST*999*0001*005010X231A1~",
        "ST*277*0001*005010X214~",
    ]
    bad = tmp_path / "unbalanced.x12"
    bad.write_text(claims(2).replace("C0000002*60*", "C0000002*61*"))
    lines = run("ack", "--claims", bad).stdout.splitlines()
    assert sum(line.startswith("STC*A2:20:PR*") for line in lines) == 1
    assert sum(line.startswith("STC*A7:178*") for line in lines) == 1
    twice = tmp_path / "twice.x12"
    twice.write_text(claims(1) + claims(1))
    answers = run("ack", "--claims", twice).stdout
    assert answers[: len(answers) // 2] == answers[len(answers) // 2 :]


def test_one_number_twice_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "twice.x12"
    path.write_text(claims(1) + claims(1))
    answers = run("ack", path).stdout
    assert answers[: len(answers) // 2] == answers[len(answers) // 2 :]
    path.write_text(claims(1) + claims(2))
    assert "*R*025~" in run("ack", path).stdout
    assert [one["ta1"] for one in json.loads(run("validate", "--json", path).stdout)["interchanges"]] == ["000", "025"]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n", b"ISA*too short~"])
def test_files_that_are_no_x12_are_said_to_be_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    result = run("validate", "--json", path)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["quarantined"]
    answer = run("ack", path)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "at byte 0" in answer.stderr


def test_what_cannot_be_answered_is_said_to_be_so(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "nobody.x12"
    path.write_text(good.read_text().replace("CLINIC01       ", " " * 15))
    answer = run("ack", path)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "interchange at byte 0 cannot be answered" in answer.stderr


def test_nothing_due_is_no_problem(good: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.x12"
    own.write_text(run("ack", good).stdout)
    answer = run("ack", own)
    assert (answer.exit_code, answer.stdout, answer.stderr) == (0, "", "")


def test_explain_shows_places_and_no_content(good: Path) -> None:
    text = run("explain", good).stdout
    assert "2010BA" in text
    assert "NM1 IL" in text
    assert "ZZTEST1" not in text


def test_to_json_gives_trees_or_units(good: Path) -> None:
    (whole,) = map(json.loads, run("to-json", good).stdout.splitlines())
    assert whole["tree"]["items"][0][:3] == ["ST", "837", "0001"]
    units = [json.loads(line) for line in run("to-json", "--units", good).stdout.splitlines()]
    assert [unit["tree"]["items"][0][1] for unit in units] == ["C0000001", "C0000002"]
    assert units[0]["tree"]["items"][0][5] == ["11", "B", "1"]


def test_a_missing_file_and_wrong_usage(tmp_path: Path, good: Path) -> None:
    missing = run("validate", tmp_path / "none")
    assert missing.exit_code == 1
    assert "cannot read" in str(missing.exception)
    assert run("validate").exit_code == 2
    assert run("validate", "--usage", "X", good).exit_code == 2


def test_usage_refuses_test_data_in_production(good: Path) -> None:
    assert run("validate", "--usage", "T", good).exit_code == 0
    result = run("ack", "--usage", "P", good)
    assert "*R*020~" in result.stdout
