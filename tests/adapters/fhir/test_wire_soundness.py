"""The quick look never says yes where the models say no, and says yes to what is usually sent."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.fhir.wire import parse_json
from adapters.fhir.wire.soundness import is_sound
from adapters.fhir.wire.structure import model_issues
from gateway import samples
from tests.mappings.fhir import samples as requests

JUNK: list[Any] = [
    None, "", " ", "x", "2026-02-30", "2026-13", "2026-01-15", "10:00", "a b", "ä", "x" * 65, "http://x y",
    "urn:oid:9", 0, -1, 1, 1.5, 2**31, 2**70, Decimal("1.50"), Decimal("1E+400"), True, [], [None], [[]], ["x"],
    [1], {}, {"id": "x"}, {"x": 1}, {"resourceType": "Patient"}, {"resourceType": "Patient", "active": True},
    {"resourceType": "Nothing"}, {"extension": [{"url": "http://x"}]}, {"reference": "Patient/1"},
    {"value": Decimal("1.0")}, b"x", {"_id": {}},
]  # fmt: skip
"""Values of every JSON type, right and wrong for each kind of element."""
NAMES = [
    "id", "_id", "status", "_status", "value", "valueString", "valueBoolean", "birthDate__ext", "fhir_comments",
    "resourceType", "contained", "extension", "meta", "code", "x", "", "item", "_div", "resource_type",
]  # fmt: skip


def sources() -> list[dict[str, Any]]:
    """Sound Bundles of our own."""
    submitted = parse_json(samples.pas_submit("X1001", datetime(2026, 1, 15, tzinfo=UTC)).data)
    return [submitted, requests.request()]


SOURCES = sources()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value below a resource."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in members:
        yield (*path, name)
        yield from places(child, (*path, name))


PLACES = [list(places(source)) for source in SOURCES]


def holder(resource: Any, path: tuple[Any, ...]) -> Any:
    for step in path[:-1]:
        resource = resource[step]
    return resource


@pytest.mark.parametrize("number", range(len(SOURCES)))
def test_what_is_usually_sent_is_sound_at_once(number: int) -> None:
    assert is_sound(SOURCES[number])
    assert model_issues(SOURCES[number], "Bundle", "Bundle") == []


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_never_more_lenient_than_the_models(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(SOURCES) - 1))
    changed = copy.deepcopy(SOURCES[number])
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(PLACES[number]))
        try:
            inside = holder(changed, path)
            what = data.draw(st.sampled_from(["drop", "set", "add", "double"]))
            if what == "drop":
                del inside[path[-1]]
            elif what == "set":
                inside[path[-1]] = data.draw(st.sampled_from(JUNK))
            elif what == "double":
                inside[path[-1]] = [inside[path[-1]]] * 2
            elif isinstance(inside, dict):
                inside[data.draw(st.sampled_from(NAMES))] = data.draw(st.sampled_from(JUNK))
        except (KeyError, IndexError, TypeError):
            continue  # the first change took the second one's place away
    if is_sound(changed):
        assert model_issues(changed, "Bundle", "Bundle") == []


@pytest.mark.skipif("GATEWAY_OUTSIDE_DATA" not in os.environ, reason="GATEWAY_OUTSIDE_DATA is not set")
def test_guide_examples() -> None:
    folder = Path(os.environ["GATEWAY_OUTSIDE_DATA"]) / "pas"
    seen = quick = 0
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_bytes(), parse_float=Decimal)
        kind = content.get("resourceType") if isinstance(content, dict) else None
        if kind not in ("Bundle", "Claim", "ClaimResponse", "Patient", "Coverage", "Parameters", "Task"):
            continue
        seen += 1
        if is_sound(content):
            quick += 1
            assert model_issues(content, kind, kind) == [], path.name
    assert quick >= 0.8 * seen > 0
