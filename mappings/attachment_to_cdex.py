"""Documents that came for a case while its payer decides → CDex `$submit-attachment` to that payer (PAS 2.2.1 ainfo).

Whatever rail brought them (brought_documents). What the payer asked for goes under the payer's own control number
(TrackingId); documents nobody asked for keep the number their sender gave them. Pure: the same gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adapters.fhir.wire import BundleIndex, entries, terms, validate_attachment
from adapters.fhir.wire.elements import rows
from gateway.core.errors import InvalidMessage, Unmappable
from mappings.brought_documents import Document, Parcel
from mappings.fhir_claim import party, view_claim

Element = dict[str, Any]
PATH = "$submit-attachment"
"""Below the PAS endpoint's address, as it is served here."""


def submission(asked: Element, parcel: Parcel, *, sequences: Mapping[int, int], reference: str = "") -> Element:
    """The Parameters to send.

    `asked`: our request Bundle; `sequences`: the case's item → the payer's; `reference`: the payer's administrative
    reference. Raises Unmappable, InvalidMessage.
    """
    view, index = view_claim(asked), BundleIndex(asked)
    claim: Element = entries(asked)[0]["resource"]
    number = parcel.number or parcel.senders
    if not view.member_id or not number:
        raise Unmappable("an attachment needs the member's number and a control number")
    insurer, provider = index.resource(claim.get("insurer")) or {}, party(index, claim.get("provider"))
    single: list[tuple[str, Element]] = [
        ("TrackingId", {"valueIdentifier": {"value": number}}),
        ("AdminRefNumber", {"valueIdentifier": {"value": reference}} if reference else {}),
        ("AttachTo", {"valueCode": "preauthorization"}),
        ("PayerId", _identified(rows(insurer, "identifier"))),
        ("ProviderId", {"valueIdentifier": {"system": terms.NPI, "value": provider.npi}} if provider.npi else {}),
        ("MemberId", {"valueIdentifier": {"value": view.member_id}}),
    ]
    head = [{"name": name, **value} for name, value in single if value]
    parts = [{"name": "Attachment", "part": list(_parts(document, sequences))} for document in parcel.documents]
    made = {"resourceType": "Parameters", "parameter": [*head, *parts]}
    issues = validate_attachment(made)
    if issues:
        raise InvalidMessage("the documents break rules of CDex", issues=tuple(issues))
    return made


def _parts(document: Document, sequences: Mapping[int, int]) -> Iterator[Element]:
    if document.line.isdecimal() and int(document.line) in sequences:
        yield {"name": "LineItem", "valueString": str(sequences[int(document.line)])}
    if document.code.get("code"):
        yield {"name": "Code", "valueCodeableConcept": {"coding": [document.code]}}
    yield {"name": "Content", "resource": document.content}


def _identified(identifiers: Sequence[Element]) -> Element:
    first = next((row for row in identifiers if row.get("value")), None)
    return {"valueIdentifier": first} if first is not None else {}
