"""A case of any rail as the PAS request we submit to a payer: valid, closed, with its numbers, and the same again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.fhir import wire
from adapters.fhir.wire import terms
from adapters.fhir.wire.elements import certification_type, extension_value, identifier, rows
from gateway import samples as shipped
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import Unmappable
from mappings.claim_to_pas import Rendering, claim_first, request
from mappings.hl7_codec import Hl7Codec
from mappings.payer_278 import question
from mappings.x12_codec import X12Codec
from tests.mappings.fhir import samples

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HL7 = Path(__file__).parents[1] / "hl7" / "cases"
Element = dict[str, Any]


def reception(source: str) -> Reception:
    return Reception(tenant="t", source=source, received_at=NOW, client="c")


def of_x12(code: str = "X1001") -> Intake:
    data = shipped.request_278(code, NOW).data
    return X12Codec().read(Raw.of(data, "application/edi-x12"), reception("sftp/c")).intakes[0]


def of_hl7(name: str) -> Intake:
    data = (HL7 / name / "message.hl7").read_bytes().replace(b"\n", b"\r")
    return Hl7Codec().read(Raw.of(data, "x-application/hl7-v2+er7"), reception("mllp/c")).intakes[0]


def rendered(bundle: Element, identity: str = "case:2", **more: Any) -> Rendering:
    made = request(bundle, identity=identity, now=NOW, sender="US", receiver="PLAN", **more)
    issues = wire.validate_submit(made.bundle, version=more.get("version", "2.2.1"))
    assert [issue for issue in issues if issue.severity == "error"] == []
    for entry in made.bundle["entry"]:
        assert entry["fullUrl"].startswith(("urn:uuid:", "https://"))
    return made


@pytest.mark.parametrize("version", ["2.2.1", "2.0.1"])
@pytest.mark.parametrize(
    "intake",
    [of_x12(), of_hl7("rqa_i08_request"), of_hl7("ref_i12_referral"), of_hl7("rqa_i11_cancel")],
    ids=["278", "RQA", "REF", "RQA cancel"],
)
def test_every_rail_gives_a_request_that_pas_accepts(intake: Intake, version: str) -> None:
    assert intake.resource is not None
    made = rendered(intake.resource, kind=intake.type, version=version)
    before = next(e["resource"] for e in intake.resource["entry"] if e["resource"]["resourceType"] == "Claim")
    assert identifier(made.claim) == identifier(before)
    assert [row["sequence"] for row in made.claim["item"]] == [row["sequence"] for row in before["item"]]
    assert extension_value(made.claim, terms.TRANSMISSION_IDENTIFIERS) is None  # a complex one: its parts have values
    (parts,) = [row for row in made.claim["extension"] if row["url"] == terms.TRANSMISSION_IDENTIFIERS]
    assert {row["url"]: row["valueString"] for row in parts["extension"]}["interchangeSenderID"] == "US"
    assert (certification_type(made.claim) == "3") == (intake.type == "authorization.cancel")
    assert made.claim["status"] == "active"


@pytest.mark.parametrize("scheme", ["urn", "http"])
def test_a_pas_request_passes_whole_with_an_address_of_its_own(scheme: str) -> None:
    given = samples.request(scheme)
    made = rendered(given, whole=True)
    assert made.left_out == ()
    assert len(made.bundle["entry"]) == len(given["entry"])
    theirs = {entry["fullUrl"] for entry in given["entry"][1:]}
    assert {entry["fullUrl"] for entry in made.bundle["entry"][1:]} == theirs
    assert made.bundle["entry"][0]["fullUrl"] != given["entry"][0]["fullUrl"]
    assert rendered(given, whole=True).bundle == made.bundle
    other = rendered(given, "case:9", whole=True)
    assert other.bundle["identifier"] != made.bundle["identifier"]
    assert other.bundle["entry"][0]["fullUrl"] != made.bundle["entry"][0]["fullUrl"]


@pytest.mark.parametrize("scheme", ["urn", "http"])
def test_a_pas_update_continues_the_claim_as_the_payer_has_it(scheme: str) -> None:
    before = rendered(samples.request(scheme), whole=True)
    made = rendered(samples.update(scheme), "case:7", whole=True, prior=before.bundle)
    assert made.bundle["entry"][1] == before.bundle["entry"][0]
    assert made.claim["related"][0]["claim"]["reference"] == before.bundle["entry"][0]["fullUrl"]
    assert sum(entry["resource"]["resourceType"] == "Claim" for entry in made.bundle["entry"]) == 2
    assert set(made.sequences) >= {row["sequence"] for row in before.claim["item"]}


def test_an_update_of_another_rail_names_what_changed_by_the_payers_sequences() -> None:
    first = of_x12().resource
    assert first is not None
    prior = rendered(first).bundle
    other = samples.request("urn", (samples.item(1, "urn", "G0299"),))["entry"][0]["resource"]["item"][0]
    other["extension"] = [row for row in other["extension"] if row["url"] != terms.REQUESTED_SERVICE]
    for name in ("careTeamSequence", "diagnosisSequence", "informationSequence"):
        other.pop(name)
    second = of_x12().resource
    assert second is not None
    claim = second["entry"][0]["resource"]
    again = {**claim["item"][0], "sequence": 2}
    claim["item"] = [{**other, "sequence": 1}, again]
    made = rendered(second, "case:5", prior=prior)
    found = {row["sequence"]: row for row in made.claim["item"]}
    assert made.sequences == {1: 2, 2: 1}
    assert found[1]["productOrService"] == prior["entry"][0]["resource"]["item"][0]["productOrService"]
    assert extension_value(found[1], terms.INFO_CHANGED) == "changed"
    assert extension_value(found[2], terms.INFO_CHANGED) == "added"
    people = [entry["resource"]["resourceType"] for entry in made.bundle["entry"]]
    assert people.count("Patient") == 1  # the same person under the address of the first message


def test_a_cancel_of_another_rail_withdraws_every_item() -> None:
    first = of_x12().resource
    assert first is not None
    prior = rendered(first).bundle
    second = of_x12().resource
    assert second is not None
    del second["entry"][0]["resource"]["item"]
    made = rendered(second, "case:5", prior=prior, kind="authorization.cancel")
    assert certification_type(made.claim) == "3"
    assert [certification_type(row) for row in made.claim["item"]] == ["3"]
    assert rows(made.claim["item"][0], "modifierExtension")[0]["valueBoolean"] is True


def test_what_cannot_be_asked_is_said() -> None:
    bundle = samples.request("urn")
    with pytest.raises(Unmappable):
        request({**bundle, "entry": bundle["entry"][1:]}, identity="c", now=NOW)
    del bundle["entry"][0]["resource"]["insurer"]
    with pytest.raises(Unmappable):
        request(bundle, identity="c", now=NOW)


@pytest.mark.parametrize("name", ["rqa_i08_request", "ref_i12_referral"])
def test_hl7_requests_can_be_asked_over_x12_too(name: str) -> None:
    resource = of_hl7(name).resource
    assert resource is not None
    asked = question(claim_first(resource), now=NOW, trace_assigner="9012345678")
    assert len(list(next(asked.tree.descendants("2000E")).loops("2000F"))) == len(asked.record["sequences"])
    assert asked.record["trns"]
