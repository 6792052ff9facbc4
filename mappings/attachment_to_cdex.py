"""Documents that came for a case while its payer decides → CDex `$submit-attachment` to that payer (PAS 2.2.1 ainfo).

Whatever rail brought them: `$submit-attachment` itself, or a 275, whose documents are DocumentReferences. What the
payer asked for goes under the payer's own control number (TrackingId); our client knows ours, derived from it.
Documents nobody asked for keep the number their sender gave them. Pure: the same gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.fhir.wire import BundleIndex, entries, terms, validate_attachment
from adapters.fhir.wire.elements import coding, rows
from gateway.core.errors import InvalidMessage, Unmappable
from gateway.core.ports import Decision
from mappings.attachments import read_attachment
from mappings.fhir_claim import party, view_claim
from mappings.information_request import control_number

Element = dict[str, Any]
PATH = "$submit-attachment"
"""Below the PAS endpoint's address, as it is served here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document that came."""

    number: str
    """The control number it came under."""
    content: Element = field(repr=False)
    code: Element = field(default_factory=dict)
    """Coding of the kind of document."""
    line: str = ""
    """Item of the case's request it is for."""


def documents(resource: Element) -> list[Document]:
    """The documents of a message: Parameters of `$submit-attachment`, or a Bundle with DocumentReferences."""
    if resource.get("resourceType") == "Parameters":
        sent = read_attachment(resource)
        return [
            Document(
                number=sent.tracking_id,
                content=part.content,
                code={"system": terms.LOINC, "code": part.code} if part.code else {},
                line=part.line,
            )
            for part in sent.attachments
        ]
    found = [row.get("resource") or {} for row in entries(resource)]
    return [
        Document(number=_number(row), content=_alone(row), code=coding(row.get("type")))
        for row in found
        if row.get("resourceType") == "DocumentReference"
    ]


def submissions(
    asked: Element,
    brought: Sequence[Document],
    *,
    standing: Decision | None,
    sequences: Mapping[int, int],
    reference: str = "",
) -> list[Element]:
    """The Parameters to send, one for each control number, in the order they came.

    `asked`: our request Bundle; `standing`: the payer's newest word, with what it wants; `sequences`: the case's item →
    the payer's; `reference`: the payer's administrative reference. Raises Unmappable, InvalidMessage.
    """
    view, index = view_claim(asked), BundleIndex(asked)
    claim: Element = entries(asked)[0]["resource"]
    if not view.member_id:
        raise Unmappable("an attachment needs the member's number")
    theirs = _numbers(standing)
    together: dict[str, list[Document]] = {}
    for document in brought:
        number = theirs.get(document.number, document.number)
        if not number:
            raise Unmappable("a document without a control number")
        together.setdefault(number, []).append(document)
    insurer, provider = index.resource(claim.get("insurer")) or {}, party(index, claim.get("provider"))
    single: list[tuple[str, Element]] = [
        ("AdminRefNumber", {"valueIdentifier": {"value": reference}} if reference else {}),
        ("AttachTo", {"valueCode": "preauthorization"}),
        ("PayerId", _identified(rows(insurer, "identifier"))),
        ("ProviderId", {"valueIdentifier": {"system": terms.NPI, "value": provider.npi}} if provider.npi else {}),
        ("MemberId", {"valueIdentifier": {"value": view.member_id}}),
    ]
    found = []
    for number, listed in together.items():
        head: list[Element] = [{"name": "TrackingId", "valueIdentifier": {"value": number}}]
        head += [{"name": name, **value} for name, value in single if value]
        parts = [{"name": "Attachment", "part": list(_parts(document, sequences))} for document in listed]
        made = {"resourceType": "Parameters", "parameter": [*head, *parts]}
        issues = validate_attachment(made)
        if issues:
            raise InvalidMessage("the documents break rules of CDex", issues=tuple(issues))
        found.append(made)
    return found


def _numbers(standing: Decision | None) -> dict[str, str]:
    """Our control number of each thing the payer wants → the payer's own."""
    wanted = standing.requested_information if standing is not None else ()
    case = standing.case_id if standing is not None else ""
    return {control_number(case, row): row["controlNumber"] for row in wanted if row.get("controlNumber")}


def _parts(document: Document, sequences: Mapping[int, int]) -> Iterator[Element]:
    if document.line.isdecimal() and int(document.line) in sequences:
        yield {"name": "LineItem", "valueString": str(sequences[int(document.line)])}
    if document.code.get("code"):
        yield {"name": "Code", "valueCodeableConcept": {"coding": [document.code]}}
    yield {"name": "Content", "resource": document.content}


def _identified(identifiers: Sequence[Element]) -> Element:
    first = next((row for row in identifiers if row.get("value")), None)
    return {"valueIdentifier": first} if first is not None else {}


def _number(document: Element) -> str:
    """TRN02 of a 275 stands first among the identifiers (x12_275_to_fhir)."""
    return next((str(row["value"]) for row in rows(document, "identifier") if row.get("value")), "")


def _alone(document: Element) -> Element:
    """A DocumentReference without what it refers to in its Bundle: the payer knows the member by number."""
    return {name: value for name, value in document.items() if name not in ("subject", "author", "context")}
