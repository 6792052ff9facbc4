"""`gateway hl7`: what a person at a terminal sees, and what a pipe gets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.hl7.wire import parse
from adapters.hl7.wire.mllp import frame
from gateway.cli.hl7 import app
from gateway.core.errors import MalformedMessage

GOOD = (
    b"MSH|^~\\&|EHR|HOSP|GW|PAYER|20260301||ADT^A01^ADT_A01|C1|P|2.5.1|||AL|AL\r"
    b"PID|1||M1^^^HOSP&1.2&ISO^MR~W1||DOE[x]^JANE\r"
)
OLD = GOOD.replace(b"2.5.1", b"3.0").replace(b"C1", b"C2")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "good.hl7").write_bytes(GOOD)
    (tmp_path / "old.hl7").write_bytes(OLD)
    (tmp_path / "both.hl7").write_bytes(b"BHS|^~\\&|EHR\r" + GOOD + OLD + b"BTS|3\r")
    (tmp_path / "frames.mllp").write_bytes(frame(GOOD) + frame(OLD))
    (tmp_path / "broken.hl7").write_bytes(b"hello")
    return tmp_path


def run(*arguments: str, stdin: bytes | None = None) -> Any:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def test_validate_tells_good_from_refused(files: Path) -> None:
    good = run("validate", str(files / "good.hl7"))
    assert (good.exit_code, good.stdout) == (0, f"{files}/good.hl7: ADT_A01 C1: good\n")
    bad = run("validate", str(files / "old.hl7"))
    assert bad.exit_code == 1
    assert "MSH-12: this version is not served here [unsupported]" in bad.stdout


def test_validate_as_json_over_batches_and_frames(files: Path) -> None:
    result = run("validate", "--json", str(files / "both.hl7"), str(files / "frames.mllp"), str(files / "broken.hl7"))
    assert result.exit_code == 1
    rows = json.loads(result.stdout)
    assert [(row["controlId"], row["refused"]) for row in rows] == [
        (None, False),
        ("C1", False),
        ("C2", True),
        ("C1", False),
        ("C2", True),
        (None, True),
    ]
    assert rows[0]["problems"][0]["location"] == "BTS-1"


def test_explain_names_fields(files: Path) -> None:
    result = run("explain", str(files / "good.hl7"))
    assert result.exit_code == 0
    assert "PID patient" in result.stdout
    assert "PID-3 identifiers M1 ·  ·  · HOSP/1.2/ISO · MR" in result.stdout
    assert "PID-3[2] identifiers W1" in result.stdout
    assert "DOE[x] · JANE" in result.stdout


def test_explain_as_json(files: Path) -> None:
    (message,) = json.loads(run("explain", "--json", str(files / "good.hl7")).stdout)
    assert message["controlId"] == "C1"
    leaf = next(leaf for leaf in message["leaves"] if leaf["path"] == "PID[1]-3[1].4.2")
    assert (leaf["name"], leaf["value"], leaf["fate"]) == ("identifiers", "1.2", "mapped")
    (bare,) = json.loads(run("explain", "--json", "--no-ledger", str(files / "good.hl7")).stdout)
    assert "fate" not in bare["leaves"][0]


def test_ack_writes_the_bytes_that_would_be_sent(files: Path) -> None:
    result = run("ack", str(files / "good.hl7"))
    assert result.exit_code == 0
    first, second = (parse(b"MSH|" + part) for part in result.stdout_bytes.split(b"MSH|")[1:])
    assert (first.get("MSA-1"), first.get("MSA-2")) == ("CA", "C1")
    assert second.get("MSA-1") == "AA"
    framed = run("ack", str(files / "good.hl7"), "--framed").stdout_bytes
    assert (framed.count(b"\x0b"), framed.count(b"\x1c\r")) == (2, 2)


def test_a_negative_ack_is_written_too_and_shows_in_the_exit_code(files: Path) -> None:
    result = run("ack", "-", stdin=OLD)
    assert result.exit_code == 1
    assert b"\rMSA|CR|C2" in result.stdout_bytes
    assert b"MSA|AR|" in run("ack", "-", stdin=b"hello").stdout_bytes


def test_a_missing_file_is_wrong_usage_and_a_broken_one_an_error(files: Path) -> None:
    assert run("explain", str(files / "none")).exit_code == 2
    with pytest.raises(MalformedMessage):
        CliRunner().invoke(app, ["explain", str(files / "broken.hl7")], catch_exceptions=False)
    assert run("send", str(files / "good.hl7"), "--to", "nowhere").exit_code == 2


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """`gateway hl7 listen` as a process of its own."""
    folder = tmp_path / "received"
    program = "from gateway.cli.hl7 import app; app()"
    command = [sys.executable, "-c", program, "listen", "--port", "0", "--save", str(folder), "--json"]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=root
    ) as process:
        assert process.stderr is not None
        match = re.search(rb"listening on (\S+)", process.stderr.readline())
        assert match is not None
        yield match.group(1).decode(), folder
        process.terminate()
        assert process.wait(20) == 0  # a request to stop is not a failure


def test_send_and_listen(listener: tuple[str, Path], files: Path) -> None:
    address, folder = listener
    sent = run("send", str(files / "good.hl7"), "--to", address)
    assert (sent.exit_code, sent.stdout) == (0, "C1: AA\n")
    assert [file.read_bytes() for file in folder.iterdir()] == [GOOD]
    mixed = run("send", str(files / "frames.mllp"), "--to", address, "--json")
    assert mixed.exit_code == 1
    assert [row["problem"] for row in json.loads(mixed.stdout)] == ["", "answered CR"]
    assert len(list(folder.iterdir())) == 1  # the same message again has no second effect


def test_send_to_nobody(files: Path) -> None:
    result = run("send", str(files / "good.hl7"), "--to", "127.0.0.1:1")
    assert result.exit_code == 1
    assert "no connection" in result.stdout
