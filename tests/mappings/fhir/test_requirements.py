"""One test per PAS 2.2.1 requirement that can be shown without a network, named by the guide's own id.

Requirements on transport, timing, storage and on clients are shown elsewhere (edge and end-to-end tests).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from adapters.fhir import wire
from adapters.fhir.wire import terms
from gateway.core.envelope import Intake, Raw
from gateway.core.errors import Issue
from gateway.core.ports import ItemDecision
from mappings.claimresponse_to_decision import read_decision
from mappings.decision_to_claimresponse import render
from mappings.fhir_codec import FhirCodec
from mappings.inquire import match_query, matches, render_inquiry_response
from mappings.pas_metrics import decided_lines
from mappings.subscription_notification import render as notify
from tests.mappings.fhir import samples
from tests.mappings.fhir.test_inquire import case
from tests.mappings.fhir.test_response import ASKED, actions_of, found_paths, session
from tests.mappings.fhir.test_subscription import BASE, event, subscription

Element = dict[str, Any]


SUPPORTING: dict[str, Element] = {
    "Condition": {"code": samples.concept(terms.ICD10, "G89.4")},
    "Procedure": {"status": "completed", "code": samples.concept("http://snomed.info/sct", "1")},
    "AllergyIntolerance": {"code": samples.concept("http://snomed.info/sct", "1")},
    "Immunization": {
        "status": "completed",
        "vaccineCode": samples.concept("http://hl7.org/fhir/sid/cvx", "1"),
        "occurrenceString": "2025",
    },
    "CarePlan": {"status": "active", "intent": "plan"},
}


def claim(bundle: Element) -> Element:
    return bundle["entry"][0]["resource"]


def errors(bundle: Element) -> set[str]:
    return {issue.location for issue in wire.validate_submit(bundle) if issue.severity == "error"}


def warnings(bundle: Element) -> list[Issue]:
    return [issue for issue in wire.validate_submit(bundle) if issue.severity == "warning"]


def submit(bundle: Element) -> Intake:
    raw = Raw.of(wire.serialize(bundle), "application/fhir+json")
    return FhirCodec().read(raw, samples.reception()).intakes[0]


def answer(action: str = "A1", build: Any = samples.request, **fields: Any) -> tuple[Element, Element]:
    request = build()
    return request, render(request, samples.decide(action, request, **fields))


def tasks() -> list[Element]:
    _, response = answer("A4", requested_information=ASKED)
    return [entry["resource"] for entry in response["entry"] if entry["resource"]["resourceType"] == "Task"]


def test_ainfo_3_and_6_the_questionnaire_context_travels_in_the_task() -> None:
    context = [
        row for task in tasks() for row in task["input"] if row["type"]["coding"][0]["code"] == "questionnaire-context"
    ]
    assert [row["valueString"] for row in context] == ["context-1"]


def test_ainfo_4_the_task_follows_its_profile() -> None:
    for task in tasks():
        assert wire.validate_resource(task) == []
        assert task["meta"]["profile"] == [f"{terms.PAS}/StructureDefinition/profile-task"]
        assert task["intent"] == "order"
        assert task["reasonCode"]["coding"][0]["code"] == "priorAuthorization"
        assert "identifier" in task["requester"]
        assert all(row["extension"] for row in task["input"][1:])


def test_ainfo_5_every_request_code_is_an_input() -> None:
    codes = {
        row["valueCodeableConcept"]["coding"][0]["code"]
        for task in tasks()
        for row in task["input"]
        if "valueCodeableConcept" in row
    }
    assert codes == {"28570-0", "PY"}


def test_ainfo_7_one_task_per_kind_of_request() -> None:
    assert len(tasks()) == 3


def test_conf_4_and_5_every_must_support_element_is_kept() -> None:
    request = samples.request()
    assert submit(request).resource == wire.parse(wire.serialize(request), "json")


def test_conf_6_every_must_support_element_can_be_returned() -> None:
    found = set().union(*(found_paths(claim(bundle)) for bundle in session()))
    assert {"item.noteNumber", "addItem.unitPrice", "error.code", "request!data-absent-reason"} <= found


def test_conf_7_and_8_every_must_support_element_can_be_received() -> None:
    for bundle in session():
        assert read_decision(bundle, case_id="c", version=1, received_at=samples.DECIDED).case_id == "c"


def test_conf_10_other_elements_are_ignored() -> None:
    request = samples.request()
    claim(request)["subType"] = samples.concept("http://x.test", "y")
    assert errors(request) == set()


def test_conf_11_nothing_depends_on_more_than_the_profiles() -> None:
    """Resources that name no profile, and none beside those the Claim needs, are decided like any other."""
    request = samples.request()
    for entry in request["entry"]:
        entry["resource"].pop("meta", None)
    plain = submit(request).facts
    assert errors(request) == set()
    assert plain == submit(samples.request()).facts


@pytest.mark.parametrize("name", ["careTeam", "supportingInfo", "diagnosis", "extension"])
def test_conf_12_and_14_optional_elements_may_be_left_out(name: str) -> None:
    request = samples.request()
    del claim(request)[name]
    assert errors(request) == set()
    response = render(request, samples.decide("A1", request))
    assert wire.validate_response(response) == []


def test_metric_2_each_item_has_its_event() -> None:
    request = samples.request()
    rows = decided_lines(submit(request).facts, samples.decide("A3", request))
    assert [(row["sequence"], row["action"]) for row in rows] == [(1, "A3"), (2, "A3")]


def test_prof_1_timings_are_looked_at() -> None:
    request = samples.request()
    request["entry"][8]["resource"]["occurrenceTiming"] = {"repeat": {"duration": 1, "durationUnit": "h"}}
    assert any(issue.location.endswith("occurrence.repeat") for issue in warnings(request))


def test_prof_2_and_3_quantities_are_looked_at() -> None:
    request = samples.request()
    claim(request)["item"][0]["quantity"] = {"value": 1, "code": "1", "system": terms.UCUM}
    assert any(issue.location.endswith("quantity.system") for issue in warnings(request))


def test_prof_4_and_spec_65_the_prior_claim_is_named_and_included() -> None:
    update = samples.update()
    del update["entry"][1]
    assert "Bundle.entry[0].resource.related[0].claim.reference" in errors(update)


def test_prof_5_6_and_spec_68_entries_of_all_versions_stay() -> None:
    for name in ("item", "supportingInfo"):
        update = samples.update()
        del claim(update)[name][0]
        assert f"Bundle.entry[0].resource.{name}" in errors(update)


def test_prof_7_spec_69_and_70_cancelled_items_carry_both_marks() -> None:
    update = samples.update()
    cancelled = claim(update)["item"][1]
    cancelled["extension"] = [row for row in cancelled["extension"] if row["url"] != terms.CERTIFICATION_TYPE]
    assert any("item[1]" in issue.location for issue in warnings(update))
    assert submit(samples.update()).facts["services"][1]["change"] == "cancelled"


def test_prof_8_withdrawn_information_is_not_looked_at() -> None:
    """Neither dates and documents, nor the resources that only withdrawn information names."""
    before = submit(samples.update()).facts
    looked_at = ("documents", "observations", "encounter.admitDate", "encounter.dischargeDate")
    assert all(before[name] for name in looked_at)
    update = samples.update()
    for row in claim(update)["supportingInfo"]:
        row["modifierExtension"] = [{"url": terms.INFO_CANCELLED, "valueBoolean": True}]
    assert not any(submit(update).facts.get(name) for name in looked_at)
    for row in claim(update)["supportingInfo"]:
        row["modifierExtension"][0]["valueBoolean"] = False
    assert submit(update).facts == before


def test_prof_9_10_spec_71_and_72_changes_are_flagged() -> None:
    assert [row.get("change") for row in submit(samples.update()).facts["services"]] == [None, "cancelled", "added"]
    update = samples.update()
    added = claim(update)["item"][2]
    added["extension"] = [row for row in added["extension"] if row["url"] != terms.INFO_CHANGED]
    assert any(terms.INFO_CHANGED in issue.location for issue in warnings(update))


@pytest.mark.parametrize("kind", ["Condition", "Procedure", "AllergyIntolerance", "Immunization", "CarePlan"])
def test_spec_1_and_2_other_profiles_support_a_request(kind: str) -> None:
    """US Core resources as supporting information: taken, and kept for the payer whole."""
    request = samples.request()
    address = "urn:uuid:00000000-0000-4000-8000-0000000000aa"
    resource = {"resourceType": kind, "id": "more"} | SUPPORTING[kind]
    patient = {"reference": next(e["fullUrl"] for e in request["entry"] if e["resource"]["resourceType"] == "Patient")}
    resource["patient" if kind in ("AllergyIntolerance", "Immunization") else "subject"] = patient
    request["entry"].append({"fullUrl": address, "resource": resource})
    category = samples.concept(terms.PAS_CODES, "additionalInformation")
    row = {"sequence": 90, "category": category, "valueReference": {"reference": address}}
    row["extension"] = claim(request)["supportingInfo"][0]["extension"]
    claim(request)["supportingInfo"].append(row)
    assert errors(request) == set()
    kept = submit(request).resource
    assert kept is not None
    assert kept["entry"][-1]["resource"] == resource


def test_spec_12_the_first_entry_is_the_claim() -> None:
    request = samples.request()
    request["entry"][0], request["entry"][1] = request["entry"][1], request["entry"][0]
    assert errors(request) == {"Bundle.entry[0].resource"}


def test_spec_13_and_18_every_reference_resolves_transitively() -> None:
    request = samples.request()
    request["entry"] = [entry for entry in request["entry"] if entry["resource"]["resourceType"] != "Location"]
    assert errors(request) == {"Bundle.entry[5].resource.location[0].reference"}


def test_spec_14_a_resource_appears_once() -> None:
    request = samples.request()
    request["entry"].append(request["entry"][4])
    assert "Bundle.entry[11].fullUrl" in errors(request)


@pytest.mark.parametrize("url", ["urn:uuid:nope", "urn:oid:1.2", "Patient/1", "ftp://x.test/Patient/1"])
def test_spec_16_full_urls_are_http_or_uuid(url: str) -> None:
    request = samples.request()
    request["entry"][10]["fullUrl"] = url
    assert "Bundle.entry[10].fullUrl" in errors(request)


def test_spec_17_ids_we_make_are_one_cases_alone() -> None:
    request = samples.request()
    ours = []
    for case_id in ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"):
        decision = samples.decide("A4", request, requested_information=ASKED)
        response = render(request, dataclasses.replace(decision, case_id=case_id))
        sent = {entry["fullUrl"] for entry in request["entry"]}
        ours.append({entry["fullUrl"] for entry in response["entry"]} - sent | {f"urn:uuid:{response['id']}"})
    assert len(ours[0]) == len(ours[1]) > 3
    assert not ours[0] & ours[1]


def test_spec_20_entries_nothing_leads_to_are_said() -> None:
    request = samples.request()
    del claim(request)["supportingInfo"][1]
    assert [issue.location for issue in warnings(request)] == ["Bundle.entry[10]"]


def test_spec_21_documents_are_read_from_their_document_reference() -> None:
    found = submit(samples.request()).facts["documents"]
    assert {"type": "11505-5", "date": "2026-01-10", "controlNumber": "ACN-1"} in found


def test_spec_23_every_answer_complies_with_its_profile() -> None:
    for bundle in session():
        assert wire.validate_response(bundle) == []


def test_spec_22_supporting_information_is_numbered_once() -> None:
    request = samples.request()
    claim(request)["supportingInfo"][1]["sequence"] = 1
    assert errors(request) == {"Bundle.entry[0].resource.supportingInfo[1].sequence"}


def test_spec_25_unknown_modifiers_are_not_ignored() -> None:
    request = samples.request()
    claim(request)["modifierExtension"] = [{"url": "http://x.test/not", "valueBoolean": True}]
    assert errors(request) == {"Bundle.entry[0].resource.modifierExtension[0]"}


def test_spec_26_the_whole_bundle_reaches_the_payer() -> None:
    body = wire.serialize(samples.request())
    assert submit(samples.request()).raw.data == body


def test_spec_30_and_31_the_answer_starts_with_the_claim_response_and_repeats_nothing() -> None:
    _, response = answer()
    kinds = [entry["resource"]["resourceType"] for entry in response["entry"]]
    assert kinds[0] == "ClaimResponse"
    urls = [entry["fullUrl"] for entry in response["entry"]]
    assert len(urls) == len(set(urls))


def test_spec_32_nothing_is_said_twice() -> None:
    for bundle in session():
        bare = [{name: value for name, value in e["resource"].items() if name != "id"} for e in bundle["entry"]]
        assert [row for number, row in enumerate(bare) if row in bare[:number]] == []


def test_spec_33_echoed_resources_keep_their_identity() -> None:
    request, response = answer()
    before = {entry["fullUrl"]: entry["resource"] for entry in request["entry"]}
    echoed = [entry for entry in response["entry"] if entry["fullUrl"] in before]
    assert len(echoed) == len(request["entry"])
    for entry in echoed:
        theirs = before[entry["fullUrl"]]
        assert (entry["resource"]["id"], entry["resource"].get("identifier")) == (
            theirs["id"],
            theirs.get("identifier"),
        )


def test_spec_34_item_sequences_are_echoed() -> None:
    request = samples.request(items=(samples.item(7, "http"), samples.item(3, "http")))
    response = claim(render(request, samples.decide("A1", request)))
    assert [row["itemSequence"] for row in response["item"]] == [7, 3]


def test_spec_35_one_operation_outcome() -> None:
    request = samples.request() | {"entry": []}
    raw = Raw.of(wire.serialize(request), "application/fhir+json")
    outcome = wire.parse(FhirCodec().read(raw, samples.reception()).answer(None) or b"", "json")
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["expression"] == ["Bundle.entry"]


def test_spec_36_and_37_a_modified_item_is_a6_with_what_is_authorized_beside_it() -> None:
    _, response = answer("A6")
    assert actions_of(claim(response)["item"]) == ["A6", "A6"]
    assert [row["itemSequence"] for row in claim(response)["addItem"]] == [[1], [2]]


def test_spec_43_not_applicable_is_no_service() -> None:
    inquiry = samples.inquiry()
    claim(inquiry)["item"] = [
        {"sequence": 1, "productOrService": samples.concept(terms.DATA_ABSENT_CODES, "not-applicable")}
    ]
    assert match_query(inquiry).services == ()


def test_spec_44_an_inquiry_answer_names_the_claim() -> None:
    found = render_inquiry_response(samples.inquiry(), [case()], now=samples.DECIDED)
    assert claim(found["parameter"][0]["resource"])["request"]["reference"] == samples.url("Claim", "http")


def test_spec_45_the_claim_comes_along() -> None:
    found = render_inquiry_response(samples.inquiry(), [case()], now=samples.DECIDED)
    kinds = [entry["resource"]["resourceType"] for entry in found["parameter"][0]["resource"]["entry"]]
    assert "Claim" in kinds


def test_spec_46_all_submitted_items_are_answered() -> None:
    update = samples.update()
    items = (ItemDecision(sequence=1, action="A1"), ItemDecision(sequence=3, action="A4"))
    response = claim(render(update, samples.decide("A1", update, items=items)))
    assert actions_of(response["item"]) == ["A1", "C", "A4"]


def test_spec_47_and_48_a_replaced_number_finds_the_current_answer() -> None:
    inquiry = samples.inquiry()
    claim(inquiry)["extension"] = [{"url": terms.ADMINISTRATION_REFERENCE, "valueString": "OLD-5"}]
    assert matches(match_query(inquiry), case())


def test_spec_52_and_53_others_may_ask_with_member_and_provider() -> None:
    inquiry = samples.inquiry()
    inquiry["entry"][1]["resource"]["identifier"][0]["value"] = "2222222228"
    assert matches(match_query(inquiry), case())
    inquiry["entry"][3]["resource"]["identifier"][0]["value"] = "SOMEONE"
    assert not matches(match_query(inquiry), case())


def test_spec_56_57_and_58_one_topic_one_filter_rest_hook() -> None:
    assert wire.validate_subscription(subscription(), {"SYS1"}) == []


def test_spec_59_a_client_watches_its_own_system() -> None:
    assert [issue.code for issue in wire.validate_subscription(subscription(), {"SYS2"})] == ["forbidden"]


def test_spec_60_and_61_a_notification_holds_the_whole_answer() -> None:
    told = event()
    bundle = notify("event-notification", subscription(), now=samples.DECIDED, base_url=BASE, events=[told])
    assert bundle["entry"][1]["resource"] == told.response


def test_spec_62_only_full_resource() -> None:
    for content in ("id-only", "empty"):
        assert [issue.code for issue in wire.validate_subscription(subscription(content), {"SYS1"})] == ["unsupported"]


def test_spec_64_an_update_can_be_rejected_with_an_x12_error() -> None:
    update = samples.update()
    rejection = ({"code": "33", "followUp": "N", "location": "2000E-UM02", "path": "Bundle.entry[0].resource.related"},)
    response = claim(render(update, samples.decide("A4", update, items=(), errors=rejection)))
    assert response["outcome"] == "error"
    assert response["error"][0]["code"]["coding"][0]["code"] == "33"


def test_spec_66_the_grandparent_stays_out() -> None:
    update = samples.update()
    update["entry"][1]["resource"]["related"] = [{"claim": {"reference": "Claim/older"}}]
    assert errors(update) == set()
    update["entry"].append(
        {"fullUrl": "https://ehr.test:8443/fhir/Claim/older", "resource": claim(update) | {"id": "older"}}
    )
    assert "Bundle.entry[12]" in errors(update)


def test_spec_67_other_references_are_included_in_an_update_too() -> None:
    update = samples.update()
    update["entry"] = [entry for entry in update["entry"] if entry["resource"]["resourceType"] != "Coverage"]
    assert "Bundle.entry[0].resource.insurance[0].coverage.reference" in errors(update)
