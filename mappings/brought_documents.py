"""The documents of a message, whichever rail brought it, and which of them a payer is given under which number.

What the payer asked for goes under the payer's own control number: our client was given ours, which is derived from
that very wish, so the way back needs no table. What is about the patient, and was not sent for the case (HL7 MDM, ORU),
goes only where its LOINC code was asked for: minimum necessary, 45 CFR 164.502(b). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.fhir.wire import BundleIndex, entries, terms
from adapters.fhir.wire.elements import coding, rows
from gateway.core.ports import Decision
from gateway.stages.forward import SENT_FOR_IT, Place
from mappings.attachments import read_attachment
from mappings.information_request import control_number

Element = dict[str, Any]
Wanted = Mapping[str, str]


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
    report_type: str = ""
    """X12 755 code of the kind of report, where the payer asked by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Documents that go together: all of one control number."""

    number: str
    """The payer's control number; empty where it asked without one."""
    senders: str
    """The number their sender gave."""
    solicited: bool
    """The payer asked for them."""
    documents: tuple[Document, ...]
    places: tuple[Place, ...]


def documents(resource: Element) -> list[Document]:
    """The documents of a message: Parameters of `$submit-attachment`, or the documents and reports of a Bundle."""
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
    index = BundleIndex(resource)
    found = [row.get("resource") or {} for row in entries(resource)]
    return [_of_bundle(row, index) for row in found if row.get("resourceType") in ("DocumentReference", REPORT)]


REPORT = "DiagnosticReport"


def _of_bundle(row: Element, index: BundleIndex) -> Document:
    if row["resourceType"] == REPORT:
        return Document(number="", content=_whole(row, index), code=_loinc(row.get("code")))
    return Document(number=_number(row), content=_alone(row), code=_loinc(row.get("type")) or coding(row.get("type")))


def _loinc(concept: Any) -> Element:
    """The LOINC coding of a concept, or its first one."""
    listed = rows(concept, "coding") if isinstance(concept, dict) else []
    return next((row for row in listed if row.get("system") == terms.LOINC), next(iter(listed), {}))


def _whole(report: Element, index: BundleIndex) -> Element:
    """A report with its results inside it (`contained`): alone it would name what nobody can read."""
    results = [found for row in rows(report, "result") if (found := index.resource(row))]
    inside = [{**_alone(one), "id": f"r{at}"} for at, one in enumerate(results, 1)]
    named = {"contained": inside, "result": [{"reference": f"#{one['id']}"} for one in inside]} if inside else {}
    kept = {name: value for name, value in _alone(report).items() if name not in ("result", "specimen", "basedOn")}
    return kept | named


def parcels(
    brought: Sequence[tuple[Place, str, Document]], decisions: Sequence[Decision], *, everything: bool
) -> list[Parcel]:
    """What is to be forwarded, in the order it came. `brought`: (place, message type, document) not forwarded yet.

    `decisions`: those of the payer, oldest first; what the newest one wants is asked for. `everything`: documents sent
    for the case go unasked, too.
    """
    ours = {control_number(one.case_id, row): row for one in decisions for row in one.requested_information}
    newest = decisions[-1].requested_information if decisions else ()
    by_code = {row["loinc"]: row for row in reversed(newest) if row.get("loinc")}
    together: dict[tuple[bool, str, str], list[tuple[Place, Document]]] = {}
    for place, kind, document in brought:
        wanted: Wanted | None = ours.get(document.number) or by_code.get(str(document.code.get("code", "")))
        if wanted is not None:
            number = wanted.get("controlNumber", "")
            key = (True, number, "" if number else document.number)
            together.setdefault(key, []).append((place, _asked_for(document, wanted)))
        elif everything and kind in SENT_FOR_IT:
            together.setdefault((False, "", document.number), []).append((place, document))
    return [
        Parcel(
            number=number,
            senders=senders,
            solicited=solicited,
            documents=tuple(document for _, document in listed),
            places=tuple(place for place, _ in listed),
        )
        for (solicited, number, senders), listed in together.items()
    ]


def _asked_for(document: Document, wanted: Wanted) -> Document:
    """The document as the answer to what was asked."""
    asked = {"system": terms.LOINC, "code": wanted["loinc"]} if wanted.get("loinc") else document.code
    return Document(
        number=document.number,
        content=document.content,
        code=asked,
        line=document.line or wanted.get("line", ""),
        report_type=wanted.get("reportType", ""),
    )


def documents_of(found: Sequence[tuple[int, str, Element]]) -> Iterator[tuple[Place, str, Document]]:
    """(place, message type, document) of messages: (version, type, resource)."""
    for version, kind, resource in found:
        for at, document in enumerate(documents(resource)):
            yield (version, at), kind, document


def _number(document: Element) -> str:
    """TRN02 of a 275 stands first among the identifiers (x12_275_to_fhir)."""
    return next((str(row["value"]) for row in rows(document, "identifier") if row.get("value")), "")


def _alone(document: Element) -> Element:
    """A resource without what it refers to in its Bundle: the payer knows the member by number."""
    return {name: value for name, value in document.items() if name not in ("subject", "author", "context")}
