"""Attachments → 275 → attachments: what is sent is what arrives, byte for byte, under the number the payer knows."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.x12.wire import Envelope, Loop, Separators, Transaction, guide, read, write
from adapters.x12.wire.registry import version_known
from gateway.core.errors import Unmappable
from mappings.attachment_to_x12_275 import Document, attachments, submitted, whole_request
from mappings.attachments import read_attachment
from mappings.x12_275_to_fhir import attachment_bundle
from mappings.x12_bundle import Transmission
from tests.mappings.fhir import samples
from tests.mappings.x12.bench import CASES, NOW, read_case

PAS = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "")) / "pas"
USUAL = Separators()
BUNDLE: dict[str, Any] = dict(read_case(CASES[0]).intakes[0].resource or {})


def sent(trees: list[Loop], separators: Separators = USUAL) -> list[Transaction]:
    """Written by the guide, and read again."""
    envelope = Envelope(
        sender="GATEWAY", receiver="PAYER", time=NOW, interchange_number=1, group_number=1, separators=separators
    )
    events = list(read([write(guide("275"), trees, envelope)]))
    found = [event for event in events if isinstance(event, Transaction)]
    assert [one.report.outcome for one in found] == ["accepted"] * len(trees)
    assert all(one.report.faults == [] for one in found)
    return found


def documents(transactions: list[Transaction]) -> list[dict[str, Any]]:
    """The DocumentReferences that our reader makes of 275s."""
    return [
        attachment_bundle(loop, Transmission(sender="S"), NOW)[0]["entry"][0]["resource"]
        for one in transactions
        for loop in one.tree.loops("2000A")
    ]


def test_a_whole_request_travels_as_base64_of_hl7_content() -> None:
    raw = json.dumps(BUNDLE).encode()
    (one,) = sent(attachments(BUNDLE, [whole_request(raw, "ACN-1")], now=NOW))
    loop = next(one.tree.loops("2000A"))
    assert loop.get("CAT", 2) == "HL"
    assert next(one.tree.descendants("2110B")).get("BDS", 1) == "B64"
    assert next(one.tree.descendants("2110B")).segment("BDS").binary() == base64.b64encode(raw)
    assert (loop.get("TRN", 1), loop.get("TRN", 2)) == ("1", "ACN-1")
    (document,) = documents([one])
    content = document["content"][0]["attachment"]
    assert base64.b64decode(content["data"]) == raw
    assert content["contentType"] == "application/fhir+json"
    assert document["identifier"][0]["value"] == "ACN-1"


def test_people_are_those_of_the_request() -> None:
    (one,) = sent(attachments(BUNDLE, [whole_request(b"{}", "ACN-1")], now=NOW))
    names = {name: one.tree.loop(name).segment("NM1") for name in ("1000A", "1000B", "1000C", "1000D")}
    assert [names[name].get(1) for name in sorted(names)] == ["PR", "41", "1P", "QC"]
    assert names["1000D"].get(8) == "MI"
    assert all(names[name].get(9) for name in names)
    assert one.tree.get("BGN", 1) == "02"


def test_what_was_asked_for_names_its_kind_and_the_payers_number() -> None:
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "TrackingId", "valueIdentifier": {"value": "ASKED-7"}},
            {"name": "AttachTo", "valueCode": "preauthorization"},
            {"name": "MemberId", "valueIdentifier": {"value": "M1"}},
            {
                "name": "Attachment",
                "part": [
                    {"name": "Code", "valueCodeableConcept": {"coding": [{"code": "34117-2"}]}},
                    {"name": "Content", "resource": {"resourceType": "DocumentReference", "status": "current"}},
                ],
            },
        ],
    }
    told = submitted(read_attachment(parameters))
    (one,) = sent(attachments(BUNDLE, told, now=NOW, reference="R1", solicited=True))
    assert (one.tree.get("BGN", 1), one.tree.get("BGN", 2)) == ("11", "R1")
    (document,) = documents([one])
    assert document["type"]["coding"][0]["code"] == "34117-2"
    assert document["identifier"][0]["value"] == "ASKED-7"
    assert json.loads(base64.b64decode(document["content"][0]["attachment"]["data"]))["status"] == "current"


def test_what_is_too_long_for_one_set_goes_into_several_and_never_in_part() -> None:
    parts = [Document(control_number=f"N{at}", content=bytes([65 + at]) * 300) for at in range(5)]
    trees = attachments(BUNDLE, parts, now=NOW, longest=900)
    assert [len(list(tree.loops("2000A"))) for tree in trees] == [2, 2, 1]
    found = documents(sent(trees))
    assert [base64.b64decode(one["content"][0]["attachment"]["data"]) for one in found] == [
        part.content for part in parts
    ]
    with pytest.raises(Unmappable):
        attachments(BUNDLE, parts, now=NOW, longest=300)


def test_a_request_without_its_people_has_no_275() -> None:
    claim = {**BUNDLE["entry"][0]["resource"], "insurer": {"reference": "urn:uuid:nobody"}}
    with pytest.raises(Unmappable):
        attachments(
            {**BUNDLE, "entry": [{"resource": claim}, *BUNDLE["entry"][1:]]}, [whole_request(b"{}", "1")], now=NOW
        )


def test_a_payer_known_by_a_number_of_its_own_is_named_by_it() -> None:
    bundle = samples.request("urn", (samples.item(1, "urn", "97110"),))
    (one,) = sent(attachments(bundle, [whole_request(b"{}", "ACN-1")], now=NOW))
    name = one.tree.loop("1000A").segment("NM1")
    assert (name.get(8), name.get(9)) == ("PI", "PAYER1")


MARKS = st.lists(st.sampled_from("*:^~|>+/=!\x1d\x1e\x1f\x1c"), min_size=4, max_size=4, unique=True)
"""The letters of base64 among them: binary data goes by its length."""


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.tuples(st.binary(max_size=400), st.from_regex(r"[A-Z0-9]{1,20}", fullmatch=True)), min_size=1, max_size=4
    ),
    MARKS,
)
def test_any_content_under_any_separators_arrives(parts: list[tuple[bytes, str]], marks: list[str]) -> None:
    given_ = [Document(control_number=number, content=b"x" + content) for content, number in parts]
    found = documents(sent(attachments(BUNDLE, given_, now=NOW), Separators(*marks)))
    assert [base64.b64decode(one["content"][0]["attachment"]["data"]) for one in found] == [
        one.content for one in given_
    ]
    assert [one["identifier"][0]["value"] for one in found] == [one.control_number for one in given_]


@pytest.mark.parametrize("version", ["005010X210", "005010X211"])
def test_the_version_a_partner_wants_is_one_we_read(version: str) -> None:
    assert version_known(version)
    envelope = Envelope(
        sender="GATEWAY", receiver="PAYER", time=NOW, interchange_number=1, group_number=1, version=version
    )
    data = write(guide("275"), attachments(BUNDLE, [whole_request(b"{}", "1")], now=NOW), envelope)
    (one,) = (event for event in read([data]) if isinstance(event, Transaction))
    assert (one.group.version, one.report.outcome) == (version, "accepted")


@pytest.mark.skipif(not os.environ.get("GATEWAY_OUTSIDE_DATA"), reason="GATEWAY_OUTSIDE_DATA is not set")
def test_outside_attachments_travel() -> None:
    count = 0
    for path in sorted(PAS.rglob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("resourceType") != "Parameters":
            continue
        if not {"TrackingId", "Attachment"} <= {row.get("name") for row in content["parameter"]}:
            continue
        told = submitted(read_attachment(content))
        found = documents(sent(attachments(BUNDLE, told, now=NOW, solicited=True)))
        assert [base64.b64decode(one["content"][0]["attachment"]["data"]) for one in found] == [
            one.content for one in told
        ]
        count += len(told)
    assert count > 1
