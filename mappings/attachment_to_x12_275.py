"""Attachments of a PAS request → 275 (005010X210), for payers reached over X12. The inverse of x12_275_to_fhir.

PAS 2.2.1 spec-26 to spec-29: the whole request is made available to the payer; in a 275 as base64 (BDS01 = B64) of
HL7 content (CAT02 = HL), over several transaction sets where it is too long for one. The same holds for resources
sent by CDex `$submit-attachment`: what travels is FHIR as JSON. The payer finds its request by the control number
(TRN02), which the 278 named in PWK06 or the payer asked for. Pure.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.fhir.wire import BundleIndex, entries
from adapters.fhir.wire.elements import extension_value, rows
from adapters.fhir.wire.terms import ADMINISTRATION_REFERENCE, AUTHORIZATION_NUMBER, LOINC
from adapters.x12.wire.tree import Loop, Segment
from gateway.core.errors import Unmappable
from mappings.attachments import SubmittedAttachments
from mappings.brought_documents import Parcel
from mappings.fhir_claim import view_claim
from mappings.x12_dates import x12_moment
from mappings.x12_parties import fitting, write_demographics, write_party

Element = dict[str, Any]

BASE64, HL7, VERSION = "B64", "HL", "4.0.1"
"""BDS01, CAT02 and CAT03: base64 of HL7 content, FHIR R4."""
ATTACHMENT = "AE"
"""CAT01 (755) where the sender names no kind of report."""
PERSONAL = "05"
"""EFI01 (786): the security level of what is about a person."""
REQUESTED_BY_LOINC = ("R4", "LOI")
"""STC01-1 and STC01-4: additional information of a kind named by a LOINC code."""

LONGEST = 32 << 20
"""Bytes of base64 in one transaction set, half of what a segment may hold here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document to send: its bytes, and what the payer knows it by."""

    control_number: str
    content: bytes = field(repr=False)
    code: str = ""
    """LOINC code of the kind of document that was asked for."""
    report_type: str = ATTACHMENT


def whole_request(raw: bytes, control_number: str) -> Document:
    """A PAS request as it was received."""
    return Document(control_number=control_number, content=raw)


def submitted(sent: SubmittedAttachments) -> list[Document]:
    """What `$submit-attachment` brought, a document for each resource."""
    return [
        Document(
            control_number=sent.tracking_id,
            content=_bytes(part.content),
            code=part.code,
        )
        for part in sent.attachments
    ]


def of_parcel(parcel: Parcel, number: str) -> list[Document]:
    """Documents that are forwarded to a payer; `number`: what it knows them by."""
    return [
        Document(
            control_number=number,
            content=_bytes(one.content),
            code=str(one.code.get("code", "")) if one.code.get("system") == LOINC else "",
            report_type=one.report_type or ATTACHMENT,
        )
        for one in parcel.documents
    ]


def _bytes(resource: Element) -> bytes:
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode()


def attachments(
    bundle: Element,
    documents: Iterable[Document],
    *,
    now: datetime,
    reference: str = "",
    solicited: bool = False,
    longest: int = LONGEST,
    numbers: Mapping[str, str] | None = None,
) -> list[Loop]:
    """The 275s that carry documents for the request in `bundle`, each with as many as fit.

    `reference` is BGN02 (default: the request's identifier); `solicited`: the payer asked for them; `numbers`:
    the payer's own numbers by their qualifier (REF01 of 1000D: BB, NT), instead of those the request names. Raises
    Unmappable when payer, requester or patient is missing, or when one document alone is too long.
    """
    if numbers is None:
        claim: Element = entries(bundle)[0]["resource"]
        urls = (("BB", AUTHORIZATION_NUMBER), ("NT", ADMINISTRATION_REFERENCE))
        numbers = {qualifier: str(extension_value(claim, url) or "") for qualifier, url in urls}
    return [_tree(bundle, own, now, reference, solicited, numbers) for own in _portions(documents, longest)]


def _portions(documents: Iterable[Document], longest: int) -> Iterator[list[tuple[Document, bytes]]]:
    """Documents with their base64, as many together as a transaction set may hold."""
    together: list[tuple[Document, bytes]] = []
    for document in documents:
        data = base64.b64encode(document.content)
        if len(data) > longest:
            raise Unmappable("a document is too long for a 275")
        if together and sum(len(other) for _, other in together) + len(data) > longest:
            yield together
            together = []
        together.append((document, data))
    if together:
        yield together


def _tree(
    bundle: Element,
    documents: list[tuple[Document, bytes]],
    now: datetime,
    reference: str,
    solicited: bool,
    numbers: Mapping[str, str],
) -> Loop:
    view, index = view_claim(bundle), BundleIndex(bundle)
    claim: Element = entries(bundle)[0]["resource"]
    insurer, provider, patient = (_person(index, claim.get(name)) for name in ("insurer", "provider", "patient"))
    root = Loop("275")
    day, clock = x12_moment(now)
    root.add("BGN", "11" if solicited else "02", fitting(reference or view.bundle_identifier[1], 50) or "0", day, clock)
    root.add_loop("1000A").items.append(_name("PR", insurer))
    root.add_loop("1000B").items.append(_name("41", provider))
    root.add_loop("1000C").items.append(_name("1P", provider))
    person = root.add_loop("1000D")
    member = [{"system": "urn:x12:005010:66:MI", "value": view.member_id}] if view.member_id else []
    person.items.append(_name("QC", {**patient, "identifier": member}))
    for qualifier, number in numbers.items():
        if known := fitting(number, 50):
            person.add("REF", qualifier, known)
    write_demographics(person, patient)
    for at, (document, data) in enumerate(documents, 1):
        _add_document(root.add_loop("2000A"), at, document, data, solicited=solicited)
    return root


def _person(index: BundleIndex, reference: Any) -> Element:
    """Who is meant: a PractitionerRole is followed to who it is about."""
    found = index.resource(reference) or {}
    if found.get("resourceType") == "PractitionerRole":
        found = index.resource(found.get("practitioner")) or index.resource(found.get("organization")) or {}
    if not found:
        raise Unmappable("a 275 needs payer, requester and patient as resources of the Bundle")
    return found


def _name(entity: str, resource: Element) -> Segment:
    """NM1 alone: who it is, not where. The guide wants a payer's number: one of any system is its own (NM108 PI)."""
    kept = {"resourceType": resource["resourceType"], "name": resource.get("name")}
    numbers = rows(resource, "identifier")
    loop = Loop("")
    write_party(loop, entity, {**kept, "identifier": numbers}, lambda text, most, _: fitting(text, most))
    name = next(loop.segments("NM1"))
    own = next((str(row["value"]) for row in numbers if row.get("value")), "")
    if entity == "PR" and own and not name.get(9):
        return Segment.build("NM1", *(name.get(at) for at in range(1, 8)), "PI", fitting(own, 80))
    return name


def _add_document(loop: Loop, at: int, document: Document, data: bytes, *, solicited: bool) -> None:
    loop.add("LX", str(at))
    loop.add("TRN", "2" if solicited else "1", fitting(document.control_number, 50))
    if document.code:
        category, listed = REQUESTED_BY_LOINC
        loop.add("STC", (category, document.code, "", listed))
    loop.add("CAT", document.report_type, HL7, VERSION)
    content = loop.add_loop("2110B")
    content.add("EFI", PERSONAL)
    content.add_binary("BDS", data, BASE64)
