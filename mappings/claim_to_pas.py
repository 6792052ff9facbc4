"""The request of a case, whatever rail it came by → the PAS Request Bundle we submit to a payer (2.2.1, 2.0.1).

What came is passed on (spec-26): Claim.identifier, trace numbers, item sequences, documents, and the addresses of
everything but the Claim, which gets one of its own each time it is asked: the answer is known by it. Addresses that are
not absolute become urn:uuid. An update names the Claim as we submitted it last, which travels with it (spec-65), and
carries all items of both with the payer's sequences (spec-68), flagged where they changed (spec-69 to spec-72).
Elements that a profile demands and no rail has are marked absent, never invented.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adapters.fhir.wire import closure, entries, terms
from adapters.fhir.wire.elements import (
    cancelled,
    certification_type,
    code,
    coding,
    extension,
    extension_value,
    rows,
)
from gateway.core.errors import Unmappable
from mappings.bundle_echo import Echo, derived_uuid
from mappings.fhir_claim import view_claim

Element = dict[str, Any]
CANCEL = "authorization.cancel"
PROFILES = f"{terms.PAS}/StructureDefinition/"
PRIOR: Element = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship", "code": "prior"}]
}
REVIEW = "HS"
"""UM01 where the request does not say what kind of review it wants: health services review, as on the X12 rail."""
WITHDRAWN = "3"
MOST_TRACES = 2
"""Claim.identifier 1..2 (profile-claim-base)."""
LIKE_ITSELF = frozenset({"id", "meta", "text"})
"""Elements that may differ between two copies of one resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """A request Bundle."""

    bundle: Element
    sequences: dict[int, int]
    """Item sequence at the payer → that of the case's request."""
    left_out: tuple[str, ...] = ()
    """Paths of what came and is not sent: resources the Claim does not lead to, trace numbers beyond the second."""

    @property
    def claim(self) -> Element:
        """The Claim."""
        found: Element = self.bundle["entry"][0]["resource"]
        return found


def request(
    bundle: Element,
    *,
    identity: str,
    now: datetime,
    kind: str = "",
    version: str = "2.2.1",
    sender: str = "",
    receiver: str = "",
    whole: bool = False,
    prior: Element | None = None,
) -> Rendering:
    """The request Bundle for a case as it stands.

    `identity`: unique for this asking, and the same when it is rendered again; `kind`: type of the message (a cancel of
    a rail that has no certification type); `sender`, `receiver`: our sending system and the payer's (ISA06, ISA08);
    `whole`: everything of the Bundle is sent, also what the Claim does not lead to; `prior`: our newest Bundle to this
    payer that it has answered. Raises Unmappable without patient, payer, requester, or Claim.
    """
    source = claim_first(bundle)
    echo = Echo(source, identity)
    everything = {number for number, row in enumerate(echo.index.rows) if "resource" in row}
    echo.want(0)
    left_out = [] if whole else [f"Bundle.entry[{number}]" for number in sorted(everything - echo.wanted)]
    echo.wanted |= everything if whole else set()
    first, *others = echo.entries()
    url = f"urn:uuid:{derived_uuid(identity, 'Claim')}"
    if prior is not None:
        others = [row for row in others if row["resource"].get("resourceType") != "Claim"]
    others, merged = _merged(others, prior)
    moved = merged | {first["fullUrl"]: url}
    claim: Element = _moved(first["resource"], moved)
    others = [{"fullUrl": row["fullUrl"], "resource": _moved(row["resource"], moved)} for row in others]
    for name in ("patient", "insurer", "provider"):
        if not (claim.get(name) or {}).get("reference"):
            raise Unmappable(f"a PAS request needs the {name} as a resource of the Bundle")
    left_out += [f"Claim.identifier[{at}]" for at in range(MOST_TRACES, len(rows(claim, "identifier")))]
    claim = _claim(claim, url, kind, sender, receiver, is_update=prior is not None or bool(rows(claim, "related")))
    items, sequences = _items(claim, prior)
    before: list[Element] = []
    if prior is not None:
        parent, *needed = _prior_entries(prior, {row["fullUrl"] for row in others})
        before = [parent]
        others += needed
        claim["related"] = [{"claim": {"reference": parent["fullUrl"]}, "relationship": PRIOR}]
    if items:
        claim["item"] = items
    elif "item" in claim:
        del claim["item"]
    if version != "2.0.1":
        for item in rows(claim, "item"):
            _complete(item, is_update=bool(rows(claim, "related")))
    member = view_claim(source).member_id
    listed = [{"fullUrl": url, "resource": claim}, *before, *(_covered(row, member) for row in others)]
    return Rendering(bundle=_bundle(identity, now, listed), sequences=sequences, left_out=tuple(left_out))


def _bundle(identity: str, now: datetime, listed: list[Element]) -> Element:
    return {
        "resourceType": "Bundle",
        "id": derived_uuid(identity, "Bundle"),
        "meta": {"profile": [PROFILES + "profile-pas-request-bundle"]},
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{derived_uuid(identity, 'identifier')}"},
        "type": "collection",
        "timestamp": _instant(now),
        "entry": listed,
    }


def claim_first(bundle: Element) -> Element:
    """The Bundle as a collection with its Claim in front, as every reader of requests expects it (spec-12)."""
    listed = entries(bundle)
    at = next((n for n, row in enumerate(listed) if (row.get("resource") or {}).get("resourceType") == "Claim"), None)
    if at is None:
        raise Unmappable("the case has no Claim")
    if at == 0:
        return bundle
    return bundle | {"type": "collection", "entry": [listed[at], *listed[:at], *listed[at + 1 :]]}


def _claim(claim: Element, url: str, kind: str, sender: str, receiver: str, *, is_update: bool) -> Element:
    extensions = [row for row in rows(claim, "extension") if row.get("url") != terms.TRANSMISSION_IDENTIFIERS]
    said = {"interchangeSenderID": sender, "interchangeReceiverID": receiver}
    said |= {"applicationSenderCode": sender, "applicationReceiverCode": receiver}
    parts = [{"url": name, "valueString": value} for name, value in said.items() if value]
    if parts:
        extensions.insert(0, {"url": terms.TRANSMISSION_IDENTIFIERS, "extension": parts})
    if kind == CANCEL and certification_type(claim) != WITHDRAWN:
        extensions = [row for row in extensions if row.get("url") != terms.CERTIFICATION_TYPE]
        extensions.append(_certified(WITHDRAWN))
    profile = "profile-claim-update" if is_update else "profile-claim"
    return {
        **claim,
        "id": url.removeprefix("urn:uuid:"),
        "meta": {"profile": [PROFILES + profile]},
        "extension": extensions,
        "identifier": rows(claim, "identifier")[:MOST_TRACES] or [{"system": "urn:ietf:rfc:3986", "value": url}],
        "status": "active",
        "use": "preauthorization",
    }


def _items(claim: Element, prior: Element | None) -> tuple[list[Element], dict[int, int]]:
    """Items with the payer's sequences, and which sequence of the case each of them is."""
    given = rows(claim, "item")
    if prior is None or rows(claim, "related"):
        # A PAS client keeps its sequences through all versions itself, and flags what it changed.
        return given, {int(row["sequence"]): int(row["sequence"]) for row in given}
    known = rows(entries(prior)[0]["resource"], "item")
    withdrawn = certification_type(claim) == WITHDRAWN
    taken: dict[int, Element] = {}
    sequences: dict[int, int] = {}
    following = max((int(row["sequence"]) for row in known), default=0)
    for item in given:
        match = _same_service(item, [row for row in known if int(row["sequence"]) not in taken])
        if match is None:
            following += 1
        sequence = int(match["sequence"]) if match is not None else following
        gone = withdrawn or cancelled(item)
        taken[sequence] = _flagged({**item, "sequence": sequence}, "added" if match is None else "changed", gone=gone)
        sequences[sequence] = int(item["sequence"])
    for row in known:
        sequence = int(row["sequence"])
        if sequence not in taken:
            taken[sequence] = _flagged(row, "changed", gone=True) if withdrawn else _unflagged(row)
    return [taken[sequence] for sequence in sorted(taken)], sequences


def _same_service(item: Element, known: Sequence[Element]) -> Element | None:
    """The submitted item that an item of another rail means: by its trace number, else by its service."""
    trace = (extension_value(item, terms.ITEM_TRACE_NUMBER) or {}).get("value")
    service = (coding(item.get("productOrService")).get("code"), [code(row) for row in rows(item, "modifier")])
    for row in known:
        if trace and (extension_value(row, terms.ITEM_TRACE_NUMBER) or {}).get("value") == trace:
            return row
    same = [
        row
        for row in known
        if (coding(row.get("productOrService")).get("code"), [code(m) for m in rows(row, "modifier")]) == service
    ]
    return same[0] if len(same) == 1 else None


def _flagged(item: Element, flag: str, *, gone: bool) -> Element:
    bare = _unflagged(item)
    found = [row for row in rows(bare, "extension") if not (gone and row.get("url") == terms.CERTIFICATION_TYPE)]
    found.append({"url": terms.INFO_CHANGED, "valueCode": flag})
    if gone:
        found.append(_certified(WITHDRAWN))
        bare["modifierExtension"] = [
            *(row for row in rows(bare, "modifierExtension") if row.get("url") != terms.INFO_CANCELLED),
            {"url": terms.INFO_CANCELLED, "valueBoolean": True},
        ]
    return {**bare, "extension": found}


def _unflagged(item: Element) -> Element:
    return {**item, "extension": [row for row in rows(item, "extension") if row.get("url") != terms.INFO_CHANGED]}


def _complete(item: Element, *, is_update: bool) -> None:
    """What each item must have since 2.1.0; where no rail has it, it is said to be unknown."""
    extensions = item.setdefault("extension", [])
    if extension(item, terms.REQUEST_TYPE) is None:
        concept = {"coding": [{"system": terms.X12 + "1525", "code": REVIEW}]}
        extensions.append({"url": terms.REQUEST_TYPE, "valueCodeableConcept": concept})
    if not certification_type(item):
        extensions.append(_certified("S" if is_update else "I"))
    item.setdefault("category", _absent())
    if not any(name.startswith("location") for name in item):
        item["locationCodeableConcept"] = _absent()


def _covered(entry: Element, member: str) -> Element:
    """A Coverage names its member by an identifier of type MB since 2.1.0."""
    resource = entry["resource"]
    if resource.get("resourceType") != "Coverage" or not member:
        return entry
    if any(code(row.get("type")) == "MB" for row in rows(resource, "identifier")):
        return entry
    kind = {"coding": [{"system": terms.IDENTIFIER_TYPE, "code": "MB"}]}
    named = [*rows(resource, "identifier"), {"type": kind, "value": member}]
    return entry | {"resource": {**resource, "identifier": named}}


def _prior_entries(prior: Element, present: set[str]) -> Iterator[Element]:
    """The Claim as we submitted it, then what it leads to and the new Bundle lacks. Its own parent stays out."""
    listed = entries(prior)
    yield listed[0]
    for number in sorted(closure(prior, skip=frozenset({"related"})).reached - {0}):
        if listed[number]["fullUrl"] not in present:
            yield listed[number]


def _merged(others: list[Element], prior: Element | None) -> tuple[list[Element], dict[str, str]]:
    """Entries without those the prior Bundle has under another address, and where references to them go now.

    Rails other than PAS name the same people anew in each message. What is equal may make equal what refers to it.
    """
    moved: dict[str, str] = {}
    known = [row for row in entries(prior) if prior is not None] if prior is not None else []
    before = len(others) + 1
    while known and len(others) < before:
        before = len(others)
        kept = []
        for row in others:
            here = _moved(row["resource"], moved)
            twin = next((other for other in known if _content(other["resource"]) == _content(here)), None)
            if twin is None or twin["fullUrl"] == row["fullUrl"]:
                kept.append(row)
            else:
                moved[row["fullUrl"]] = twin["fullUrl"]
        others = kept
    return others, moved


def _content(resource: Element) -> Element:
    return {name: value for name, value in resource.items() if name not in LIKE_ITSELF}


def _moved(value: Any, moved: dict[str, str]) -> Any:
    """A copy with references to moved entries mended."""
    if isinstance(value, list):
        return [_moved(child, moved) if isinstance(child, dict | list) else child for child in value]
    if not isinstance(value, dict):
        return value
    copy = {name: _moved(child, moved) if isinstance(child, dict | list) else child for name, child in value.items()}
    if isinstance(value.get("reference"), str):
        copy["reference"] = moved.get(value["reference"], value["reference"])
    return copy


def _certified(kind: str) -> Element:
    concept = {"coding": [{"system": terms.X12_CERTIFICATION_TYPE, "code": kind}]}
    return {"url": terms.CERTIFICATION_TYPE, "valueCodeableConcept": concept}


def _absent() -> Element:
    return {"extension": [{"url": terms.DATA_ABSENT, "valueCode": "unknown"}]}


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
