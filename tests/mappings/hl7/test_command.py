"""`gateway hl7 to-fhir` as a user runs it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import typer
from typer.testing import CliRunner

from adapters.hl7.wire import parse
from adapters.hl7.wire.mllp import frame
from gateway.cli import hl7_fhir
from tests.mappings.hl7.corpus import CASES, lines

APP = typer.Typer()
hl7_fhir.join(APP)
APP.callback()(lambda: None)


def test_one_bundle_on_each_line_and_the_ledger_beside(tmp_path: Path) -> None:
    messages = [(CASES / name / "message.hl7").read_bytes() for name in ("adt_a01_admission", "rqa_i08_request")]
    both, ledger = tmp_path / "both.hl7", tmp_path / "ledger.csv"
    both.write_bytes(b"\n".join(messages))
    result = CliRunner().invoke(APP, ["to-fhir", str(both), "--ledger", str(ledger)])
    assert result.exit_code == 0, result.output
    bundles = [json.loads(line) for line in result.stdout.splitlines()]
    assert [bundle["entry"][0]["resource"]["eventCoding"]["code"] for bundle in bundles] == ["A01", "I08"]
    rows = list(csv.DictReader(ledger.open(encoding="utf-8")))
    leaves = [len(list(parse(message).leaves())) for message in messages]
    assert [sum(row["message"] == str(number) for row in rows) for number in (1, 2)] == leaves
    assert {row["fate"] for row in rows} <= {"mapped", "carried", "ignored", "unknown"}


def test_a_message_that_cannot_be_mapped_is_told_and_the_others_are_written(tmp_path: Path) -> None:
    good = (CASES / "adt_a03_discharge" / "message.hl7").read_bytes()
    file = tmp_path / "mixed.hl7"
    file.write_bytes(lines(r"MSH|^~\&|A|B|C|D|20260301||QBP^Q11|1|P|2.5.1") + good)
    result = CliRunner().invoke(APP, ["to-fhir", str(file)])
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1
    assert "unmappable" in result.stderr


def test_standard_input_and_partner_files(tmp_path: Path) -> None:
    partner = tmp_path / "partner.yaml"
    partner.write_text("systems: {CLINIC: 'urn:oid:1.2.9'}\n", "utf-8")
    message = lines(r"MSH|^~\&|A|B|C|D|20260301||ADT^A08|1|P|2.5.1" + "\nPID|1||7^^^CLINIC^MR\n")
    result = CliRunner().invoke(APP, ["to-fhir", "-", "--partner", str(partner), "--pretty"], input=message)
    assert result.exit_code == 0, result.output
    assert '"system": "urn:oid:1.2.9"' in result.stdout


def test_frames_as_captured_from_a_wire(tmp_path: Path) -> None:
    message = (CASES / "adt_a03_discharge" / "message.hl7").read_bytes().replace(b"\n", b"\r")
    file = tmp_path / "wire.mllp"
    file.write_bytes(frame(message) + frame(message))
    result = CliRunner().invoke(APP, ["to-fhir", str(file)])
    assert result.exit_code == 0, result.output
    bare = CliRunner().invoke(APP, ["to-fhir", "-"], input=message)
    assert result.stdout == bare.stdout * 2


def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path) -> None:
    message = (CASES / "adt_a03_discharge" / "message.hl7").read_bytes().replace(b"\n", b"\r")
    file = tmp_path / "many.hl7"
    file.write_bytes(message * 50)
    given = [sys.executable, "-m", "gateway", "hl7", "to-fhir", str(file)]
    with subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_ledger_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = CASES / "adt_a03_discharge" / "message.hl7"
    result = CliRunner().invoke(APP, ["to-fhir", str(file), "--ledger", str(tmp_path / "none" / "l.csv")])
    assert "cannot write" in str(result.exception)
    assert result.stdout == ""


def test_wrong_usage_is_two() -> None:
    assert CliRunner().invoke(APP, ["to-fhir", "no-such-file.hl7"]).exit_code == 2
