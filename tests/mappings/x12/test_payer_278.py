"""Asking a payer: any PAS request becomes a 278 that its guide accepts, and every kind of answer finds its request."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from adapters.x12.wire import Loop, guide, write
from adapters.x12.wire.acknowledge import AckPolicy, acknowledge
from adapters.x12.wire.reader import Options, read
from adapters.x12.wire.reports import InterchangeReport
from gateway.core.errors import MalformedMessage
from gateway.core.ports import Decision, ItemDecision
from mappings.decision_to_x12_278 import response
from mappings.payer_278 import answers, decision_from, pended, question, read_answer
from mappings.x12_codec import DerivedNumbers
from mappings.x12_trace import freeze
from tests.e2e.pas import update
from tests.mappings.fhir import samples
from tests.mappings.x12.bench import NOW, RECEPTION, envelope, segments, transaction, written

CASE = "00000000-0000-4000-8000-000000000001"
NUMBERS = {"interchange": "1", "group": "1"}


def bundle(*codes: str) -> dict[str, Any]:
    return samples.request("urn", tuple(samples.item(n, "urn", code) for n, code in enumerate(codes or ("97110",), 1)))


def asked(given: dict[str, Any]) -> tuple[dict[str, Any], Loop]:
    """(the record of a question, the request as the payer reads it)."""
    found = question(given, now=NOW, trace_assigner="9012345678")
    return found.record | NUMBERS, transaction(written("278_request", found.tree))


def answered(tree: Loop, *actions: str, **more: Any) -> bytes:
    items = tuple(
        ItemDecision(sequence=n, action=action, reasons=("0V",) if action == "A3" else ())
        for n, action in enumerate(actions, 1)
    )
    whole = actions[0] if len(set(actions)) == 1 else "A2" if actions else ""
    decision = Decision(case_id=CASE, version=2, decided_at=NOW, action=whole, items=items, **more)
    return written("278_response", response(freeze(tree), decision))


def read_back(data: bytes, record: dict[str, Any], wanted: list[int], before: Decision | None = None) -> Decision:
    intake = read_answer(data, RECEPTION)
    assert intake is not None
    assert answers(intake.reply, record)
    return decision_from(
        intake.reply, record, case_id=CASE, version=9, received_at=NOW, wanted=wanted, before=before
    )  # fmt: skip


def test_a_payer_known_by_a_number_of_its_own_is_named_by_it() -> None:
    record, tree = asked(bundle())
    assert next(tree.descendants("2010A")).segment("NM1").values(8) == ["PI"]  # type: ignore[union-attr]
    assert next(tree.descendants("2010A")).get("NM1", 9) == "PAYER1"
    assert record["trns"] == [["9012345678", bundle()["entry"][0]["resource"]["identifier"][0]["value"]]]


@pytest.mark.parametrize("system", ["urn:trnorg:1", "urn:trnorg:", "http://ehr.test/trace"])
def test_a_trace_whose_assigner_does_not_fit_is_ours_to_assign(system: str) -> None:
    given = bundle()
    given["entry"][0]["resource"]["identifier"][0]["system"] = system
    record, tree = asked(given)
    assert record["trns"][0][0] == "9012345678"
    assert len(next(tree.descendants("2000F")).get("TRN", 3)) == 10


def test_the_thirteenth_diagnosis_is_left_out_and_said_so() -> None:
    given = bundle()
    claim = given["entry"][0]["resource"]
    row = claim["diagnosis"][0]
    claim["diagnosis"] = [copy.deepcopy(row) | {"sequence": n} for n in range(1, 14)]
    found = question(given, now=NOW)
    assert [path for path in found.left_out if "diagnosis" in path] == ["Claim.diagnosis[13]"]
    assert len(next(found.tree.descendants("2000E")).segment("HI").fields) == 13  # type: ignore[union-attr]


def test_lines_are_matched_and_the_decision_is_the_payers() -> None:
    record, tree = asked(bundle("97110", "97112"))
    found = read_back(answered(tree, "A1", "A3", authorization_number="AUTH1"), record, [1, 2])
    assert [(item.sequence, item.action) for item in found.items] == [(1, "A1"), (2, "A3")]
    assert found.items[1].reasons == ("0V",)


def test_a_decision_on_the_event_alone_is_one_on_every_line() -> None:
    record, tree = asked(bundle("97110", "97112"))
    data = answered(tree, "A1", "A1", authorization_number="AUTH1")
    whole = transaction(data)
    event = next(whole.descendants("2000E"))
    event.items = [item for item in event.items if not (isinstance(item, Loop) and item.id == "2000F")]
    found = read_back(write(guide("278_response"), whole, envelope()), record, [1, 2])
    assert [(item.sequence, item.action) for item in found.items] == [(1, "A1"), (2, "A1")]


def test_what_an_update_does_not_ask_about_stands() -> None:
    first = bundle("97110", "97112")
    changed = update(first, "urn", cancel=2)
    record, tree = asked(changed)
    assert record["sequences"] == [2]
    assert [next(tree.descendants(name)).get("UM", 2) for name in ("2000E", "2000F")] == ["S", "3"]
    before = Decision(
        case_id=CASE, version=2, decided_at=NOW, action="A1", authorization_number="AUTH1", valid_from="2026-02-01",
        items=(ItemDecision(sequence=1, action="A1"), ItemDecision(sequence=2, action="A1")),
    )  # fmt: skip
    found = read_back(answered(tree, "C"), record, [1, 2], before)
    assert [(item.sequence, item.action) for item in found.items] == [(1, "A1"), (2, "C")]
    assert (found.action, found.authorization_number, found.valid_from) == ("A1", "AUTH1", "2026-02-01")


def test_an_added_line_is_decided_and_what_nobody_decided_is_pended() -> None:
    record, tree = asked(update(bundle("97110", "97112"), "urn", add="97140"))
    found = read_back(answered(tree, "A1"), record, [1, 2, 3])
    assert [(item.sequence, item.action) for item in found.items] == [(1, "A4"), (2, "A4"), (3, "A1")]
    assert found.action == "A4"
    assert found.administrative_reference


def test_a_rejection_above_the_event_is_found_by_the_transactions_number() -> None:
    record, tree = asked(bundle())
    data = answered(tree, errors=[{"code": "42", "followUp": "R", "location": "2000A"}])
    assert not any(line.startswith("TRN") for line in segments(transaction(data)))
    found = read_back(data, record, [1])
    assert [(row["code"], row["followUp"]) for row in found.errors] == [("42", "R")]
    assert (found.items, found.action) == ((), "")


def test_a_response_to_something_else_is_not_taken() -> None:
    record, tree = asked(bundle())
    intake = read_answer(answered(tree, "A1"), RECEPTION)
    assert intake is not None
    assert not answers(intake.reply, record | {"trns": [["9012345678", "OTHER"]]})


def acknowledged(spoil: Any) -> bytes:
    data = written("278_request", question(bundle(), now=NOW).tree)
    (report,) = [one for one in read([data], Options(mode="judge")) if isinstance(one, InterchangeReport)]
    spoil(report)
    report.settle()
    found = acknowledge(report, AckPolicy(ta1="always"), DerivedNumbers(7), NOW)
    assert found is not None
    return found


def test_a_999_that_refuses_ours_is_told_by_its_group() -> None:
    data = acknowledged(lambda report: report.groups[0].transactions[0].codes.append("5"))
    intake = read_answer(data, RECEPTION)
    assert intake is not None
    assert (intake.type, intake.reply["refuses"], intake.reply["codes"][:1]) == (
        "authorization.rejected", {"GS06": "1"}, ["5"]
    )  # fmt: skip
    assert answers(intake.reply, NUMBERS)
    assert not answers(intake.reply, NUMBERS | {"group": "2"})


def test_a_ta1_that_refuses_ours_is_told_by_its_interchange() -> None:
    intake = read_answer(acknowledged(lambda report: report.refuse("022", "ISA", 1, 13)), RECEPTION)
    assert intake is not None
    assert (intake.type, intake.reply["codes"]) == ("authorization.rejected", ["022"])
    assert answers(intake.reply, NUMBERS)
    assert ["asked-in", "CLINIC7", "ISA13", "1"] in intake.reply["parents"]


def test_an_accepted_999_is_no_answer() -> None:
    assert read_answer(acknowledged(lambda _: None), RECEPTION) is None


@pytest.mark.parametrize("data", [b"<html>busy</html>", b"", b"ISA*00*"])
def test_what_is_no_x12_is_said_so(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read_answer(data, RECEPTION)


def test_a_response_that_breaks_its_guide_is_not_taken() -> None:
    _, tree = asked(bundle())
    data = answered(tree, "A1").replace(b"HCR*A1", b"HCR*Z9")
    with pytest.raises(MalformedMessage):
        read_answer(data, RECEPTION)


def test_a_pended_decision_can_be_asked_about() -> None:
    found = pended("00000000-0000-4000-8000-000000000001", 3, NOW, [1, 2])
    assert replace(found, items=()).action == "A4"
    assert found.administrative_reference.startswith("AR")
