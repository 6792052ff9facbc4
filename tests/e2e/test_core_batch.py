"""A payer asked by CAQH CORE batch: another gateway of ours, whose CORE edge keeps its results to be fetched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from gateway.security.tokens import Tokens
from tests.e2e.asked import Asking
from tests.e2e.pas import request, response
from tests.e2e.payer import US
from tests.e2e.running import Gateway, running, wait_for
from tests.e2e.test_pended import tasks_of
from tests.e2e.test_protocols import command, rows

pytestmark = pytest.mark.timeout(300)
PLAN = "batch-plan"


@pytest.fixture(scope="module")
def asker(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """A gateway that asks the other one by CORE batch."""
    folder = tmp_path_factory.mktemp("batch")
    profile = {
        "name": PLAN,
        "x12": {"name": PLAN, "sender": "PAYER1", "receiver": US, "usage": "T"},
        "core": {
            "name": PLAN, "url": f"{gateway.http}/core/batch", "sender_id": US, "receiver_id": "PAYER1", "timeout": 30,
        },
        "ask": {
            "payers": ["PAYER1"], "by": "core-batch", "trace_assigner": "9012345678",
            "results": {"first_seconds": 0.5, "longest_seconds": 2},
        },
    }  # fmt: skip
    (folder / "partners").mkdir()
    (folder / "partners" / f"{PLAN}.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    with running(folder / "state", {"GATEWAY_PARTNERS": str(folder / "partners")}) as started:
        yield Asking(started, {}, {})


def batches(asker: Asking, trace: str) -> list[tuple[str, bool]]:
    """(state, acknowledged) of the batches of a case."""
    token = Tokens.load(f"file:{asker.gateway.state / 'secrets' / 'token.key'}")("demo", "trace", (trace,))
    statement = (
        "SELECT b.state, b.acknowledged "
        "FROM workflow.core_batches b JOIN workflow.deliveries d USING (idempotency_key) "
        "WHERE d.case_id IN (SELECT case_id FROM workflow.case_keys WHERE kind = 'trace' AND token = $1)"
    )
    return [(str(row["state"]), bool(row["acknowledged"])) for row in rows(asker.gateway, statement, token)]


def test_results_of_a_batch_are_fetched(asker: Asking) -> None:
    bundle = request("urn", "X1001")
    trace = str(response(bundle)["identifier"][0]["value"])
    asker.post(bundle)
    wait_for("the payer's decision", 60, lambda: asker.decided(trace)[-1:] == ["A1"])
    wait_for("the batch is done", 20, lambda: batches(asker, trace)[0][0] == "done")
    answered = asker.events(trace, "MessageReceived")
    assert [row["data"]["source"] for row in answered] == [f"core/{PLAN}"]


def test_a_batch_that_is_pended_is_asked_about_until_it_is_decided(asker: Asking, gateway: Gateway) -> None:
    bundle = request("urn", "X1005")
    trace = str(response(bundle)["identifier"][0]["value"])
    asker.post(bundle)
    wait_for("a task for the payer's clinician", 60, lambda: tasks_of(gateway, trace))
    # Once told by ourselves, as nothing had come in time, and once by the payer, with its reference.
    wait_for("its pended answer is read", 60, lambda: asker.decided(trace) == ["A4", "A4"])
    assert batches(asker, trace)[0][0] == "open"
    (task,) = tasks_of(gateway, trace)
    done = command(gateway, "tasks", "decide", task, "--action", "A1", "--reviewer", "dr-7")
    assert done.returncode == 0, done.stderr
    wait_for("the payer's decision", 60, lambda: asker.decided(trace)[-1:] == ["A1"])
    wait_for("the batch is done", 20, lambda: batches(asker, trace)[0][0] == "done")
    assert asker.decided(trace) == ["A4", "A4", "A1"]
    assert len(asker.events(trace, "PayerAsked")) == 1
