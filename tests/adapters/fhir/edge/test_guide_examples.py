"""The guide's published requests through the running edge, and a strict client's traversal of every answer."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.fhir.edge.bundles import request_bundle
from tests.adapters.fhir.edge.fakes import World, running

OUTSIDE = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "/nonexistent")) / "pas"
needs_data = pytest.mark.skipif(not OUTSIDE.exists(), reason="GATEWAY_OUTSIDE_DATA is not set")
ABSOLUTE = re.compile(r"(urn:uuid:[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}|https?://[^/]+/.+)\Z")
SOUND = ("ReferralAuthorization", "HomecareAuthorization", "MedicalServicesAuthorization")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running(answer_seconds=5) as started:
        yield started


def references(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if isinstance(node.get("reference"), str):
            yield path, node["reference"]
        for name, child in node.items():
            yield from references(child, f"{path}.{name}")
    elif isinstance(node, list):
        for child in node:
            yield from references(child, path)


def traverse(bundle: dict[str, Any], request: dict[str, Any]) -> None:
    """Every reference reached from the ClaimResponse (but its request) is met exactly once, by absolute address."""
    assert bundle["type"] == "collection"
    assert bundle["identifier"]["value"]
    assert bundle["timestamp"]
    assert bundle["entry"][0]["resource"]["resourceType"] == "ClaimResponse"
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert all(ABSOLUTE.match(url) for url in urls)
    waiting, seen = [0], set()
    while waiting:
        number = waiting.pop()
        if number in seen:
            continue
        seen.add(number)
        for path, reference in references(bundle["entry"][number]["resource"]):
            if path == ".request" or reference.startswith("#"):
                continue
            assert urls.count(reference) == 1, (path, reference)
            waiting.append(urls.index(reference))
    originals = {entry["fullUrl"]: entry["resource"] for entry in request["entry"]}
    for entry in bundle["entry"]:
        if entry["fullUrl"] in originals:
            original = originals[entry["fullUrl"]]
            assert entry["resource"]["id"] == original["id"]
            assert entry["resource"].get("identifier") == original.get("identifier")
    asked = {item["sequence"] for item in request["entry"][0]["resource"].get("item", [])}
    assert {item["itemSequence"] for item in bundle["entry"][0]["resource"]["item"]} == asked


@pytest.mark.parametrize("action", ["A1", "A2", "A3", "A4", "A6", "C", "CT", "NA", "SLOW"])
async def test_every_answer_is_closed_and_complete(world: World, action: str) -> None:
    request = request_bundle(f"SVC-{action}", "SVC-A1")
    response = await world.submit(request)
    assert response.status_code == 200
    traverse(response.json(), request)
    assert response.json()["entry"][0]["resource"]["outcome"] in {"complete", "partial", "error"}


@needs_data
@pytest.mark.parametrize("name", SOUND)
async def test_the_guides_requests_are_approved_and_the_answers_closed(world: World, name: str) -> None:
    request = json.loads((OUTSIDE / "ig-2.2.1" / f"Bundle-{name}BundleExample.json").read_bytes())
    response = await world.submit(request)
    assert response.status_code == 200, response.text
    traverse(response.json(), request)
    assert response.json()["identifier"] == request["identifier"]
    assert response.json()["entry"][0]["resource"]["outcome"] == "complete"


@needs_data
async def test_an_example_whose_references_do_not_close_is_refused_strictly(world: World) -> None:
    body = (OUTSIDE / "ig-2.2.1" / "Bundle-SurgicalRequestBundleExample.json").read_bytes()
    response = await world.submit(body)
    assert response.status_code == 422
    assert all(issue["expression"] for issue in response.json()["issue"])
    assert world.accept.accepted == []
