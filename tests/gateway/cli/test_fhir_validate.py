"""`gateway fhir validate`: what a person sees, what a program reads, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.fhir import wire
from gateway.cli.main import build
from tests.mappings.fhir import samples

runner = CliRunner()


def run(*arguments: str, given: bytes | None = None) -> tuple[int, str]:
    result = runner.invoke(build(), ["fhir", "validate", *arguments], input=given)
    return result.exit_code, result.output


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    path = tmp_path / "request.json"
    path.write_bytes(wire.serialize(samples.request()))
    return path


def test_a_sound_file(request_file: Path) -> None:
    code, shown = run(str(request_file))
    assert (code, "sound" in shown) == (0, True)


def test_xml_from_standard_input() -> None:
    assert run("-", given=wire.to_xml(samples.request("urn")))[0] == 0


def test_a_problem_is_shown_with_its_place(tmp_path: Path) -> None:
    bundle = samples.request()
    bundle["entry"][0]["resource"]["status"] = "draft"
    path = tmp_path / "bad.json"
    path.write_bytes(wire.serialize(bundle))
    code, shown = run(str(path))
    assert code == 1
    assert "Bundle.entry[0].resource.status" in shown
    assert run(str(path), "--lenient")[0] == 0
    code, shown = run(str(path), "--json")
    assert code == 1
    assert json.loads(shown)["issue"][0]["expression"] == ["Bundle.entry[0].resource.status"]


def test_what_is_not_fhir_is_said_without_a_traceback() -> None:
    code, shown = run("-", given=b"{")
    assert code == 1
    assert "not JSON" in shown


def test_wrong_usage(tmp_path: Path) -> None:
    assert run(str(tmp_path / "absent.json"))[0] == 2
    assert run("-", "--as", "nonsense")[0] == 2


def test_help_has_examples() -> None:
    assert "gateway fhir validate request.json" in run("--help")[1]


def test_an_inquiry_is_known_by_its_profile(tmp_path: Path) -> None:
    inquiry = samples.inquiry()
    profile = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/profile-claim-inquiry"
    path = tmp_path / "inquiry.json"
    inquiry["entry"][0]["resource"]["meta"] = {"profile": [profile]}
    path.write_bytes(wire.serialize(inquiry))
    assert run(str(path))[0] == 0
    inquiry["entry"][0]["resource"]["meta"] = {"profile": [7]}
    path.write_bytes(wire.serialize(inquiry))
    assert run(str(path))[0] == 1
