"""$inquire: who may ask, what matches, and the two shapes of the answer."""

from __future__ import annotations

import copy
import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.fhir import wire
from adapters.fhir.wire import terms
from mappings.fhir_pas import read_request
from mappings.inquire import FoundCase, InquiryQuery, match_query, matches, render_inquiry_response
from tests.mappings.fhir import samples

DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "/nonexistent")) / "pas"
outside = pytest.mark.skipif(not DATA.exists(), reason="GATEWAY_OUTSIDE_DATA is not set")
Element = dict[str, Any]


def case(request: Element | None = None, **fields: Any) -> FoundCase:
    bundle = request or samples.request()
    facts, _, keys = read_request(bundle, samples.reception())
    defaults: Element = {
        "facts": facts,
        "decision": samples.decide("A1", bundle),
        "npis": keys.npis,
        "request_bundle": bundle,
        "numbers": ("OLD-5", "AUTH77"),
    }
    return FoundCase(**(defaults | fields))


def query(**changes: Any) -> InquiryQuery:
    return dataclasses.replace(match_query(samples.inquiry()), **changes)


def claim(bundle: Element) -> Element:
    return bundle["entry"][0]["resource"]


def test_member_and_provider_are_enough() -> None:
    assert matches(match_query(samples.inquiry()), case())


def test_spec_53_the_member_must_match() -> None:
    assert not matches(query(member_id="MEMBER78"), case())
    assert not matches(query(member_id=""), case())
    assert not matches(query(member_id="MEMBER78", numbers=(("authorization", "AUTH77"),)), case())


def test_spec_53_one_provider_must_match() -> None:
    assert not matches(query(npis=("9999999995",)), case())
    assert matches(query(npis=("9999999995", "2222222228")), case())


def test_spec_52_another_system_may_ask() -> None:
    rendering = query(npis=("2222222228",))
    assert matches(rendering, case())


def test_spec_47_an_old_number_finds_the_current_answer() -> None:
    inquiry = samples.inquiry()
    claim(inquiry)["extension"] = [{"url": terms.AUTHORIZATION_NUMBER, "valueString": "OLD-5"}]
    asked = match_query(inquiry)
    assert asked.keys == (("authorization", "OLD-5"),)
    assert matches(asked, case())
    answer = render_inquiry_response(inquiry, [case()], now=samples.DECIDED)
    assert "AUTH77" in str(claim(answer["parameter"][0]["resource"]))
    assert not matches(asked, case(numbers=("AUTH77",)))


def test_the_claim_identifier_is_no_search_key() -> None:
    inquiry = samples.inquiry()
    claim(inquiry)["identifier"][0]["value"] = "ANOTHER"
    assert match_query(inquiry) == match_query(samples.inquiry())


def test_spec_43_not_applicable_means_no_service() -> None:
    inquiry = samples.inquiry()
    absent = samples.item(1, "http") | {"productOrService": samples.concept(terms.DATA_ABSENT_CODES, "not-applicable")}
    absent["extension"] = []
    claim(inquiry)["item"] = [absent]
    assert match_query(inquiry).services == ()
    assert matches(match_query(inquiry), case())


def test_services_diagnoses_actions_and_dates_narrow() -> None:
    assert matches(query(services=("E0431",)), case())
    assert not matches(query(services=("X9999",)), case())
    assert not matches(query(diagnoses=("Z00.0",)), case())
    assert matches(query(actions=("A1",)), case())
    assert not matches(query(actions=("A3",)), case())
    assert matches(query(start="2026-02-10", end="2026-02-11"), case())
    assert not matches(query(start="2026-04-01", end="2026-04-02"), case())
    assert not matches(query(end="2026-01-31"), case())


def test_no_match_is_an_empty_answer() -> None:
    empty = render_inquiry_response(samples.inquiry(), [], now=samples.DECIDED)
    assert empty == {"resourceType": "Parameters"}
    assert wire.validate_resource(empty) == []
    bare = render_inquiry_response(samples.inquiry(), [], now=samples.DECIDED, version="2.0.1")
    assert bare["resourceType"] == "Bundle"
    assert "entry" not in bare
    assert wire.validate_resource(bare) == []


def test_each_case_is_a_return_bundle() -> None:
    answer = render_inquiry_response(samples.inquiry(), [case(), case()], now=samples.DECIDED)
    assert [row["name"] for row in answer["parameter"]] == ["return", "return"]
    assert wire.validate_resource(answer) == []
    for row in answer["parameter"]:
        assert wire.validate_response(row["resource"]) == []
        assert "communicationRequest" not in claim(row["resource"])


def test_pended_cases_bring_their_tasks() -> None:
    request = samples.request()
    asked = ({"fact": "a", "question": "?", "loinc": "28570-0"},)
    pending = case(request, decision=samples.decide("A4", request, requested_information=asked))
    answer = render_inquiry_response(samples.inquiry(), [pending], now=samples.DECIDED)
    kinds = [entry["resource"]["resourceType"] for entry in answer["parameter"][0]["resource"]["entry"]]
    assert "Task" in kinds
    assert "CommunicationRequest" not in kinds


def test_2_0_1_merges_into_one_bundle_with_answers_first() -> None:
    second = samples.request()
    found = [case(), case(second, decision=samples.decide("A1", second, case_id="case-2"))]
    bare = render_inquiry_response(samples.inquiry(), found, now=samples.DECIDED, version="2.0.1")
    kinds = [entry["resource"]["resourceType"] for entry in bare["entry"]]
    assert kinds[:2] == ["ClaimResponse", "ClaimResponse"]
    assert kinds.count("Patient") == 1
    urls = [entry["fullUrl"] for entry in bare["entry"]]
    assert len(urls) == len(set(urls))
    assert wire.validate_response(bare) == []


def test_spec_44_a_case_of_another_rail_says_why_no_claim_is_named() -> None:
    facts, _, keys = read_request(samples.request(), samples.reception())
    found = FoundCase(facts=facts, decision=samples.decide("A1", samples.request()), npis=keys.npis)
    for version in ("2.2.1", "2.0.1"):
        answer = render_inquiry_response(samples.inquiry("urn"), [found], now=samples.DECIDED, version=version)
        bundle = answer if version == "2.0.1" else answer["parameter"][0]["resource"]
        response = claim(bundle)
        assert response["request"] == {"extension": [{"url": terms.DATA_ABSENT, "valueCode": "unsupported"}]}
        assert [row["itemSequence"] for row in response["item"]] == [1, 2]
        assert wire.validate_response(bundle) == []


def test_spec_50_withheld_answers_are_said_with_a_way_to_ask() -> None:
    words = "Some authorizations are not shown; call 555 0199."
    for found in ([case()], []):
        answer = render_inquiry_response(samples.inquiry(), found, now=samples.DECIDED, withheld=words)
        assert words in str(answer)
        assert wire.validate_resource(answer) == []


def test_an_inquiry_is_not_changed() -> None:
    inquiry, found = samples.inquiry(), case()
    before = copy.deepcopy((inquiry, found))
    render_inquiry_response(inquiry, [found], now=samples.DECIDED, withheld="x")
    assert (inquiry, found) == before


@outside
def test_an_outside_inquiry_is_read() -> None:
    body = (DATA / "ig-2.2.1/Bundle-PASClaimInquiryBundleExample.json").read_bytes()
    asked = match_query(wire.parse(body, "json"))
    assert asked.member_id == "1122334455"
    assert asked.npis == ("8189991234",)
    assert asked.services == ("G0154", "B4184")
    assert asked.actions == ("A1",)
    assert not asked.numbers
