"""FHIR XML ↔ JSON, and the attacks XML invites."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from adapters.fhir import wire
from gateway.core.errors import InvalidMessage, LimitExceeded, MalformedMessage
from tests.mappings.fhir import samples

DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "/nonexistent")) / "pas"
FILES = sorted(path for path in DATA.glob("*/*.json") if not path.name.startswith("CRDService"))


def canonical(value: Any) -> Any:
    """Narratives compared as XML, not as text: `<br/>` equals `<br></br>`."""
    if isinstance(value, dict):
        return {
            name: etree.tostring(etree.fromstring(child), method="c14n2") if name == "div" else canonical(child)
            for name, child in value.items()
        }
    return [canonical(child) for child in value] if isinstance(value, list) else value


def there_and_back(resource: dict[str, Any]) -> dict[str, Any]:
    return wire.parse(wire.serialize(resource, "application/fhir+xml"), "application/fhir+xml")


@pytest.mark.parametrize("scheme", ["http", "urn"])
@pytest.mark.parametrize("build", [samples.request, samples.update, samples.inquiry])
def test_samples_survive_xml(build: Any, scheme: str) -> None:
    bundle = build(scheme)
    assert there_and_back(bundle) == bundle


@pytest.mark.skipif(not FILES, reason="GATEWAY_OUTSIDE_DATA is not set")
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_outside_examples_survive_xml(path: Path) -> None:
    resource = wire.parse(path.read_bytes(), "application/fhir+json")
    assert canonical(there_and_back(resource)) == canonical(resource)


def test_primitive_extensions_and_holes_in_lists_survive() -> None:
    resource = {
        "resourceType": "Patient",
        "name": [
            {"given": ["Zoë", None, "C"], "_given": [None, {"extension": [{"url": "u:x", "valueCode": "y"}]}, None]}
        ],
        "_birthDate": {"id": "b", "extension": [{"url": "u:x", "valueBoolean": False}]},
        "multipleBirthInteger": 2,
        "active": False,
    }
    assert there_and_back(resource) == resource


def test_a_schema_location_is_ignored() -> None:
    body = (
        b'<Patient xmlns="http://hl7.org/fhir" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        b' xsi:schemaLocation="http://hl7.org/fhir ../patient.xsd"><active value="true"/></Patient>'
    )
    assert wire.parse(body, "xml") == {"resourceType": "Patient", "active": True}


def test_element_order_is_the_standards() -> None:
    body = wire.serialize({"resourceType": "Patient", "gender": "male", "active": True, "id": "1"}, "xml").decode()
    assert body.index("<id ") < body.index("<active ") < body.index("<gender ")


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE a [<!ENTITY x "y">]><Patient xmlns="http://hl7.org/fhir"><id value="&x;"/></Patient>',
        b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><Patient xmlns="http://hl7.org/fhir"/>',
        b'<Patient xmlns="http://hl7.org/fhir"><id value="&undefined;"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir">text</Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><nope value="1"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><gender value="male"/><gender value="male"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><active value="maybe"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir" odd="1"/>',
        b'<Patient xmlns="http://hl7.org/fhir" id="1"/>',
        b'<Patient xmlns="http://hl7.org/fhir"><photo url="http://x.test"/></Patient>',
        b'<Patient xmlns="http://example.org"/>',
        b'<Nope xmlns="http://hl7.org/fhir"/>',
        '<?xml version="1.0" encoding="UTF-16"?><Patient xmlns="http://hl7.org/fhir"/>'.encode("utf-16"),
        b"<Patient",
        b"",
    ],
)
def test_hostile_or_wrong_xml_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        wire.parse(body, "application/fhir+xml")


def test_deep_and_huge_xml_exceeds_a_limit() -> None:
    extension = b'<extension url="u:x">' * 90 + b"</extension>" * 90
    with pytest.raises(LimitExceeded):
        wire.parse(b'<Patient xmlns="http://hl7.org/fhir">' + extension + b"</Patient>", "xml")
    with pytest.raises(LimitExceeded):
        wire.parse(b"<a/>" * 600_000, "xml")


@pytest.mark.parametrize("inside", [b"<Patient CROWD/>", b"<Patient><active value='true' CROWD/></Patient>"])
def test_a_crowd_of_attributes_takes_no_time(inside: bytes) -> None:
    crowd = b'xmlns="http://hl7.org/fhir" ' + b" ".join(b'a%d="x"' % number for number in range(60_000))
    begun = time.process_time()
    with pytest.raises(MalformedMessage):
        wire.parse(inside.replace(b"CROWD", crowd, 1), "xml")
    assert time.process_time() - begun < 2  # looking each one up from the first took twenty


def test_unknown_elements_cannot_be_written() -> None:
    with pytest.raises(InvalidMessage):
        wire.to_xml({"resourceType": "Patient", "nope": 1})
