"""278 responses: every HCR01 code, AAA at every loop, mixed lines, modifications; all pass the guide and read back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.x12.wire import Loop
from gateway.core.envelope import Intake
from gateway.core.errors import Unmappable
from gateway.core.ports import Decision, ItemDecision
from mappings.decision_to_claimresponse import render
from mappings.decision_to_x12_278 import response
from mappings.information_request import control_number
from mappings.review_actions import ACTIONS
from mappings.x12_278_to_decision import decision_of, retry_later
from tests.mappings.x12.bench import CASES, NOW, plain, read_bytes, read_case, transaction, written

DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "")) / "x12" / "derived" / "278"
needs_data = pytest.mark.skipif(not os.environ.get("GATEWAY_OUTSIDE_DATA"), reason="GATEWAY_OUTSIDE_DATA is not set")
FOLDER = CASES[0].parent


def intake(name: str = "dependent-two-lines") -> Intake:
    (found,) = read_case(FOLDER / name).intakes
    return found


def decided(*items: ItemDecision, action: str = "A1", **more: object) -> Decision:
    return Decision(case_id="c", version=1, decided_at=NOW, action=action, items=items, **more)  # type: ignore[arg-type]


def event_of(tree: Loop) -> Loop:
    return next(tree.descendants("2000E"), tree)


def answered(decision: Decision, name: str = "dependent-two-lines") -> Loop:
    """The response through writer and reader: the guide accepts it."""
    return transaction(written("278_response", response(intake(name).reply["event"], decision)))


def read_back(tree: Loop) -> Decision:
    traces = {"LINE-1": 1, "LINE-2": 2}
    return decision_of(event_of(tree), case_id="c", version=1, received_at=NOW, traces=traces)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("case", [path.name for path in CASES])
def test_every_action_reads_back(action: str, case: str) -> None:
    lines = {"dependent-two-lines": 2, "inpatient": 2}.get(case, 1)
    reasons = ("0Y", "0U") if ACTIONS[action].needs_reason else ()
    number = "AUTH-1" if ACTIONS[action].approved else ""
    items = tuple(
        ItemDecision(sequence=at, action=action, reasons=reasons, authorization_number=number)
        for at in range(1, lines + 1)
    )
    tree = answered(decided(*items, action=action, authorization_number=number), case)
    found = read_back(tree)
    assert found.action == action
    assert [(item.sequence, item.action, tuple(item.reasons)) for item in found.items] == [
        (item.sequence, action, reasons) for item in items
    ]
    assert found.authorization_number == number
    assert tree.get("BHT", 6) == ("19" if action == "A4" else "18")
    assert tree.get("BHT", 3) == intake(case).reply["event"][2].split("\x1d")[3]


def test_mixed_lines_map_item_by_item_to_the_claim_response() -> None:
    decision = decided(
        ItemDecision(sequence=1, action="A1", authorization_number="AUTH-1"),
        ItemDecision(sequence=2, action="A3", reasons=("0Y",), note="Not medically necessary."),
        action="A2",
        authorization_number="AUTH-1",
    )
    found = read_back(answered(decision))
    assert [(item.sequence, item.action) for item in found.items] == [(1, "A1"), (2, "A3")]
    assert found.items[1].note == "Not medically necessary."
    resource = intake().resource
    assert resource is not None
    bundle = render(plain(resource), found)
    claim_response = bundle["entry"][0]["resource"]
    assert [item["itemSequence"] for item in claim_response["item"]] == [1, 2]
    assert claim_response["preAuthRef"] == "AUTH-1"


def test_lines_are_matched_by_trace_whatever_their_order() -> None:
    tree = answered(
        decided(
            ItemDecision(sequence=1, action="A1", authorization_number="A"),
            ItemDecision(sequence=2, action="A4"),
            action="A4",
        )
    )
    event = event_of(tree)
    event.items.reverse()
    found = decision_of(event, case_id="c", version=1, received_at=NOW, traces={"LINE-1": 1, "LINE-2": 2})
    assert {item.sequence: item.action for item in found.items} == {1: "A1", 2: "A4"}


def test_modified_quantity_and_code() -> None:
    changes = {
        "quantity": 6,
        "unit": "UN",
        "code": "97112",
        "servicedPeriod": {"start": "2026-01-20", "end": "2026-02-20"},
    }
    items = (
        ItemDecision(sequence=1, action="A6", authorization_number="AUTH-1", changes=changes),
        ItemDecision(sequence=2, action="A1", authorization_number="AUTH-1"),
    )
    tree = answered(decided(*items, action="A6", authorization_number="AUTH-1"))
    line = next(tree.descendants("2000F"))
    assert (line.get("SV1", 1, 2), line.get("SV1", 4)) == ("97112", "6")
    read = read_back(tree).items[0].changes
    assert (read["code"], read["quantity"], read["servicedPeriod"]) == ("97112", 6, changes["servicedPeriod"])


def test_modified_quantity_of_an_event_without_lines() -> None:
    item = ItemDecision(sequence=1, action="A6", authorization_number="N", changes={"quantity": 3, "unit": "VS"})
    tree = answered(decided(item, action="A6", authorization_number="N"), "event-only")
    assert event_of(tree).get("HSD", 2) == "3"


def test_a_service_added_by_the_payer() -> None:
    items = (
        ItemDecision(sequence=1, action="A1", authorization_number="N"),
        ItemDecision(sequence=2, action="A1", authorization_number="N"),
        ItemDecision(sequence=3, action="A1", authorization_number="N", changes={"code": "97530", "quantity": 2}),
    )
    tree = answered(decided(*items, authorization_number="N"))
    assert [line.get("SV1", 1, 2) for line in tree.descendants("2000F")] == ["97110", "97140", "97530"]


def test_dates_and_reference_of_an_authorization() -> None:
    items = tuple(ItemDecision(sequence=at, action="A1", authorization_number="N") for at in (1, 2))
    decision = decided(
        *items,
        authorization_number="N",
        administrative_reference="REF-7",
        valid_from="2026-01-15",
        valid_to="2026-04-15",
    )
    tree = answered(decision)
    assert [segment.get(2) for segment in event_of(tree).segments("REF", "NT")] == ["REF-7"]
    found = read_back(tree)
    assert (found.valid_from, found.valid_to, found.administrative_reference) == ("2026-01-15", "2026-04-15", "REF-7")


def test_requested_information_goes_as_loinc_and_words() -> None:
    wanted = ({"fact": "observations", "loinc": "11506-3", "question": "Progress notes of the last six weeks?"},)
    items = (ItemDecision(sequence=1, action="A4"), ItemDecision(sequence=2, action="A4"))
    found = read_back(answered(decided(*items, action="A4", requested_information=wanted)))
    assert found.requested_information[0]["loinc"] == "11506-3"
    assert found.requested_information[0]["controlNumber"] == control_number(found.case_id, wanted[0])
    assert "Progress notes" in found.requested_information[0]["question"]


def test_every_wish_is_read_back_with_its_own_control_number() -> None:
    wanted = ({"loinc": "11506-3", "reportType": "OZ"}, {"loinc": "34117-2"}, {"reportType": "77", "line": "2"})
    items = (ItemDecision(sequence=1, action="A4"), ItemDecision(sequence=2, action="A4"))
    for some in (wanted[:2], wanted[2:]):
        found = read_back(answered(decided(*items, action="A4", requested_information=some)))
        numbers = [row["controlNumber"] for row in found.requested_information]
        assert numbers == [control_number(found.case_id, row) for row in some]
        assert [row.get("loinc") for row in found.requested_information] == [row.get("loinc") for row in some]


LOOPS = ("2000A", "2010A", "2010B", "2010C", "2010D", "2000E", "2010EA", "2000F", "2000F[2]", "2010FA")


@pytest.mark.parametrize("location", LOOPS)
@pytest.mark.parametrize(("code", "follow_up"), [("42", "Y"), ("15", "C"), ("79", "N")])
def test_rejection_at_every_loop(location: str, code: str, follow_up: str) -> None:
    error = {"code": code, "followUp": follow_up, "location": f"{location}-NM109"}
    tree = answered(decided(action="", errors=(error,)))
    found = read_back(tree)
    assert list(found.errors) == [{"code": code, "followUp": follow_up, "location": location}]
    assert found.items == ()
    deeper = {"2000A": "2000B", "2010A": "2000B", "2010B": "2000C", "2010C": "2000D", "2010D": "2000E"}.get(location)
    assert deeper is None or not list(tree.descendants(deeper))


def test_retry_rule() -> None:
    later = decided(action="", errors=({"code": "42", "followUp": "R", "location": "2000A"},))
    never = decided(action="", errors=({"code": "72", "followUp": "C", "location": "2010C"},))
    assert retry_later(read_back(answered(later)))
    assert not retry_later(read_back(answered(never)))
    assert not retry_later(decided(ItemDecision(sequence=1, action="A1")))


def test_what_must_not_be_sent() -> None:
    event = intake().reply["event"]
    for item in (
        ItemDecision(sequence=1, action="A3", note="words only"),
        ItemDecision(sequence=1, action="ZZ"),
        ItemDecision(sequence=9, action="A1"),
    ):
        with pytest.raises(Unmappable):
            response(event, decided(item, action="A1"))


def test_same_decision_gives_the_same_bytes() -> None:
    items = tuple(ItemDecision(sequence=at, action="A1", authorization_number="N") for at in (1, 2))
    event = intake().reply["event"]
    decision = decided(*items, authorization_number="N")
    assert written("278_response", response(event, decision)) == written("278_response", response(event, decision))


@needs_data
@pytest.mark.parametrize("path", sorted(DATA.glob("*esp*")), ids=lambda path: path.name)
def test_outside_responses(path: Path) -> None:
    data = path.read_bytes()
    reading = read_bytes(data)
    (found,) = reading.intakes or (None,)
    if found is None:
        assert reading.issues
        return
    assert found.type == "authorization.response"
    decision = decision_of(event_of(transaction(data)), case_id="c", version=1, received_at=NOW)
    expected = {
        "278_3_1_2_Response": ("A1", "AUTH0001"),
        "278_3_2_2_Response": ("A6", "AUTH0002"),
        "278_3_3_2_Response": ("A4", ""),
        "278_resp_denied_A3": ("A3", ""),
        "278_resp_mixed_lines": ("A6", "AUTH0002"),
    }.get(path.stem)
    if expected is None:
        assert [error["code"] for error in decision.errors] == ["75"]
    else:
        assert (decision.action, decision.authorization_number) == expected
    if path.stem == "278_resp_mixed_lines":
        assert [item.action for item in decision.items] == ["A1", "A3"]
