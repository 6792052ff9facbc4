"""One real message of each protocol through real Kafka, Temporal and PostgreSQL; and every message again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from gateway import samples
from gateway.cli.send import core_answer, mllp_exchange
from gateway.infra.postgres import SYSTEM, Database
from tests.adapters.x12.samples import claims
from tests.e2e.running import ROOT, Gateway, wait_for

PAS = "/fhir/pas/2.2.1/Claim/$submit"
DECISIONS = {
    "X1001": "A1", "X1002": "A6", "X1003": "A2", "X1004": "A3", "X1005": "A4", "X1006": "NA", "X1007": "CT",
}  # fmt: skip


def now() -> datetime:
    return datetime.now(UTC)


def submit(gateway: Gateway, data: bytes) -> httpx.Response:
    return httpx.post(gateway.http + PAS, content=data, headers=gateway.headers, timeout=30)


def action(answer: httpx.Response) -> str:
    """The reviewActionCode of the first item."""
    response = answer.json()["entry"][0]["resource"]
    review = next(e for e in response["item"][0]["adjudication"][0]["extension"] if e["url"].endswith("reviewAction"))
    code = next(e for e in review["extension"] if e["url"].endswith("reviewActionCode"))
    return str(code["valueCodeableConcept"]["coding"][0]["code"])


async def query(gateway: Gateway, statement: str, *arguments: object) -> list[dict[str, object]]:
    database = Database(gateway.postgres(), size=1)
    await database.open()
    try:
        async with database.transaction(SYSTEM) as connection:
            return [dict(row) for row in await connection.fetch(statement, *arguments)]
    finally:
        await database.close()


def rows(gateway: Gateway, statement: str, *arguments: object) -> list[dict[str, object]]:
    return asyncio.run(query(gateway, statement, *arguments))


@pytest.mark.parametrize(("code", "expected"), DECISIONS.items())
def test_pas_submit_is_answered_with_the_decision(gateway: Gateway, code: str, expected: str) -> None:
    answer = submit(gateway, samples.pas_submit(code, now()).data)
    assert answer.status_code == 200, answer.text
    assert action(answer) == expected


def test_business_rejection_is_an_error_not_a_denial(gateway: Gateway) -> None:
    response = submit(gateway, samples.pas_submit("X1008", now()).data).json()["entry"][0]["resource"]
    assert response["outcome"] == "error"
    assert response["error"][0]["code"]["coding"][0]["code"] == "33"


def test_resent_submissions_are_one_case_with_one_answer(gateway: Gateway) -> None:
    sample = samples.pas_submit("X1001", now())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: submit(gateway, sample.data), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    number = answers[0].json()["entry"][0]["resource"].get("preAuthRef", "") or sample.trace
    assert number


def test_admission_is_acknowledged_after_it_is_durable_and_journaled(gateway: Gateway) -> None:
    sample = samples.adt_a01(now())
    before = rows(gateway, "SELECT count(*) AS n FROM workflow.message_journal WHERE type = 'clinical.adt'")[0]["n"]
    answers = {asyncio.run(mllp_exchange(gateway.mllp, sample.data)) for _ in range(3)}
    assert len(answers) == 1, "the same message gets the same acknowledgement again"
    assert f"MSA|AA|{sample.trace}" in answers.pop()
    wait_for(
        "the admission in the journal",
        30,
        lambda: (
            rows(gateway, "SELECT count(*) AS n FROM workflow.message_journal WHERE type = 'clinical.adt'")[0]["n"]
            == before + 1
        ),  # type: ignore[operator]
    )


def test_278_from_the_drop_gets_a_999_and_a_278_response(gateway: Gateway) -> None:
    sample = samples.request_278("X1004", now())
    answers = left_in_drop(gateway, sample.data, f"{sample.trace}.x12", 2)
    implementation = next(text for text in answers if "ST*999*" in text)
    response = next(text for text in answers if "ST*278*" in text)
    assert "IK5*A" in implementation
    assert f"TRN*2*{sample.trace}*" in response
    assert "HCR*A3" in response
    again = left_in_drop(gateway, sample.data, f"{sample.trace}-again.x12", 0)
    assert again == [], "the stored acknowledgement has the same name: nothing new appears"


def dropped_claims(count: int) -> tuple[str, str]:
    """(an 837P for the demonstration's clearinghouse, what its claim numbers begin with instead of `C`)."""
    number, prefix = f"{uuid.uuid4().int % 999_999_999 + 1:09d}", "C" + uuid.uuid4().hex[:6].upper()
    text = claims(count).replace("000000042", number).replace("CLM*C", f"CLM*{prefix}")
    for old, new in (("CLINIC01", samples.SENDER), ("PLAN01", samples.RECEIVER)):
        text = text.replace(f"{old:<15}", f"{new:<15}").replace(f"*{old}*", f"*{new}*")
    return text, prefix


def test_837_from_the_drop_gets_a_999_and_a_277ca_and_its_good_claims_are_taken(gateway: Gateway) -> None:
    text, prefix = dropped_claims(3)
    text = text.replace(f"{prefix}0000002*60*", f"{prefix}0000002*61*")
    before = rows(gateway, COUNT_CLAIMS)[0]["n"]
    answers = left_in_drop(gateway, text.encode(), f"{prefix}.x12", 2)
    (implementation,) = (answer for answer in answers if "ST*999*" in answer)
    (of_claims,) = (answer for answer in answers if "ST*277*" in answer)
    assert "IK5*E*5" in implementation
    verdicts = [line.split("*")[1] for line in of_claims.splitlines() if line.startswith("STC*A") and "A1" not in line]
    assert verdicts == ["A2:20:PR", "A7:178", "A2:20:PR"]
    (name,) = (path.name for path in (gateway.drop / "outbound").glob("*_277CA_*") if prefix in path.read_text())
    assert prefix not in name
    wait_for("two claims in the journal", 30, lambda: rows(gateway, COUNT_CLAIMS)[0]["n"] == before + 2)  # type: ignore[operator]
    again = left_in_drop(gateway, text.encode(), f"{prefix}-again.x12", 0)
    assert again == [], "the stored answers have the same names: nothing new appears"
    assert rows(gateway, COUNT_CLAIMS)[0]["n"] == before + 2  # type: ignore[operator]


COUNT_CLAIMS = "SELECT count(*) AS n FROM workflow.message_journal WHERE type = 'claim.submission'"


def left_in_drop(gateway: Gateway, data: bytes, name: str, expected: int) -> list[str]:
    """Leave a file; the new files in the outbound folder once it is archived and `expected` of them are there."""
    outbound, inbound = gateway.drop / "outbound", gateway.drop / "inbound"
    known = {path.name for path in outbound.iterdir()}

    def answers() -> list[Path]:
        """What is there under its last name: a file that is being written has another one."""
        return [path for path in outbound.glob("*.x12") if path.name not in known]

    (inbound / f".{name}").write_bytes(data)
    (inbound / f".{name}").rename(inbound / name)
    wait_for(
        "the file is archived", 60, lambda: any(name in path.name for path in (gateway.drop / "archive").iterdir())
    )
    wait_for("the answers", 60, lambda: len(answers()) >= expected)
    return [path.read_text("latin-1") for path in answers()]


def test_core_inquiry_is_answered_with_a_271_and_again_with_the_same(gateway: Gateway) -> None:
    sample = samples.core_270(now())
    first = asyncio.run(core_answer(gateway.http, sample.data))
    assert first.error_code == "Success"
    assert "ST*271*" in first.payload
    assert "EB*1*" in first.payload
    assert asyncio.run(core_answer(gateway.http, sample.data)) == first


def test_pended_case_waits_on_a_worklist(gateway: Gateway) -> None:
    sample = samples.pas_submit("X1005", now())
    assert action(submit(gateway, sample.data)) == "A4"
    wait_for(
        "a task for a clinician",
        30,
        lambda: rows(gateway, "SELECT 1 FROM workflow.human_tasks WHERE state = 'open' AND role = 'clinician'"),
    )


def command(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments, "--state", str(gateway.state)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_trace_shows_the_way_of_a_message(gateway: Gateway) -> None:
    assert submit(gateway, samples.pas_submit("X1001", now()).data).status_code == 200
    case = rows(
        gateway, "SELECT id FROM workflow.workflow_instances WHERE action = 'A1' ORDER BY created_at DESC LIMIT 1"
    )
    shown = command(gateway, "trace", str(case[0]["id"]), "--json")
    assert shown.returncode == 0, shown.stderr
    assert {"CaseOpened", "DecisionMade", "CaseClosed"} <= {step["what"] for step in json.loads(shown.stdout)}


def test_lag_is_shown_and_none_is_left(gateway: Gateway) -> None:
    def no_lag() -> bool:
        shown = command(gateway, "lag", "--json")
        assert shown.returncode in (0, 1), shown.stderr
        groups = {group["group"]: group for group in json.loads(shown.stdout)}
        return {"gateway.starter", "gateway.journal"} <= set(groups) and all(
            part["lag"] == 0 for name in ("gateway.starter", "gateway.journal") for part in groups[name]["partitions"]
        )

    wait_for("no lag", 60, no_lag)
