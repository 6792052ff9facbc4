"""A running gateway's decisions are made again from what it stored, and a candidate is tried on them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from gateway import samples
from gateway.security.tokens import Tokens
from tests.e2e.running import ROOT, Gateway
from tests.e2e.test_protocols import rows, submit
from tests.e2e.test_published_policy import turned

CODES = ("X1001", "X1003", "X1005", "X1006", "X1007")


def case_of(gateway: Gateway, trace: str) -> str:
    token = Tokens.load(f"file:{gateway.state / 'secrets' / 'token.key'}")("demo", "trace", (trace,))
    (row,) = rows(gateway, "SELECT case_id FROM workflow.case_keys WHERE kind = 'trace' AND token = $1", token)
    return str(row["case_id"])


def rules(gateway: Gateway, *words: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "gateway", "rules", *words, "--state", str(gateway.state), "--json"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stdout


def test_recorded_decisions_replay_and_carry_a_shadow_run(gateway: Gateway, tmp_path: Path) -> None:
    cases = {}
    for code in CODES:
        sample = samples.pas_submit(code, datetime.now(UTC))
        assert submit(gateway, sample.data).status_code == 200
        cases[code] = case_of(gateway, sample.trace)
    for case in cases.values():
        (told,) = json.loads(rules(gateway, "replay", case))
        assert told["identical"] is True
        assert told["ruleset"] == "demo v1"
    found = json.loads(rules(gateway, "shadow", "demo", turned(tmp_path / "two"), "--recorded"))
    assert found["cases"] >= len(CODES)
    changed = {each["case"].partition(" ")[0]: (each["before"], each["after"]) for each in found["differences"]}
    assert changed[cases["X1006"]] == ("not_required", "contact")
    assert changed[cases["X1007"]] == ("contact", "not_required")
    assert not {cases[code] for code in ("X1001", "X1003", "X1005")} & changed.keys()
    assert rules(gateway, "replay", "01980d6e-0000-7000-8000-000000000000", code=1) == ""
    assert json.loads(rules(gateway, "shadow", "demo", "demo", "--recorded", "--limit", "3"))["cases"] == 3
