"""The outside traversal objects to what it is there for: each mutation of a sound answer is found."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from adapters.fhir import wire
from mappings.decision_to_claimresponse import render
from tests.conformance import traversal
from tests.mappings.fhir import samples

Element = dict[str, Any]


def pair(scheme: str) -> tuple[Element, Element]:
    request = samples.request(scheme)
    answer = render(request, samples.decide("A6", request))
    return traversal.read(wire.serialize(request)), traversal.read(wire.serialize(answer))


@pytest.mark.parametrize("scheme", ["http", "urn"])
def test_a_sound_answer_has_no_problem(scheme: str) -> None:
    assert list(traversal.problems(*pair(scheme))) == []


def entry(answer: Element) -> Element:
    return next(row for row in answer["entry"] if row["resource"]["resourceType"] == "Patient")


def patient(answer: Element) -> Element:
    found: Element = entry(answer)["resource"]
    return found


def relative(answer: Element) -> None:
    answer["entry"][0]["resource"]["patient"]["reference"] = f"Patient/{patient(answer)['id']}"


MUTATIONS: dict[str, Callable[[Element], Any]] = {
    "a relative reference under a host with a port": relative,
    "a missing entry": lambda answer: answer["entry"].remove(entry(answer)),
    "an entry twice": lambda answer: answer["entry"].append(entry(answer)),
    "another id": lambda answer: patient(answer).update(id="other"),
    "another name": lambda answer: patient(answer).update(name=[]),
    "an identifier in other order": lambda answer: answer["identifier"].update(
        system=answer["identifier"].pop("system")
    ),
    "a sequence left out": lambda answer: answer["entry"][0]["resource"]["item"].pop(),
    "a trace number changed": lambda answer: answer["entry"][0]["resource"]["item"][0]["extension"].pop(0),
    "queued": lambda answer: answer["entry"][0]["resource"].update(outcome="queued"),
    "an oid as fullUrl": lambda answer: answer["entry"][0].update(fullUrl="urn:oid:1.2.3"),
    "the ClaimResponse later": lambda answer: answer["entry"].reverse(),
    "a transaction": lambda answer: answer.update(type="transaction"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_is_found(name: str) -> None:
    request, answer = copy.deepcopy(pair("http"))
    MUTATIONS[name](answer)
    assert list(traversal.problems(request, answer)), name


def test_digits_count() -> None:
    assert traversal.text(traversal.read(b'{"a":100.00}')) != traversal.text(traversal.read(b'{"a":100.0}'))
    assert json.loads(traversal.text(traversal.read(b'{"a":1}'))) == {"a": "1"}
