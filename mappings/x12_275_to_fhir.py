"""One attachment (2000A) of a 275 (005010X210, X211) → DocumentReference Bundle and facts.

The content is taken by its length, decoded when BDS01 says base64; what kind of document it is comes from its LOINC
code (STC) or stays unknown. The control number (TRN02) is what a 278's PWK06 or an 837's PWK06 named.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import datetime
from typing import Any

from adapters.fhir.wire.terms import LOINC
from adapters.x12.wire.tree import Loop, Segment
from gateway.core.errors import Unmappable
from gateway.core.ledger import Ledger
from mappings.x12_bundle import Build, Transmission
from mappings.x12_parties import read_patient
from mappings.x12_tables import reference_system
from mappings.x12_trace import Tracer, root_of

MAPPING = "x12_275_to_fhir@1"
Element = dict[str, Any]
CONTROL_NUMBER = "urn:x12:005010:ACN"


def attachment_bundle(loop: Loop, transmission: Transmission, received_at: datetime) -> tuple[Element, Element, Ledger]:
    """One 2000A with its ancestors → (Bundle, facts, ledger). Raises Unmappable for base64 that is none."""
    ledger = Ledger(MAPPING)
    root = root_of(loop)
    tracer, build = Tracer(root, ledger), Build(transmission)
    patient_loop = root.loop("1000D")
    patient = build.add(read_patient(patient_loop, tracer), "patient") if patient_loop else None
    trace = loop.segment("TRN")
    tracer.take(trace, 1, "DocumentReference.identifier")
    number = tracer.take(trace, 2, "DocumentReference.identifier")
    kind = _kind(loop, tracer)
    document: Element = {"resourceType": "DocumentReference"}
    identifiers = [{"system": CONTROL_NUMBER, "value": number}] if number else []
    for segment in loop.segments("REF"):
        qualifier = tracer.take(segment, 1, "DocumentReference.identifier")
        value = tracer.take(segment, 2, "DocumentReference.identifier")
        identifiers.append({"system": reference_system(qualifier), "value": value})
    if identifiers:
        document["identifier"] = identifiers
    document["status"] = "current"
    if kind:
        document["type"] = {"coding": [{"system": LOINC, "code": kind}]}
    if patient:
        document["subject"] = patient
    document["date"] = received_at.isoformat()
    document["content"] = [{"attachment": _content(part, tracer)} for part in loop.loops("2110B")] or [
        {"attachment": {}}
    ]
    tracer.finish()
    fact = {"type": kind, "controlNumber": number, "date": received_at.date().isoformat()}
    facts: Element = {
        "request.receivedAt": received_at.isoformat(),
        "request.traceNumber": number,
        "documents": [{name: value for name, value in fact.items() if value}],
    }
    created = received_at.isoformat()
    return build.bundle(document, "DocumentReference", number or transmission.transaction, created), facts, ledger


def _kind(loop: Loop, tracer: Tracer) -> str:
    """The LOINC code of what was asked for (STC01, STC10 or STC11, second component)."""
    status = loop.segment("STC")
    codes = [tracer.take(status, at, "DocumentReference.type", 2) for at in (1, 10, 11)]
    return next((code for code in codes if "-" in code), "")


def _content(part: Loop, tracer: Tracer) -> Element:
    """BIN as it is, BDS decoded; the type of the bytes by how they begin."""
    segment = next((item for item in part.segments() if item.id in ("BIN", "BDS")), None)
    if segment is None:
        return {}
    data = _bytes(segment)
    for at in range(1, len(segment.fields)):
        tracer.take(segment, at, "DocumentReference.content.attachment")
    return {
        "contentType": _media_type(data),
        "data": base64.b64encode(data).decode("ascii"),
        "size": len(data),
        "hash": base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii"),
    }


def _bytes(segment: Segment) -> bytes:
    data = segment.binary()
    if segment.id == "BDS" and segment.get(1) == "B64":
        try:
            return base64.b64decode(data, validate=False)
        except (binascii.Error, ValueError):
            raise Unmappable("the attachment is not the base64 it claims to be", location="BDS03") from None
    return data


def _media_type(data: bytes) -> str:
    start = data.lstrip()[:512]
    if start.startswith(b"%PDF"):
        return "application/pdf"
    if start.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if start.startswith(b"{") and b'"resourceType"' in data[:4096]:
        return "application/fhir+json"
    if start.startswith(b"<") and b"ClinicalDocument" in data[:4096]:
        return "text/xml"
    return "text/xml" if start.startswith(b"<?xml") else "application/octet-stream"
