"""FhirCodec: golden cases (input beside expectation, failures too), keys, and what resends and changes do to them."""

from __future__ import annotations

import copy
import json
import os
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.fhir import wire
from gateway.core.envelope import Raw
from gateway.core.errors import Unavailable
from gateway.core.ports import Reading
from mappings.fhir_codec import FhirCodec
from mappings.fhir_pas import RequestKeys, read_request
from tests.mappings.fhir import samples

CASES = sorted((Path(__file__).parent / "cases").iterdir())
DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "/nonexistent")) / "pas"


def read(body: bytes, media_type: str = "application/fhir+json", **codec: Any) -> Reading:
    return FhirCodec(**codec).read(Raw.of(body, media_type), samples.reception())


def seen(reading: Reading) -> dict[str, Any]:
    """What a golden case compares: messages, and the answer given once they are durable."""
    answer = reading.answer(None)
    return {
        "refused": reading.refused,
        "intakes": [
            {
                "type": intake.type,
                "natural_key": list(intake.natural_key),
                "case_key": list(intake.case_key),
                "ordering_key": list(intake.ordering_key),
                "facts": intake.facts,
                "ledger": intake.ledger.summary() if intake.ledger else None,
                "reply": intake.reply,
            }
            for intake in reading.intakes
        ],
        "answer": wire.parse(answer, "json") if answer else None,
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden(case: Path) -> None:
    settings = json.loads((case / "codec.json").read_text()) if (case / "codec.json").exists() else {}
    source = next(case.glob("input.*"))
    media_type = "application/fhir+xml" if source.suffix == ".xml" else "application/fhir+json"
    got = json.loads(wire.serialize(seen(read(source.read_bytes(), media_type, **settings))))
    expectation = case / "expected.json"
    if os.environ.get("UPDATE_GOLDEN"):
        expectation.write_text(json.dumps(got, indent=1, ensure_ascii=False) + "\n")
    assert got == json.loads(expectation.read_text())
    if got["answer"]["resourceType"] != "OperationOutcome":
        assert wire.validate_response(got["answer"]) == []
    else:
        assert wire.validate_resource(got["answer"]) == []


def keys(bundle: dict[str, Any], client: str = "clinic-a", **attributes: str) -> RequestKeys:
    return read_request(
        bundle, samples.reception(client, **attributes), body_sha256=Raw.of(wire.serialize(bundle), "").sha256
    )[2]


def test_the_same_bytes_are_the_same_message_and_case() -> None:
    assert keys(samples.request()) == keys(samples.request())


def test_the_same_bundle_identifier_with_other_content_is_another_message_and_case() -> None:
    other = samples.request(items=(samples.item(1, "http", "E0431"),))
    first, second = keys(samples.request()), keys(other)
    assert first.natural_key[:4] == second.natural_key[:4]
    assert first.natural_key != second.natural_key
    assert first.case_key != second.case_key


def test_a_rebuilt_request_is_another_message_of_the_same_case() -> None:
    again = samples.request() | {"timestamp": "2026-01-15T12:30:00Z", "id": "new"}
    first, second = keys(samples.request()), keys(again)
    assert first.natural_key != second.natural_key
    assert first.case_key == second.case_key
    assert first.content_hash == second.content_hash


def test_clients_and_members_never_share_a_case() -> None:
    first = keys(samples.request())
    assert keys(samples.request(), "clinic-b").case_key != first.case_key
    other = samples.request()
    other["entry"][3]["resource"]["identifier"][0]["value"] = "MEMBER78"
    assert keys(other).case_key != first.case_key


def test_patients_without_a_member_number_are_told_apart() -> None:
    found = set()
    for birth in ("1980-01-01", "1990-01-01"):
        bundle = samples.request()
        coverage = bundle["entry"][3]["resource"]
        coverage.pop("identifier"), coverage.pop("subscriberId")
        patient = bundle["entry"][4]["resource"]
        patient.pop("identifier")
        patient["birthDate"] = birth
        found.add(keys(bundle).case_key)
    assert len(found) == 2


def test_an_idempotency_key_is_the_message_key() -> None:
    first = keys(samples.request(), **{"idempotency-key": "k1"})
    other = keys(samples.request(items=(samples.item(1, "http"),)), **{"idempotency-key": "k1"})
    assert first.natural_key == other.natural_key == ("fhir-pas", "clinic-a", "key", "k1")


def test_an_update_joins_the_case_of_its_prior_claim() -> None:
    first = samples.request()
    change = samples.update()
    change["entry"][1] = copy.deepcopy(first["entry"][0])
    change["entry"][0]["fullUrl"] = samples.url("ParentClaim", "http")
    change["entry"][0]["resource"]["id"] = samples.IDS["ParentClaim"]
    change["entry"][0]["resource"]["related"][0]["claim"] = samples.reference("Claim", "http")
    assert wire.validate_submit(change) == []
    initial, later = keys(first), keys(change)
    assert later.type == "authorization.update"
    assert later.case_key == initial.case_key
    assert set(later.parents) & set(initial.aliases) >= set(initial.aliases[:2])
    assert later.ordering_key == initial.ordering_key
    third = samples.update()
    third["entry"][1] = copy.deepcopy(change["entry"][0])
    third["entry"][0]["resource"]["related"][0]["claim"] = samples.reference("ParentClaim", "http")
    third["entry"][0]["resource"]["id"] = samples.IDS["Role"]
    third["entry"][0]["fullUrl"] = "https://ehr.test:8443/fhir/Claim/third"
    last = keys(third)
    assert last.parents[0] in later.aliases
    assert last.ordering_key == initial.ordering_key


@pytest.mark.skipif(not DATA.exists(), reason="GATEWAY_OUTSIDE_DATA is not set")
def test_an_outside_update_joins_its_outside_request() -> None:
    names = ("HomecareAuthorization", "HomecareAuthorizationUpdate")
    found = [
        keys(wire.parse((DATA / f"ig-2.2.1/Bundle-{name}BundleExample.json").read_bytes(), "json")) for name in names
    ]
    assert set(found[1].parents) & set(found[0].aliases)


def test_nothing_is_published_before_the_answer_is_asked_and_a_failure_of_ours_says_so() -> None:
    reading = read(wire.serialize(samples.request()))
    answer = json.loads(reading.answer(Unavailable()) or b"")
    assert answer["resourceType"] == "OperationOutcome"
    assert answer["issue"][0]["code"] == "transient"


def test_xml_in_gives_the_same_facts_and_xml_out() -> None:
    bundle = samples.request()
    in_json = read(wire.serialize(bundle)).intakes[0]
    in_xml = read(wire.to_xml(bundle), "application/fhir+xml", accept="application/fhir+xml")
    assert in_xml.intakes[0].facts == in_json.facts
    assert in_xml.intakes[0].case_key == in_json.case_key
    assert wire.parse(in_xml.answer(None) or b"", "xml")["type"] == "collection"


def test_every_leaf_of_a_request_has_a_fate() -> None:
    bundle = samples.request()
    bundle["entry"][4]["resource"]["extension"] = [{"url": "https://vendor.test/x", "valueString": "y"}]
    ledger = read(wire.serialize(bundle)).intakes[0].ledger
    assert ledger is not None
    counts = ledger.counts()
    assert counts["unknown"] == 0
    assert counts["carried"] == 1
    assert counts["mapped"] > 200


@settings(deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_whatever_is_sent_the_codec_answers(body: bytes) -> None:
    for operation in ("submit", "submit-attachment", "intake"):
        reading = read(body, operation=operation)
        assert reading.refused
        assert json.loads(reading.answer(None) or b"")["resourceType"] == "OperationOutcome"


JUNK: list[Any] = [
    None, True, 0, -1, "", "a", "Claim/1", "#x", "urn:uuid:1", "2026-01-01", [], {}, [None], [[]], [{}], {"a": 1},
    {"reference": "#"}, {"reference": ""}, {"coding": []}, {"coding": [{"code": ""}]}, {"resourceType": "Patient"},
    {"resourceType": "Nope"}, {"value": None}, {"identifier": {"value": "x"}}, {"extension": []}, 10**17,
]  # fmt: skip
SOURCES = (samples.request, samples.update, samples.inquiry)


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every place below a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, child in pairs for place in [(value, key), *places(child)]]


def test_an_address_that_is_none_is_not_repeated_in_the_answer() -> None:
    """Lenient mode lets it in; in our Bundle it would mean nothing, or something else."""
    bundle = samples.request()
    patient = next(entry for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Patient")
    patient["fullUrl"] = bundle["entry"][0]["resource"]["patient"]["reference"] = "Claim/1"
    answer = wire.parse(read(wire.serialize(bundle), strict=False).answer(None) or b"", "json")
    assert answer["resourceType"] == "Bundle"
    assert wire.validate_response(answer) == []


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")), deadline=None)
@given(st.randoms(use_true_random=False))
def test_odd_shapes_are_refused_or_answered_soundly(pick: random.Random) -> None:
    bundle = pick.choice(SOURCES)(pick.choice(["http", "urn"]))
    for _ in range(pick.choice([1, 1, 2, 4])):
        container, key = pick.choice(places(bundle))
        if pick.random() < 0.3:
            del container[key]
        else:
            container[key] = copy.deepcopy(pick.choice(JUNK))
        if not places(bundle):
            return
    for operation in ("submit", "intake", "submit-attachment"):
        reading = read(wire.serialize(bundle), operation=operation, strict=False)
        given_answer = wire.parse(reading.answer(None) or b"", "json")
        assert wire.validate_resource(given_answer) == []
        assert not wire.closure(given_answer, skip=frozenset({"request"})).dangling
        for intake in reading.intakes:
            orjson.dumps(intake.facts)
