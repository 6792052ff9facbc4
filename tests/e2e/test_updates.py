"""Updates of a PAS request through the whole gateway: again, in chains, and where nothing may be revised any more."""

from __future__ import annotations

import pytest

from tests.e2e.pas import Element, inquire, request, response, submit, update
from tests.e2e.running import Gateway
from tests.e2e.test_protocols import rows
from tests.mappings.fhir.test_response import actions_of


def rejection(answer: Element) -> tuple[str, str]:
    """X12 901 and the FHIRPath of a business rejection that decides nothing."""
    told = response(answer)
    assert told["outcome"] == "error"
    assert "item" not in told
    (error,) = told["error"]
    path = next(row["valueString"] for row in error["extension"] if row["url"].endswith("errorPath"))
    return error["code"]["coding"][0]["code"], path


def standing(gateway: Gateway, asked: Element) -> list[list[str]]:
    """What an inquiry says of the cases with this request's trace number."""
    trace = response(asked)["identifier"]
    return [actions_of(response(b)["item"]) for b in inquire(gateway) if response(b)["identifier"] == trace]


def cases(gateway: Gateway) -> int:
    return int(str(rows(gateway, "SELECT count(*) AS n FROM workflow.workflow_instances")[0]["n"]))


def test_a_resent_update_gets_the_answer_of_the_case_it_joined(gateway: Gateway) -> None:
    first = request("http", "X1001")
    submit(gateway, first)
    change = update(first, "http", add="X1002")
    answered = submit(gateway, change)
    assert response(answered)["addItem"]
    assert response(submit(gateway, change)) == response(answered)


def test_a_chain_of_updates_is_one_authorization(gateway: Gateway) -> None:
    first = request("urn", "X1001", "X1004")
    number = response(submit(gateway, first))["preAuthRef"]
    before = cases(gateway)
    second = update(first, "urn", cancel=2)
    assert actions_of(response(submit(gateway, second))["item"]) == ["A1", "C"]
    third = update(second, "urn", add="X1002")
    answer = response(submit(gateway, third))
    assert actions_of(answer["item"]) == ["A1", "C", "A6"]
    assert answer["preAuthRef"] == number
    assert cases(gateway) == before
    # What was answered stays answered: each message again, its own answer again.
    assert actions_of(response(submit(gateway, first))["item"]) == ["A1", "A3"]
    assert actions_of(response(submit(gateway, second))["item"]) == ["A1", "C"]
    assert response(submit(gateway, third)) == answer


@pytest.mark.parametrize("scheme", ["http", "urn"])
def test_a_denied_case_is_not_revised_but_told_so_and_stays_denied(gateway: Gateway, scheme: str) -> None:
    first = request(scheme, "X1004")
    submit(gateway, first)
    before = cases(gateway)
    for change in (update(first, scheme, add="X1001"), update(first, scheme, certification="3")):
        assert rejection(submit(gateway, change)) == ("33", "Bundle.entry[0].resource")
    assert cases(gateway) == before
    assert standing(gateway, first) == [["A3"]]


def test_an_appeal_of_a_denial_is_decided(gateway: Gateway) -> None:
    first = request("http", "X1004")
    submit(gateway, first)
    appeal = response(submit(gateway, update(first, "http", certification="2")))
    assert actions_of(appeal["item"]) == ["A3"]


def test_a_cancelled_case_is_not_revised_and_may_be_cancelled_again(gateway: Gateway) -> None:
    first = request("http", "X1001")
    submit(gateway, first)
    cancel = update(first, "http", certification="3")
    assert actions_of(response(submit(gateway, cancel))["item"]) == ["C"]
    assert rejection(submit(gateway, update(first, "http", add="X1002")))[0] == "33"
    again = update(cancel, "http", certification="3")
    assert actions_of(response(submit(gateway, again))["item"]) == ["C"]


def test_an_update_of_what_is_unknown_here_is_a_request_and_its_late_original_is_refused(gateway: Gateway) -> None:
    first = request("http", "X1001")
    before = cases(gateway)
    assert actions_of(response(submit(gateway, update(first, "http", add="X1003")))["item"]) == ["A1", "A2"]
    assert rejection(submit(gateway, first))[0] == "33"
    assert cases(gateway) == before + 1
    assert standing(gateway, first) == [["A1", "A2"]]


def test_cancelling_all_needs_no_items(gateway: Gateway) -> None:
    first = request("http", "X1001", "X1002")
    submit(gateway, first)
    cancel = update(first, "http", certification="3")
    del response(cancel)["item"]
    answer = response(submit(gateway, cancel))
    assert "item" not in answer
    assert answer["outcome"] == "complete"
