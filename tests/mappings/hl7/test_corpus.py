"""It converts or gives a typed error, it validates, it loses nothing."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest
from fhir.resources.R4B.bundle import Bundle

from gateway.core.errors import GatewayError, Unmappable
from mappings.hl7_to_fhir import convert
from tests.mappings.hl7.corpus import CASES, Sample, _messages, outside, plain

OWN = tuple(sample for path in sorted(CASES.rglob("message.hl7")) for sample in _messages(path))
ALL = [pytest.param(sample, id=sample.name) for sample in (*OWN, *outside())]
MAPPED_AT_LEAST = 0.9
SEGMENTS = ("PID", "PV1", "IN1", "DG1", "PR1", "OBR", "OBX", "RF1", "AUT", "PRD")
UNMAPPED_TYPES = {"ACK", "ERP", "QBP", ""}


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["reference"]] if isinstance(node.get("reference"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    if isinstance(node, list):
        return [found for value in node for found in _references(value)]
    return []


@pytest.mark.parametrize("sample", ALL)
def test_converts_or_says_why_not(sample: Sample) -> None:
    message = sample.message()
    if message.code in UNMAPPED_TYPES:
        with pytest.raises(Unmappable):
            convert(message)
        return
    conversion = convert(message)
    bundle = conversion.bundle
    Bundle.model_validate(plain(bundle))
    assert bundle["type"] == "message"
    assert bundle["entry"][0]["resource"]["resourceType"] == "MessageHeader"
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(set(urls)) == len(urls)
    assert not [found for found in _references(bundle) if found.startswith("urn:uuid:") and found not in urls]
    # The ledger has each populated leaf once, in whatever order, and nothing else.
    assert Counter(entry.path for entry in conversion.ledger.entries) == Counter(path for path, _ in message.leaves())
    fates = Counter(entry.fate for entry in conversion.ledger.entries)
    assert conversion.ledger.counts() == {fate: fates[fate] for fate in ("mapped", "carried", "ignored", "unknown")}
    again = convert(sample.message())
    assert orjson.dumps(again.bundle, default=str) == orjson.dumps(bundle, default=str)
    assert again.ledger.entries == conversion.ledger.entries


def _shares(samples: tuple[Sample, ...]) -> dict[str, Counter[str]]:
    shares: dict[str, Counter[str]] = {}
    for sample in samples:
        try:
            entries = convert(sample.message()).ledger.entries
        except GatewayError:
            continue
        for entry in entries:
            shares.setdefault(entry.path[:3], Counter())[entry.fate] += 1
    return shares


@pytest.mark.skipif(not outside(), reason="GATEWAY_OUTSIDE_DATA is not set")
@pytest.mark.parametrize("segment", SEGMENTS)
def test_nine_tenths_of_the_leaves_are_mapped(segment: str) -> None:
    share = _shares(outside())[segment]
    assert share["mapped"] / sum(share.values()) >= MAPPED_AT_LEAST, dict(share)


@pytest.mark.skipif(not outside(), reason="GATEWAY_OUTSIDE_DATA is not set")
def test_the_corpus_is_all_there() -> None:
    converted = Counter(sample.message().code for sample in outside())
    assert {"ADT", "ORU", "RQA", "REF", "RPA", "RRI", "MDM", "SIU", "MFN", "OML", "DFT", "RDE", "PPR"} <= set(converted)
