"""Documents for a FHIR payer: under its own control numbers and lines, valid, from either rail."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.fhir.wire import validate_attachment
from gateway.core.errors import Unmappable
from gateway.core.ports import Decision
from mappings.attachment_to_cdex import submission
from mappings.attachments import read_attachment
from mappings.brought_documents import Document, Parcel, documents, parcels
from mappings.claim_to_pas import request
from mappings.information_request import control_number
from tests.mappings.fhir import samples

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CASE = "00000000-0000-4000-8000-000000000001"
WANTED = ({"loinc": "34117-2", "line": "2", "controlNumber": "ACN-7"}, {"reportType": "77", "controlNumber": "ACN-8"})
Element = dict[str, Any]


def asked() -> Element:
    return request(samples.request("urn"), identity="case:2", now=NOW, whole=True).bundle


def standing() -> Decision:
    return Decision(case_id=CASE, version=4, decided_at=NOW, action="A4", requested_information=WANTED)


def document(number: str, **more: Any) -> Document:
    return Document(number=number, content={"resourceType": "DocumentReference", "status": "current", "content": [
        {"attachment": {"contentType": "text/plain", "data": "aGk="}}]}, **more)  # fmt: skip


def sorted_out(*brought: Document, kind: str = "authorization.attachment", everything: bool = True) -> list[Parcel]:
    rows = [((3, at), kind, document) for at, document in enumerate(brought)]
    return parcels(rows, [standing()], everything=everything)


def test_what_was_asked_for_goes_under_the_payers_number_and_line() -> None:
    ours = control_number(CASE, WANTED[0])
    brought = [document(ours, line="1", code={"system": "http://loinc.org", "code": "34117-2"}), document("OWN-1")]
    found = sorted_out(*brought)
    made = [submission(asked(), one, sequences={1: 3}, reference="REF9") for one in found]
    assert [validate_attachment(one) for one in made] == [[], []]
    first, second = (read_attachment(one) for one in made)
    assert (first.tracking_id, second.tracking_id) == ("ACN-7", "OWN-1")
    assert [(one.solicited, one.places) for one in found] == [(True, ((3, 0),)), (False, ((3, 1),))]
    assert (first.attach_to, first.admin_reference, first.final) == ("preauthorization", "REF9", True)
    assert (first.attachments[0].line, first.attachments[0].code) == ("3", "34117-2")
    assert first.member_id
    assert first.provider
    assert made[0] == submission(asked(), sorted_out(*brought)[0], sequences={1: 3}, reference="REF9")


def test_documents_of_one_number_travel_together() -> None:
    found = sorted_out(document("A"), document("B"), document("A"))
    assert [len(read_attachment(submission(asked(), one, sequences={})).attachments) for one in found] == [2, 1]


def test_what_nobody_asked_for_goes_only_where_everything_does() -> None:
    loinc = {"system": "http://loinc.org", "code": "34117-2"}
    assert sorted_out(document("A"), everything=False) == []
    assert [one.number for one in sorted_out(document("A", code=loinc), everything=False)] == ["ACN-7"]


def test_what_is_about_the_patient_goes_only_where_it_was_asked_for() -> None:
    codes = [{"system": "http://loinc.org", "code": code} for code in ("34117-2", "99999-9")]
    found = sorted_out(*(document("", code=code) for code in codes), kind="clinical.document")
    assert [(one.number, one.places) for one in found] == [("ACN-7", ((3, 0),))]


def test_a_report_takes_its_results_along() -> None:
    report = {
        "resourceType": "DiagnosticReport", "status": "final", "subject": {"reference": "urn:uuid:p"},
        "code": {"coding": [{"system": "L", "code": "X"}, {"system": "http://loinc.org", "code": "34117-2"}]},
        "result": [{"reference": "urn:uuid:o"}],
    }  # fmt: skip
    value = {"resourceType": "Observation", "status": "final", "subject": {"reference": "urn:uuid:p"}}
    entry = [{"fullUrl": "urn:uuid:d", "resource": report}, {"fullUrl": "urn:uuid:o", "resource": value}]
    (found,) = documents({"resourceType": "Bundle", "type": "message", "entry": entry})
    assert found.code["code"] == "34117-2"
    assert found.content["contained"] == [{"resourceType": "Observation", "status": "final", "id": "r1"}]
    assert found.content["result"] == [{"reference": "#r1"}]


def test_documents_of_either_rail_are_read() -> None:
    again = submission(asked(), sorted_out(document("A", line="1"))[0], sequences={1: 1})
    (read,) = documents(again)
    assert (read.number, read.line, read.content["resourceType"]) == ("A", "1", "DocumentReference")
    resource = document("").content | {
        "identifier": [{"system": "urn:x12:005010:ACN", "value": "ACN-8"}],
        "type": samples.concept("http://loinc.org", "11506-3"),
        "subject": {"reference": "urn:uuid:1"},
    }
    (found,) = documents({"resourceType": "Bundle", "entry": [{"resource": resource}]})
    assert (found.number, found.code["code"]) == ("ACN-8", "11506-3")
    assert "subject" not in found.content


def test_what_has_no_number_is_not_sent() -> None:
    with pytest.raises(Unmappable):
        submission(asked(), sorted_out(document(""))[0], sequences={})
