"""PAS profile rules: a sound request has no issue; one mutation gives one named issue; optional elements may go."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.fhir import wire
from adapters.fhir.wire import terms
from gateway.core.errors import Issue
from tests.mappings.fhir import samples

DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "/nonexistent")) / "pas"
outside = pytest.mark.skipif(not DATA.exists(), reason="GATEWAY_OUTSIDE_DATA is not set")

Bundle = dict[str, Any]
Mutation = Callable[[Bundle], None]


def claim(bundle: Bundle) -> dict[str, Any]:
    return bundle["entry"][0]["resource"]


def resource(bundle: Bundle, kind: str) -> dict[str, Any]:
    return next(entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind)


def without_extension(element: dict[str, Any], url: str) -> None:
    element["extension"] = [row for row in element["extension"] if row["url"] != url]


def errors(issues: list[Issue]) -> list[Issue]:
    return [issue for issue in issues if issue.severity == "error"]


@pytest.mark.parametrize("scheme", ["http", "urn"])
def test_sound_requests_have_no_issue(scheme: str) -> None:
    assert wire.validate_submit(samples.request(scheme)) == []
    assert wire.validate_submit(samples.update(scheme)) == []
    assert wire.validate_submit(samples.request(scheme), version="2.0.1") == []
    assert wire.validate_inquire(samples.inquiry(scheme)) == [] or not errors(
        wire.validate_inquire(samples.inquiry(scheme))
    )


HARD: dict[str, tuple[Mutation, str]] = {
    "no entries": (lambda b: b.update(entry=[]), "Bundle.entry"),
    "entry missing": (lambda b: b.pop("entry"), "Bundle.entry"),
    "not a Bundle": (lambda b: b.update(resourceType="Claim"), "Bundle"),
    "transaction": (lambda b: b.update(type="transaction"), "Bundle.type"),
    "first entry not the Claim": (lambda b: b["entry"].reverse(), "Bundle.entry[0].resource"),
    "double supportingInfo.sequence": (
        lambda b: claim(b)["supportingInfo"][1].update(sequence=1),
        "Bundle.entry[0].resource.supportingInfo[1].sequence",
    ),
    "double item.sequence": (
        lambda b: claim(b)["item"][1].update(sequence=1),
        "Bundle.entry[0].resource.item[1].sequence",
    ),
    "no items": (lambda b: claim(b).pop("item"), "Bundle.entry[0].resource.item"),
    "unknown modifier": (
        lambda b: claim(b)["item"][0].update(modifierExtension=[{"url": "http://x.test/m", "valueBoolean": True}]),
        "Bundle.entry[0].resource.item[0].modifierExtension[0]",
    ),
    "the same resource twice": (lambda b: b["entry"].append(b["entry"][3]), "Bundle.entry[11].fullUrl"),
    "wrong type": (lambda b: claim(b).update(patient=5), "Bundle.entry[0].resource.patient"),
    "unknown element": (lambda b: claim(b).update(nope=5), "Bundle.entry[0].resource"),
    "unknown resource": (lambda b: b["entry"][3]["resource"].update(resourceType="Nope"), "Bundle.entry[3].resource"),
    "wrong date": (
        lambda b: resource(b, "Patient").update(birthDate="yesterday"),
        "Bundle.entry[4].resource.birthDate",
    ),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_rules_are_errors_in_both_modes(name: str) -> None:
    mutate, where = HARD[name]
    for strict in (True, False):
        bundle = copy.deepcopy(samples.request())
        mutate(bundle)
        found = errors(wire.validate_submit(bundle, strict=strict))
        assert where in [issue.location for issue in found]


def drop_entry(kind: str) -> Mutation:
    def mutate(bundle: Bundle) -> None:
        bundle["entry"] = [entry for entry in bundle["entry"] if entry["resource"]["resourceType"] != kind]

    return mutate


CLAIM = "Bundle.entry[0].resource"
PROFILE: dict[str, tuple[Mutation, str]] = {
    "no identifier": (lambda b: b.pop("identifier"), "Bundle.identifier"),
    "no timestamp": (lambda b: b.pop("timestamp"), "Bundle.timestamp"),
    "entry with request": (
        lambda b: b["entry"][1].update(request={"method": "POST", "url": "Organization"}),
        "Bundle.entry[1].request",
    ),
    "no fullUrl": (lambda b: b["entry"][8].pop("fullUrl"), "Bundle.entry[8].fullUrl"),
    "bad uuid": (lambda b: b["entry"][9].update(fullUrl="urn:uuid:12"), "Bundle.entry[9].fullUrl"),
    "oid": (lambda b: b["entry"][9].update(fullUrl="urn:oid:1.2.3"), "Bundle.entry[9].fullUrl"),
    "dangling reference": (drop_entry("Location"), "Bundle.entry[5].resource.location[0].reference"),
    "status": (lambda b: claim(b).update(status="cancelled"), f"{CLAIM}.status"),
    "use": (lambda b: claim(b).update(use="claim"), f"{CLAIM}.use"),
    "claim identifier": (lambda b: claim(b).pop("identifier"), f"{CLAIM}.identifier"),
    "focal": (lambda b: claim(b)["insurance"][0].update(focal=False), f"{CLAIM}.insurance[0].focal"),
    "category": (lambda b: claim(b)["item"][1].pop("category"), f"{CLAIM}.item[1].category"),
    "location": (lambda b: claim(b)["item"][0].pop("locationCodeableConcept"), f"{CLAIM}.item[0].location"),
    "request type": (
        lambda b: without_extension(claim(b)["item"][0], terms.REQUEST_TYPE),
        f"{CLAIM}.item[0].extension('{terms.REQUEST_TYPE}')",
    ),
    "month only": (
        lambda b: claim(b)["item"][0].update(servicedPeriod={"start": "2026-02"}),
        f"{CLAIM}.item[0].serviced.start",
    ),
    "document information": (
        lambda b: claim(b)["supportingInfo"][0].pop("extension"),
        f"{CLAIM}.supportingInfo[0].extension('{terms.DOCUMENT_INFORMATION}')",
    ),
    "admission without a date": (
        lambda b: claim(b)["supportingInfo"][2].pop("timingPeriod"),
        f"{CLAIM}.supportingInfo[2].timing",
    ),
    "dependent without subscriber": (
        lambda b: resource(b, "Coverage").update(relationship=samples.x12("1069", "19")),
        "Bundle.entry[3].resource.subscriber",
    ),
    "coverage without member number": (
        lambda b: resource(b, "Coverage").pop("identifier"),
        "Bundle.entry[3].resource.identifier.where(type.coding.code='MB')",
    ),
    "immediate appeal without level": (
        lambda b: claim(b).update(item=[samples.item(1, "http", certification="1")], extension=[]),
        f"{CLAIM}.extension('{terms.LEVEL_OF_SERVICE}')",
    ),
    "a second Claim nobody updates": (
        lambda b: b["entry"].append({"fullUrl": "http://x.test/Claim/9", "resource": claim(b) | {"id": "9"}}),
        "Bundle.entry[11]",
    ),
}


@pytest.mark.parametrize("name", PROFILE)
def test_profile_rules_are_errors_in_strict_mode_and_warnings_in_lenient(name: str) -> None:
    mutate, where = PROFILE[name]
    bundle = copy.deepcopy(samples.request())
    mutate(bundle)
    assert where in [issue.location for issue in errors(wire.validate_submit(bundle))]
    lenient = wire.validate_submit(bundle, strict=False)
    assert not errors(lenient)
    assert where in [issue.location for issue in lenient]


def test_item_rules_of_2_1_do_not_bind_2_0_1() -> None:
    bundle = samples.request()
    item = claim(bundle)["item"][0]
    item.pop("category"), item.pop("locationCodeableConcept")
    item["extension"] = []
    assert not errors(wire.validate_submit(bundle, version="2.0.1"))


def test_a_document_by_address_is_a_warning() -> None:
    bundle = samples.request()
    resource(bundle, "DocumentReference")["content"][0].update(attachment={"url": "http://x.test/1"})
    found = wire.validate_submit(bundle)
    assert {issue.location.rpartition(".")[2] for issue in found} == {"data", "url"}
    assert not errors(found)


def test_inquiries_need_only_the_references_they_search_by() -> None:
    inquiry = samples.inquiry()
    claim(inquiry)["supportingInfo"] = [
        {"sequence": 1, "category": samples.concept(terms.PAS_CODES, "x"), "valueReference": {"reference": "Basic/1"}}
    ]
    found = wire.validate_inquire(inquiry)
    assert [issue.severity for issue in found if issue.code == "reference"] == ["warning"]
    inquiry["entry"] = [entry for entry in inquiry["entry"] if entry["resource"]["resourceType"] != "Patient"]
    assert f"{CLAIM}.patient.reference" in [issue.location for issue in errors(wire.validate_inquire(inquiry))]


UPDATES: dict[str, tuple[Mutation, str]] = {
    "an item of the prior Claim is gone": (lambda b: claim(b)["item"].pop(0), f"{CLAIM}.item"),
    "a document of the prior Claim is gone": (lambda b: claim(b)["supportingInfo"].pop(), f"{CLAIM}.supportingInfo"),
    "prior Claim not in the Bundle": (lambda b: b["entry"].pop(1), f"{CLAIM}.related[0].claim.reference"),
    "not prior": (
        lambda b: claim(b)["related"][0].update(relationship=samples.concept("http://x.test", "associated")),
        f"{CLAIM}.related[0].relationship",
    ),
    "two prior Claims": (lambda b: claim(b)["related"].append(claim(b)["related"][0]), f"{CLAIM}.related"),
}


@pytest.mark.parametrize("name", UPDATES)
def test_update_rules(name: str) -> None:
    mutate, where = UPDATES[name]
    bundle = copy.deepcopy(samples.update())
    mutate(bundle)
    assert where in [issue.location for issue in errors(wire.validate_submit(bundle))]


def test_the_parent_of_the_prior_claim_need_not_be_there() -> None:
    bundle = samples.update()
    bundle["entry"][1]["resource"]["related"] = [{"claim": {"reference": "Claim/grandparent"}}]
    assert wire.validate_submit(bundle) == []


def test_cancelling_all_needs_no_items() -> None:
    bundle = samples.update()
    certification = {"url": terms.CERTIFICATION_TYPE, "valueCodeableConcept": samples.x12("1322", "3")}
    claim(bundle)["extension"].append(certification)
    assert not errors(wire.validate_submit(bundle))
    claim(bundle).pop("item")
    assert not errors(wire.validate_submit(bundle))


def test_changed_is_accepted_where_added_is_meant() -> None:
    bundle = samples.update()
    claim(bundle)["item"][2]["extension"][-1]["valueCode"] = "changed"
    assert not errors(wire.validate_submit(bundle))


MANDATORY = {
    "Bundle": {"resourceType", "type", "identifier", "timestamp", "entry"},
    "Claim": {
        "resourceType", "identifier", "status", "type", "use", "patient", "created", "insurer", "provider", "priority",
        "insurance", "item",
    },
}  # fmt: skip


def optional_paths(bundle: Bundle) -> list[tuple[int, str]]:
    """(entry, element) of every top-level element that cardinality lets go."""
    needed = {
        "Claim": MANDATORY["Claim"],
        "Coverage": {"resourceType", "identifier", "status", "beneficiary", "payor"},
        "DocumentReference": {"resourceType", "status", "content"},
        "ServiceRequest": {"resourceType", "status", "intent", "subject"},
        "Observation": {"resourceType", "status", "code"},
        "Patient": {"resourceType"},
        "Organization": {"resourceType", "name"},
        "Practitioner": {"resourceType", "name"},
    }
    return [
        (number, name)
        for number, entry in enumerate(bundle["entry"])
        for name in entry["resource"]
        if name not in needed.get(entry["resource"]["resourceType"], {"resourceType"}) and name != "id"
    ]


@pytest.mark.parametrize(("number", "name"), optional_paths(samples.request("urn")))
def test_conf_14_any_optional_element_may_be_left_out(number: int, name: str) -> None:
    bundle = samples.request("urn")
    del bundle["entry"][number]["resource"][name]
    assert not errors(wire.validate_submit(bundle))


OPTIONAL_IN_ITEM = [
    name
    for name in samples.item(1, "urn")
    if name not in ("sequence", "category", "productOrService", "locationCodeableConcept", "extension")
]


@pytest.mark.parametrize("name", OPTIONAL_IN_ITEM)
def test_conf_14_any_optional_element_of_an_item_may_be_left_out(name: str) -> None:
    bundle = samples.request("urn")
    del claim(bundle)["item"][0][name]
    assert not errors(wire.validate_submit(bundle))


CLEAN = ("Referral", "Homecare", "HomecareAuthorizationUpdate", "MedicalServices")


@outside
@pytest.mark.parametrize("path", sorted(DATA.glob("ig-2.*/Bundle-*.json")), ids=lambda path: path.stem)
def test_outside_bundles_are_judged_as_labelled(path: Path) -> None:
    labels = {
        row.split("\t")[0]: row.split("\t")[4].strip() for row in (DATA / "INDEX.tsv").read_text().splitlines()[1:]
    }
    label = labels[f"{path.parent.name}/{path.name}"]
    bundle = wire.parse(path.read_bytes(), "application/fhir+json")
    version = path.parent.name.removeprefix("ig-")
    kind = bundle["entry"][0]["resource"]["resourceType"]
    if kind == "Parameters":
        bundle = bundle["entry"][1]["resource"]
        kind = "ClaimResponse"
    if kind == "ClaimResponse":
        found = errors(wire.validate_response(bundle))
    elif "Inquiry" in path.name:
        found = errors(wire.validate_inquire(bundle, version=version))
    else:
        found = errors(wire.validate_submit(bundle, version=version))
    assert (label == "clean") == (found == [])
    assert {issue.code for issue in found} <= {"reference"}


@outside
def test_every_element_of_an_outside_request_may_be_left_out_or_is_mandatory() -> None:
    body = (DATA / "ig-2.2.1/Bundle-ReferralAuthorizationBundleExample.json").read_bytes()
    bundle = wire.parse(body, "json")
    for number, name in optional_paths(bundle):
        trimmed = copy.deepcopy(bundle)
        del trimmed["entry"][number]["resource"][name]
        assert not errors(wire.validate_submit(trimmed)), (number, name)


def test_issues_never_repeat_content() -> None:
    bundle = samples.request()
    resource(bundle, "Patient").update(gender=7, birthDate="SECRET", SECRET=1)
    issues = wire.validate_submit(bundle)
    assert issues
    assert "SECRET" not in str(issues)


def test_one_operation_outcome_for_many_issues() -> None:
    bundle = samples.request()
    claim(bundle).update(status="draft", use="claim")
    bundle.pop("timestamp")
    outcome = wire.operation_outcome(wire.validate_submit(bundle))
    assert wire.validate_resource(outcome) == []
    assert {row["expression"][0] for row in outcome["issue"]} == {f"{CLAIM}.status", f"{CLAIM}.use", "Bundle.timestamp"}
