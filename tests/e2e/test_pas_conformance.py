"""A session an outside suite would hold with the running gateway, by the codes of the demo profile."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.fhir import wire
from tests.conformance import traversal
from tests.e2e.pas import inquire, request, response, submit, update
from tests.e2e.running import Gateway
from tests.e2e.test_protocols import DECISIONS, command
from tests.mappings.fhir.test_response import actions_of, found_paths

Element = dict[str, Any]
MUST_SUPPORT = Path(__file__).parents[1] / "mappings" / "fhir" / "must_support.yaml"


@pytest.fixture(scope="module")
def session(gateway: Gateway) -> dict[str, Element]:
    """Every path a suite can drive, once: by action code, and what only updates and rejections bring about."""
    found = {}
    for scheme in ("http", "urn"):
        for code, action in DECISIONS.items():
            found[f"{action} {scheme}"] = submit(gateway, request(scheme, code, code))
        first = request(scheme, "X1001", "X1002")
        found[f"two decisions {scheme}"] = submit(gateway, first)
        second = update(first, scheme, cancel=2, add="X1003")
        found[f"C {scheme}"] = submit(gateway, second)
        found[f"cancel all {scheme}"] = submit(gateway, update(second, scheme, certification="3"))
        found[f"error {scheme}"] = submit(gateway, request(scheme, "X1008"))
        found[f"asked {scheme}"] = submit(gateway, request(scheme, "X1009"))
        found[f"questions {scheme}"] = submit(gateway, request(scheme, "X1009", "X1011", "X1012"))
    return found


@pytest.mark.parametrize("scheme", ["http", "urn"])
def test_every_review_action_is_given_by_its_demonstration_code(session: dict[str, Element], scheme: str) -> None:
    for action in DECISIONS.values():
        answer = response(session[f"{action} {scheme}"])
        assert actions_of(answer["item"]) == [action, action]
        assert answer["outcome"] == "complete"
    assert actions_of(response(session[f"C {scheme}"])["item"]) == ["A1", "C", "A2"]
    assert actions_of(response(session[f"cancel all {scheme}"])["item"]) == ["C", "C", "C"]
    assert actions_of(response(session[f"two decisions {scheme}"])["item"]) == ["A1", "A6"]
    modified = response(session[f"A6 {scheme}"])
    assert [row["itemSequence"] for row in modified["addItem"]] == [[1], [2]]
    denied = response(session[f"A3 {scheme}"])
    assert all(row["noteNumber"] for row in denied["item"])
    assert denied["processNote"]
    refused = response(session[f"error {scheme}"])
    assert (refused["outcome"], refused["error"][0]["code"]["coding"][0]["code"]) == ("error", "33")


@pytest.mark.parametrize(("kind", "paths"), [("ClaimResponse", 72), ("Task", 18), ("CommunicationRequest", 11)])
def test_all_must_support_paths_occur(session: dict[str, Element], kind: str, paths: int) -> None:
    rows = yaml.safe_load(MUST_SUPPORT.read_text(encoding="utf-8"))[kind]
    wanted = set(rows["elements"]) | {f"{path}!{name}" for path, names in rows["extensions"].items() for name in names}
    found = set().union(*(found_paths(resource) for answer in session.values() for resource in of(answer, kind)))
    assert len(wanted) == paths
    assert wanted - found == set()


def of(answer: Element, kind: str) -> list[Element]:
    return [entry["resource"] for entry in answer["entry"] if entry["resource"]["resourceType"] == kind]


@pytest.mark.parametrize("scheme", ["http", "urn"])
def test_questions_to_the_provider_are_a_task_for_each_kind(session: dict[str, Element], scheme: str) -> None:
    answer = session[f"questions {scheme}"]
    asked = {
        row["type"]["coding"][0]["code"]: row
        for task in of(answer, "Task")
        for row in task["input"]
        if row["type"]["coding"][0]["code"] != "payer-url"
    }
    assert [task["code"]["coding"][0]["code"] for task in of(answer, "Task")] == [
        "attachment-request-code",
        "attachment-request-code",
        "attachment-request-questionnaire",
    ]
    assert asked["questionnaire-context"]["valueString"] == "demo-questionnaire-1"
    lines = {request["extension"][0]["valuePositiveInt"] for request in of(answer, "CommunicationRequest")}
    assert lines == {1, 2, 3}
    # Each thing asked for has one control number: in its request, and in the task that waits for it.
    numbers = [row["identifier"][0]["value"] for row in of(answer, "CommunicationRequest")]
    assert sorted(numbers) == sorted(row["value"] for task in of(answer, "Task") for row in task["identifier"])


def test_an_inquiry_gives_the_answer_as_it_stands(gateway: Gateway) -> None:
    asked = request("http", "X1001")
    number = response(submit(gateway, asked))["preAuthRef"]
    (found,) = inquire(gateway, number)
    assert actions_of(response(found)["item"]) == ["A1"]
    sent, got = (traversal.read(wire.serialize(bundle)) for bundle in (asked, found))
    assert list(traversal.problems(sent, got)) == []


@pytest.mark.usefixtures("session")
def test_the_public_metrics_count_the_session(gateway: Gateway) -> None:
    shown = command(gateway, "metrics", "pas", "--year", str(datetime.now(UTC).year), "--json")
    assert shown.returncode == 0, shown.stderr
    (found,) = json.loads(shown.stdout)
    assert found["tenant"] == "demo"
    counts = found["counts"]
    # Four actions that determine, on two lines each, by both address styles; urgent all of them (UM06 U).
    assert counts["expedited_approved"] >= 12
    assert counts["expedited_denied"] >= 4
    assert {"X1001", "X1002", "X1003", "X1004"} <= set(found["services"])
    assert found["figures"]["expedited-mean-hours"] < 1


def test_what_is_asked_for_says_until_when(session: dict[str, Element]) -> None:
    tasks = [e["resource"] for e in session["asked http"]["entry"] if e["resource"]["resourceType"] == "Task"]
    assert [task["code"]["coding"][0]["code"] for task in tasks] == ["attachment-request-code"]
    # The sample is urgent (UM06 U): seventy-two hours from its receipt.
    due = {(datetime.now(UTC) + timedelta(hours=72, minutes=early)).date().isoformat() for early in (0, -15)}
    assert tasks[0]["restriction"]["period"]["end"] in due
