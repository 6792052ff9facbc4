"""Documents that come while a payer decides reach it on the rail it was asked on, once, under its own numbers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mappings.information_request import control_number
from tests.e2e.asked import FILES, HASTY, PATIENT, Asking, asked_of, scripted, wait_for
from tests.e2e.pas import Element, response
from tests.e2e.payer import (
    Delivered,
    acknowledged,
    control_number_of,
    decided,
    documents,
    refused_999,
    refused_ta1,
    submission,
    wanting,
)
from tests.e2e.test_pended import attachment, tasks_of
from tests.e2e.test_protocols import command
from tests.mappings.fhir.test_response import actions_of

LOINC = "11504-8"


@pytest.fixture(autouse=True)
def accepting(asked: Asking) -> Iterator[None]:
    """Payers take documents, unless a test says otherwise."""
    yield
    for payer in asked.payers.values():
        payer.on_documents = lambda one: acknowledged(one.data)


def pended(asked: Asking, plan: str, number: str) -> tuple[str, str]:
    """A request that the payer pends, asking for a report: (its trace, our number for the report)."""
    payer = asked.payers[plan]
    payer.script = lambda one: wanting(one, LOINC, number)
    bundle, trace = asked_of(plan, "X1001")
    answer, _ = asked.post(bundle)
    assert actions_of(response(answer)["item"]) == ["A4"]
    wait_for("the payer's wish", 30, lambda: asked.events(trace, "DecisionMade"))
    rows = [row["resource"] for row in answer["entry"]]
    (wanted,) = [row for row in rows if row["resourceType"] == "CommunicationRequest"]
    assert wanted["payload"][0]["contentString"] == LOINC
    return trace, str(wanted["identifier"][0]["value"])


def submit(asked: Asking, parameters: Element) -> None:
    path = f"{asked.gateway.http}/fhir/pas/2.2.1/$submit-attachment"
    sent = httpx.post(path, json=parameters, headers=asked.gateway.headers, timeout=30)
    assert sent.status_code == 200, sent.text


def of_number(asked: Asking, plan: str, number: str) -> list[Delivered]:
    return [one for one in asked.payers[plan].delivered if number in {row[1] for row in one.documents}]


def test_what_the_payer_asked_for_reaches_it_and_the_decision_comes_as_before(asked: Asking) -> None:
    trace, ours = pended(asked, PATIENT, "ACNDOC1")
    submit(asked, attachment(ours, "MEMBER77", final=True))
    wait_for("the 275", 30, lambda: asked.events(trace, "DocumentsTaken"))
    (only,) = of_number(asked, PATIENT, "ACNDOC1")
    assert only.payload_type == "X12_275_Request_005010X210"
    ((kind, _, resource),) = only.documents
    assert (kind, resource["content"][0]["attachment"]["data"]) == ("2", "cmVwb3J0")
    (told,) = asked.events(trace, "DocumentsForwarded")
    assert told["data"]["partner"] == PATIENT
    assert asked.decided(trace) == ["A4"]
    (request,) = asked.payers[PATIENT].of(trace)
    asked.leave(PATIENT, "after-documents.x12", decided(request, "A1", number="AUTHDOC"))
    wait_for("the case is closed", 60, lambda: asked.events(trace)[-1]["type"] == "CaseClosed")
    assert asked.decided(trace) == ["A4", "A1"]
    assert len(of_number(asked, PATIENT, "ACNDOC1")) == 1


def test_a_payer_in_trouble_gets_the_same_again_and_a_refusal_is_a_task_beside_the_case(asked: Asking) -> None:
    trace, ours = pended(asked, HASTY, "ACNDOC2")
    payer = asked.payers[HASTY]
    payer.on_documents = scripted(
        lambda one: 503, lambda one: refused_999(one.data), lambda one: acknowledged(one.data)
    )
    submit(asked, attachment(ours, "MEMBER77", final=True))
    wait_for("a task", 60, lambda: tasks_of(asked.gateway, trace))
    (task,) = tasks_of(asked.gateway, trace)
    assert ":forward:" in task
    tries = of_number(asked, HASTY, "ACNDOC2")
    assert len(tries) == 2
    assert len({(one.data, one.payload_id) for one in tries}) == 1
    (said,) = asked.events(trace, "DocumentsRefused")
    assert "5" in said["data"]["codes"]
    assert asked.decided(trace) == ["A4"]
    assert asked.events(trace, "PayerAnswered") == []
    done = command(asked.gateway, "tasks", "again", task, "--reviewer", "ops-2")
    assert done.returncode == 0, done.stderr
    wait_for("they are taken", 120, lambda: asked.events(trace, "DocumentsTaken"))
    *_, first, last = of_number(asked, HASTY, "ACNDOC2")
    assert control_number_of(first.data) != control_number_of(last.data)
    assert [row[:2] for row in last.documents] == [("2", "ACNDOC2")]
    assert tasks_of(asked.gateway, trace) == []


def test_a_worker_that_dies_before_it_hears_the_answer_sends_the_same_bytes(asked: Asking) -> None:
    trace, ours = pended(asked, PATIENT, "ACNDOC3")
    payer = asked.payers[PATIENT]
    killed: list[int] = []

    def dies(one: Delivered) -> Any:
        if not killed:
            killed.append(asked.gateway.pids()["worker"])
            os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.5)
        return acknowledged(one.data)

    payer.on_documents = dies
    submit(asked, attachment(ours, "MEMBER77", final=True))
    # A worker that gives no sign of life for twenty seconds is taken for dead (workflows.sending.ALIVE).
    wait_for("they are taken", 120, lambda: asked.events(trace, "DocumentsTaken"))
    tries = of_number(asked, PATIENT, "ACNDOC3")
    assert len(tries) >= 2
    assert len({(one.data, one.payload_id) for one in tries}) == 1
    assert len(asked.events(trace, "DocumentsForwarded")) == 1


def test_documents_for_a_payer_asked_by_files_are_left_in_its_drop_and_may_be_refused_by_a_file(
    asked: Asking,
) -> None:
    bundle, trace = asked_of(FILES, "X1001")
    answer, _ = asked.post(bundle)
    assert actions_of(response(answer)["item"]) == ["A4"]
    (request,) = [one for one in asked.left(FILES) if trace.encode() in one]
    asked.leave(FILES, "wanting.x12", wanting(submission(request), LOINC, "ACNDOC4"))
    wait_for("the wish is read", 60, lambda: len(asked.decided(trace)) == 2)
    wanted = {"reportType": "OZ", "controlNumber": "ACNDOC4", "loinc": LOINC}
    submit(asked, attachment(control_number(asked.case_id(trace), wanted), "MEMBER77", final=True))
    wait_for("the 275", 60, lambda: asked.events(trace, "DocumentsTaken"))
    (data,) = [one for one in asked.left(FILES) if b"ACNDOC4" in one]
    assert [row[:2] for row in documents(data)] == [("2", "ACNDOC4")]
    asked.leave(FILES, "refused-documents.x12", refused_ta1(data))
    wait_for("a task", 60, lambda: tasks_of(asked.gateway, trace))
    (said,) = asked.events(trace, "DocumentsRefused")
    assert said["data"]["codes"] == ["022"]
    asked.leave(FILES, "decided-beside.x12", decided(submission(request), "A1"))
    wait_for("the decision", 60, lambda: asked.decided(trace) == ["A4", "A4", "A1"])
    wait_for("no task is left", 30, lambda: tasks_of(asked.gateway, trace) == [])
