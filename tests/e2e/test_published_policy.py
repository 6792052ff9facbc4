"""A policy published into a running gateway decides the next request, and no longer once it is rolled back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

from gateway import samples
from gateway.rules import templates
from tests.e2e.running import ROOT, Gateway

SECONDS = 60.0
"""More than a worker may take to see a publication."""


def action(gateway: Gateway, code: str) -> str:
    """The reviewActionCode of a new request."""
    data = samples.pas_submit(code, datetime.now(UTC)).data
    answer = httpx.post(
        gateway.http + "/fhir/pas/2.2.1/Claim/$submit", content=data, headers=gateway.headers, timeout=30
    )
    item = answer.json()["entry"][0]["resource"]["item"][0]
    review = next(each for each in item["adjudication"][0]["extension"] if each["url"].endswith("reviewAction"))
    found = next(each for each in review["extension"] if each["url"].endswith("reviewActionCode"))
    return str(found["valueCodeableConcept"]["coding"][0]["code"])


def decides(gateway: Gateway, code: str, expected: str) -> None:
    """Wait until new requests for a service are answered so."""
    end, found = time.monotonic() + SECONDS, action(gateway, code)
    while found != expected and time.monotonic() < end:
        time.sleep(1)
        found = action(gateway, code)
    assert found == expected


def rules(gateway: Gateway, *words: str) -> list[dict[str, str]] | dict[str, str]:
    """A verb of `gateway rules` on the running gateway."""
    command = [sys.executable, "-m", "gateway", "rules", *words, "--state", str(gateway.state), "--json"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] | dict[str, str] = json.loads(done.stdout)
    return found


def turned(folder: Path) -> str:
    """The demonstration policy, version 2: X1006 and X1007 have exchanged their answers."""
    folder.mkdir()
    for name, data in templates.files_of("demo").items():
        text = data.decode().replace("X1006", "X····").replace("X1007", "X1006").replace("X····", "X1007")
        (folder / name).write_text(text.replace("version: 1\n", "version: 2\n", 1), encoding="utf-8")
    return str(folder)


def test_a_published_version_decides_until_it_is_rolled_back(gateway: Gateway, tmp_path: Path) -> None:
    people = ("--author", "ann", "--approver", "bob", "--store", "--name", "prior-authorization")
    out = ("--out", str(tmp_path / "releases"))
    assert action(gateway, "X1006") == "NA"
    rules(gateway, "publish", "demo", *people, *out)
    rules(gateway, "publish", turned(tmp_path / "two"), *people, *out, "--supersede")
    try:
        decides(gateway, "X1006", "CT")
    finally:
        states = rules(gateway, "rollback", "prior-authorization", "--by", "bob")
    assert [each["state"] for each in states if isinstance(each, dict)] == ["retired"]
    decides(gateway, "X1006", "NA")
