"""Rules of the PAS Claim, Claim Update and Claim Inquiry profiles; ids of the guide's requirements in comments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from adapters.fhir.wire.elements import cancelled, certification_type, code, extension, extension_value, rows
from adapters.fhir.wire.submission import Submission
from adapters.fhir.wire.terms import (
    DOCUMENT_INFORMATION,
    INFO_CANCELLED,
    INFO_CHANGED,
    LEVEL_OF_SERVICE,
    PAS_CODES,
    REQUEST_TYPE,
    X12,
)
from gateway.core.errors import Issue

CLAIM = "Bundle.entry[0].resource"
FULL_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}(T.+)?$")
MISSING = "a required element is missing"
SELF_CODES = frozenset({"self", "18"})


def fixed_values(submission: Submission) -> Iterator[Issue]:
    """Status, use and identifier of the Claim (profile-claim-base)."""
    claim = submission.claim
    for name, wanted in (("status", "active"), ("use", "preauthorization")):
        if claim.get(name) != wanted:
            yield Issue("value", f"{CLAIM}.{name}", f"{wanted} expected")
    if not rows(claim, "identifier"):
        yield Issue("required", f"{CLAIM}.identifier", MISSING)
    if "insurer" not in claim:
        yield Issue("required", f"{CLAIM}.insurer", MISSING)
    for number, insurance in enumerate(rows(claim, "insurance")):
        if insurance.get("focal") is not True:
            yield Issue("value", f"{CLAIM}.insurance[{number}].focal", "true expected")


def unique_sequences(submission: Submission) -> Iterator[Issue]:
    """Sequences trace items and documents through all versions (spec-22, spec-34)."""
    for name in ("item", "supportingInfo"):
        seen: set[Any] = set()
        for number, row in enumerate(rows(submission.claim, name)):
            if row.get("sequence") in seen:
                yield Issue("duplicate", f"{CLAIM}.{name}[{number}].sequence", "a sequence may appear only once")
            seen.add(row.get("sequence"))


def items_present(submission: Submission) -> Iterator[Issue]:
    """At least one item, except where the whole request is cancelled (both readings of the guide are accepted)."""
    if not rows(submission.claim, "item") and certification_type(submission.claim) != "3":
        yield Issue("required", f"{CLAIM}.item", MISSING)


def item_elements(submission: Submission) -> Iterator[Issue]:
    """What each item must carry since 2.1.0: request type, certification type, category, location."""
    if submission.version == "2.0.1":
        return
    for number, item in enumerate(rows(submission.claim, "item")):
        where = f"{CLAIM}.item[{number}]"
        if extension(item, REQUEST_TYPE) is None:
            yield Issue("required", f"{where}.extension('{REQUEST_TYPE}')", MISSING)
        if not certification_type(item):
            yield Issue("required", f"{where}.extension.where(url.endsWith('certificationType'))", MISSING)
        if "category" not in item:
            yield Issue("required", f"{where}.category", MISSING)
        if not any(name.startswith("location") for name in item):
            yield Issue("required", f"{where}.location", MISSING)


def immediate_appeal(submission: Submission) -> Iterator[Issue]:
    """An immediate appeal names the level of service (invariant ImmediateLevelOfCare, as it was meant)."""
    kinds = [certification_type(item) for item in rows(submission.claim, "item")]
    if "1" in [*kinds, certification_type(submission.claim)] and extension(submission.claim, LEVEL_OF_SERVICE) is None:
        yield Issue("invariant", f"{CLAIM}.extension('{LEVEL_OF_SERVICE}')", "an immediate appeal needs it")


def full_dates(submission: Submission) -> Iterator[Issue]:
    """FullDateRule: year, month and day."""
    for where, value in _dates(submission.claim):
        if isinstance(value, str) and not FULL_DATE.match(value):
            yield Issue("value", where, "a date with year, month and day expected")


def _dates(claim: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield f"{CLAIM}.accident.date", (claim.get("accident") or {}).get("date")
    for name, element in (("item", "serviced"), ("supportingInfo", "timing")):
        for number, row in enumerate(rows(claim, name)):
            where = f"{CLAIM}.{name}[{number}].{element}"
            yield where, row.get(f"{element}Date")
            for end in ("start", "end"):
                yield f"{where}.{end}", (row.get(f"{element}Period") or {}).get(end)


TIMED = frozenset({"patientEvent", "admissionDates", "dischargeDates"})


def supporting_information(submission: Submission) -> Iterator[Issue]:
    """Slices of supportingInfo: dates have a timing, documents a reference and their information, messages a text."""
    for number, row in enumerate(rows(submission.claim, "supportingInfo")):
        where, kind = f"{CLAIM}.supportingInfo[{number}]", code(row.get("category"), PAS_CODES)
        if kind in TIMED and not ("timingDate" in row or "timingPeriod" in row):
            yield Issue("required", f"{where}.timing", MISSING)
        if kind == "freeFormMessage" and "valueString" not in row:
            yield Issue("required", f"{where}.value", MISSING)
        if kind == "additionalInformation":
            if "valueReference" not in row:
                yield Issue("required", f"{where}.value", MISSING)
            information = extension(row, DOCUMENT_INFORMATION)
            if submission.version != "2.0.1" and extension(information, "reportTypeCode") is None:
                yield Issue("required", f"{where}.extension('{DOCUMENT_INFORMATION}')", MISSING)


def documents_inside(submission: Submission) -> Iterator[Issue]:
    """Documents travel inside the Bundle: data 1..1, url 0..0 (profile-documentreference).

    A warning: the sample requests of the official test suite name their document by address (decision 0041).
    """
    if submission.version == "2.0.1":
        return
    for where, document in submission.reached("DocumentReference"):
        for number, content in enumerate(rows(document, "content")):
            attachment = content.get("attachment") or {}
            if not attachment.get("data"):
                yield Issue("required", f"{where}.content[{number}].attachment.data", MISSING, "warning")
            if "url" in attachment:
                text = "a document by address is not fetched"
                yield Issue("structure", f"{where}.content[{number}].attachment.url", text, "warning")


def coverages(submission: Submission) -> Iterator[Issue]:
    """A dependent's coverage names the subscriber; since 2.1.0 a member identifier (type MB) is there."""
    for where, coverage in submission.reached("Coverage"):
        codes = {row.get("code") for row in rows(coverage.get("relationship"), "coding")}
        if codes and not codes & SELF_CODES and "subscriber" not in coverage:
            yield Issue("required", f"{where}.subscriber", MISSING)
        if submission.version != "2.0.1" and not any(
            code(row.get("type")) == "MB" for row in rows(coverage, "identifier")
        ):
            yield Issue("required", f"{where}.identifier.where(type.coding.code='MB')", MISSING)


def modifiers(submission: Submission) -> Iterator[Issue]:
    """A modifier extension nobody here understands may turn the meaning around (spec-25): refused, not ignored."""
    claim = submission.claim
    places = [(CLAIM, claim)]
    for name in ("item", "supportingInfo", "careTeam", "diagnosis", "related", "insurance"):
        places += [(f"{CLAIM}.{name}[{number}]", row) for number, row in enumerate(rows(claim, name))]
    for where, place in places:
        for number, row in enumerate(rows(place, "modifierExtension")):
            if row.get("url") != INFO_CANCELLED:
                yield Issue("unsupported", f"{where}.modifierExtension[{number}]", "an unknown modifier extension")


def quantities(submission: Submission) -> Iterator[Issue]:
    """prof-2 and prof-3; a warning, because the guide's own examples break it."""
    for number, item in enumerate(rows(submission.claim, "item")):
        quantity, where = item.get("quantity"), f"{CLAIM}.item[{number}].quantity"
        if not isinstance(quantity, dict):
            continue
        if "value" not in quantity or not ("unit" in quantity or "code" in quantity):
            yield Issue("invariant", where, "a value with a unit or code expected", "warning")
        if "code" in quantity and not str(quantity.get("system", "")).startswith(f"{X12}673"):
            yield Issue("invariant", f"{where}.system", "X12 quantity units expected", "warning")


def relations(submission: Submission) -> Iterator[Issue]:
    """An update names one prior Claim, which is in the Bundle while that one's own parent is not (spec-65, spec-66)."""
    related = rows(submission.claim, "related")
    if submission.version != "2.0.1":
        if len(related) > 1:
            yield Issue("structure", f"{CLAIM}.related", "at most one prior Claim")
        for number, row in enumerate(related):
            if code(row.get("relationship")) not in ("", "prior"):
                yield Issue("value", f"{CLAIM}.related[{number}].relationship", "prior expected")
            if "claim" not in row:
                yield Issue("required", f"{CLAIM}.related[{number}].claim", MISSING)
    parent = submission.parent()
    for number, entry in enumerate(submission.bundle["entry"]):
        resource = entry.get("resource") or {}
        if number and resource.get("resourceType") == "Claim" and resource is not parent:
            yield Issue("structure", f"Bundle.entry[{number}]", "a Claim that is neither the request nor its parent")


def update_flags(submission: Submission) -> Iterator[Issue]:
    """Items and documents of all versions stay, with their sequences; changes are flagged (spec-68 to spec-72)."""
    parent = submission.parent()
    if parent is None:
        return
    for name in ("item", "supportingInfo"):
        present = {row.get("sequence"): row for row in rows(submission.claim, name)}
        for row in rows(parent, name):
            left_out = row.get("sequence") not in present
            if left_out and present and certification_type(submission.claim) != "3":
                yield Issue("business-rule", f"{CLAIM}.{name}", "an entry of the prior Claim is missing")
        before = {row.get("sequence"): row for row in rows(parent, name)}
        for number, row in enumerate(rows(submission.claim, name)):
            yield from _flags(row, before.get(row.get("sequence")), f"{CLAIM}.{name}[{number}]", name)


def _flags(row: dict[str, Any], before: dict[str, Any] | None, where: str, name: str) -> Iterator[Issue]:
    flag = extension_value(row, INFO_CHANGED)
    if flag not in (None, "added", "changed"):
        yield Issue("value", f"{where}.extension('{INFO_CHANGED}')", "added or changed expected")
    if before is None and flag is None:
        yield Issue("required", f"{where}.extension('{INFO_CHANGED}')", "an added entry is flagged", "warning")
    is_cancelled = cancelled(row)
    if name == "item" and is_cancelled and certification_type(row) != "3":
        yield Issue("business-rule", f"{where}.extension", "a cancelled item has certification type 3", "warning")
    if is_cancelled and before is not None and not cancelled(before) and flag is None:
        yield Issue("required", f"{where}.extension('{INFO_CHANGED}')", "a change is flagged", "warning")


def unreached(submission: Submission) -> Iterator[Issue]:
    """Entries nothing points to are kept but not used (spec-20): a warning."""
    for number in range(len(submission.bundle["entry"])):
        if number not in submission.closure.reached:
            yield Issue("informational", f"Bundle.entry[{number}]", "the Claim does not lead to this entry", "warning")


def timings(submission: Submission) -> Iterator[Issue]:
    """prof-1 on the orders the Claim leads to; a warning."""
    for where, order in submission.reached("ServiceRequest", "DeviceRequest", "NutritionOrder"):
        repeat = (order.get("occurrenceTiming") or {}).get("repeat")
        if isinstance(repeat, dict) and not ("count" in repeat or {"frequency", "period", "periodUnit"} <= set(repeat)):
            yield Issue("invariant", f"{where}.occurrence.repeat", "a count or a frequency expected", "warning")


HARD_CLAIM_RULES: tuple[Callable[[Submission], Iterator[Issue]], ...] = (
    unique_sequences,
    items_present,
    modifiers,
)
PROFILE_CLAIM_RULES: tuple[Callable[[Submission], Iterator[Issue]], ...] = (
    fixed_values,
    item_elements,
    immediate_appeal,
    full_dates,
    supporting_information,
    documents_inside,
    coverages,
    relations,
    update_flags,
    quantities,
    timings,
    unreached,
)
INQUIRY_RULES: tuple[Callable[[Submission], Iterator[Issue]], ...] = (fixed_values, full_dates, modifiers, unreached)
