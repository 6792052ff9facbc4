"""PAS requests of an outside client, and answers that an outside suite has found nothing against."""

from __future__ import annotations

import copy
import re
import uuid
from typing import Any

import httpx

from adapters.fhir import wire
from adapters.fhir.wire import terms
from tests.conformance import traversal
from tests.e2e.running import Gateway
from tests.e2e.test_protocols import PAS
from tests.mappings.fhir import samples

Element = dict[str, Any]
INQUIRE = "/fhir/pas/2.2.1/Claim/$inquire"


def request(scheme: str, *codes: str) -> Element:
    """A request of its own with an item per service code, everything the profile marks mustSupport filled."""
    bundle = samples.request(scheme, tuple(samples.item(n, scheme, code) for n, code in enumerate(codes, 1)))
    claim, identity = response(bundle), str(uuid.uuid4())
    bundle["identifier"]["value"] = claim["identifier"][0]["value"] = f"T{uuid.uuid4().hex}"
    bundle["entry"][0]["fullUrl"] = bundle["entry"][0]["fullUrl"].replace(claim["id"], identity)
    claim["id"] = identity
    for item in claim["item"]:
        _own_numbers(item, identity)
    return bundle


def _own_numbers(item: Element, identity: str) -> None:
    """Numbers that no other case has: an update is found by them, too."""
    for row in item["extension"]:
        if row["url"] in (terms.AUTHORIZATION_NUMBER, terms.ADMINISTRATION_REFERENCE):
            row["valueString"] += identity[:8]


def update(
    before: Element, scheme: str, *, cancel: int = 0, add: str = "", certification: str = "", number: str = ""
) -> Element:
    """The next version: all items as they were, one of them withdrawn, one added; the prior Claim is included.

    `certification` stands on the whole Claim (UM02), and so does the `number` of an authorization (REF*BB).
    """
    bundle = copy.deepcopy(before)
    bundle["entry"] = [e for e in bundle["entry"] if e["resource"]["resourceType"] != "Claim"]
    bundle["identifier"]["value"] = f"U{uuid.uuid4().hex}"
    prior = copy.deepcopy(before["entry"][0])
    claim = copy.deepcopy(prior["resource"])
    identity = str(uuid.uuid4())
    claim["id"] = identity
    link = prior["fullUrl"] if scheme == "urn" else f"Claim/{prior['resource']['id']}"
    relationship = samples.concept("http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship", "prior")
    claim["related"] = [{"claim": {"reference": link}, "relationship": relationship}]
    for item in claim["item"]:
        if item["sequence"] == cancel:
            item["extension"] = [row for row in item["extension"] if row["url"] != terms.CERTIFICATION_TYPE]
            item["extension"] += [
                {"url": terms.CERTIFICATION_TYPE, "valueCodeableConcept": samples.x12("1322", "3")},
                {"url": terms.INFO_CHANGED, "valueCode": "changed"},
            ]
            item["modifierExtension"] = [{"url": terms.INFO_CANCELLED, "valueBoolean": True}]
    if add:
        claim["item"].append(samples.item(len(claim["item"]) + 1, scheme, add))
        claim["item"][-1]["extension"].append({"url": terms.INFO_CHANGED, "valueCode": "added"})
        _own_numbers(claim["item"][-1], identity)
    if certification:
        code = {"url": terms.CERTIFICATION_TYPE, "valueCodeableConcept": samples.x12("1322", certification)}
        claim["extension"].append(code)
    if number:
        claim["extension"].append({"url": terms.AUTHORIZATION_NUMBER, "valueString": number})
    full_url = f"urn:uuid:{identity}" if scheme == "urn" else f"{samples.BASES['http']}Claim/{identity}"
    bundle["entry"] = [{"fullUrl": full_url, "resource": claim}, prior, *bundle["entry"]]
    return bundle


def submit(gateway: Gateway, bundle: Element) -> Element:
    """The answer, once an outside suite would have found nothing against it.

    On a busy machine a decision may miss the twelve seconds: the same bytes again then get it.
    """
    sent = wire.serialize(bundle)
    undecided = {"X1005", "X1009", "X1010", "X1011", "X1012"} & set(re.findall(r"X10\d\d", sent.decode()))
    for _ in range(4):
        answer = httpx.post(gateway.http + PAS, content=sent, headers=gateway.headers, timeout=30)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/fhir+json")
        assert list(traversal.problems(traversal.read(sent), traversal.read(answer.content))) == []
        if undecided or b'"A4"' not in answer.content:
            break
    return wire.parse(answer.content, "json")


def response(bundle: Element) -> Element:
    found: Element = bundle["entry"][0]["resource"]
    return found


def inquire(gateway: Gateway, number: str = "", **changes: str) -> list[Element]:
    """The Bundles that answer an inquiry by member and provider, or by authorization number."""
    inquiry = samples.inquiry()
    if number:
        response(inquiry)["extension"] = [{"url": terms.AUTHORIZATION_NUMBER, "valueString": number}]
    sent = wire.serialize(inquiry)
    for before, after in changes.items():
        sent = sent.replace(before.encode(), after.encode())
    answer = httpx.post(gateway.http + INQUIRE, content=sent, headers=gateway.headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return [row["resource"] for row in wire.parse(answer.content, "json").get("parameter", ())]
