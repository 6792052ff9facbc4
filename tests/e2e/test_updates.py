"""Updates of a PAS request through the whole gateway, and the same update again."""

from __future__ import annotations

import copy
from typing import Any

import httpx

from adapters.fhir import wire
from tests.e2e.running import Gateway
from tests.mappings.fhir import samples

PAS = "/fhir/pas/2.2.1/Claim/$submit"


def submit(gateway: Gateway, bundle: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(gateway.http + PAS, content=wire.serialize(bundle), headers=gateway.headers, timeout=30)
    assert answer.status_code == 200
    found = wire.parse(answer.content, "json")
    assert wire.validate_response(found) == []
    return found


def test_a_resent_update_gets_the_answer_of_the_case_it_joined(gateway: Gateway) -> None:
    first = samples.request(items=(samples.item(1, "http", "X1001"),))
    submit(gateway, first)
    change = copy.deepcopy(first)
    claim = change["entry"][0]["resource"]
    claim["id"] = samples.IDS["ParentClaim"]
    claim["item"][0]["productOrService"]["coding"][0]["code"] = "X1002"
    prior = samples.concept("http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship", "prior")
    claim["related"] = [{"claim": samples.reference("Claim", "http"), "relationship": prior}]
    change["entry"][0]["fullUrl"] = samples.url("ParentClaim", "http")
    change["entry"].insert(1, first["entry"][0])
    change["identifier"]["value"] = "SUB-UPDATE"
    answered = submit(gateway, change)
    assert answered["entry"][0]["resource"]["addItem"]
    assert submit(gateway, change)["entry"][0]["resource"] == answered["entry"][0]["resource"]
