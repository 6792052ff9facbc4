"""PAS profile rules as code, over a Bundle that already follows R4 (structure.py).

Two tables of rules. HARD ones guard what processing needs and are errors always; PROFILE ones are errors in strict
mode and warnings in lenient mode (per partner; three of the guide's own examples break them). Everything optional
may be missing (conf-14): a rule here speaks only of mandatory elements or of contradictions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from adapters.fhir.wire.claim_rules import HARD_CLAIM_RULES, INQUIRY_RULES, PROFILE_CLAIM_RULES
from adapters.fhir.wire.references import BundleIndex, Closure, closure, entries
from adapters.fhir.wire.structure import structure_issues
from adapters.fhir.wire.submission import Submission
from gateway.core.errors import Issue

UUID_URL = re.compile(r"^urn:uuid:[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
HTTP_URL = re.compile(r"^https?://[^\s/?#]+(/[^\s]*)?$")


def is_full_url(value: str) -> bool:
    """Whether an entry can be meant by this address: an absolute URL or a urn:uuid (R4 2.36.4)."""
    return bool(UUID_URL.match(value) or HTTP_URL.match(value))


Rule = Callable[[Submission], Iterator[Issue]]


def validate_submit(bundle: dict[str, Any], *, version: str = "2.2.1", strict: bool = True) -> list[Issue]:
    """Check a PAS Request Bundle; no issue of severity `error` means it can be processed.

    Locations are FHIRPath expressions from `Bundle`. `strict=False` turns profile rules into warnings.
    """
    return _validate(bundle, version, strict, HARD_CLAIM_RULES, PROFILE_CLAIM_RULES)


def validate_inquire(bundle: dict[str, Any], *, version: str = "2.2.1", strict: bool = True) -> list[Issue]:
    """Check a PAS Inquiry Request Bundle, as `validate_submit` does; items are optional (query by example).

    Only the references a search needs must resolve (patient, insurer, provider, coverage): spec-13 binds requests, and
    the sample inquiries of the official test suite leave others open.
    """
    issues = _validate(bundle, version, strict, (), INQUIRY_RULES)
    return [issue if _needed(issue) else _soften(issue, strict=False) for issue in issues]


def validate_resource(resource: dict[str, Any]) -> list[Issue]:
    """Structure of a plain R4 resource or Bundle; fullUrls unique where there are any."""
    issues = structure_issues(resource)
    if issues or resource.get("resourceType") != "Bundle":
        return issues
    return list(_unique_urls(resource))


def validate_response(bundle: dict[str, Any], *, strict: bool = True) -> list[Issue]:
    """Check a PAS Response Bundle: structure, ClaimResponse first, closure (its `request` need not be included)."""
    issues = structure_issues(bundle)
    first = next(iter(entries(bundle)), {}).get("resource") or {}
    if issues or bundle.get("resourceType") != "Bundle" or first.get("resourceType") != "ClaimResponse":
        return issues or [Issue("structure", "Bundle.entry[0].resource", "a ClaimResponse expected")]
    found = list(_urls(bundle)) + list(_unique_urls(bundle))
    reference_issues = _closure_issues(closure(bundle, skip=frozenset({"request"})))
    return found + [_soften(issue, strict) for issue in reference_issues]


def _validate(
    bundle: dict[str, Any], version: str, strict: bool, hard: tuple[Rule, ...], profile: tuple[Rule, ...]
) -> list[Issue]:
    frame = list(_frame(bundle))
    if frame:
        return frame
    issues = structure_issues(bundle)
    if issues:
        return issues
    all_entries = entries(bundle)
    submission = Submission(bundle, all_entries[0]["resource"], BundleIndex(bundle), version, closure(bundle))
    issues += [*_unique_urls(bundle), *(issue for rule in hard for issue in rule(submission))]
    soft = [*_envelope(bundle), *_urls(bundle), *_closure_issues(submission.closure)]
    soft += [issue for rule in profile for issue in rule(submission)]
    return issues + [_soften(issue, strict) for issue in soft]


SEARCHED = re.compile(r"^Bundle\.entry\[0\]\.resource\.(patient|insurer|provider|insurance\[\d+\]\.coverage)\.")


def _needed(issue: Issue) -> bool:
    return issue.code != "reference" or bool(SEARCHED.match(issue.location))


def _soften(issue: Issue, strict: bool) -> Issue:
    return issue if strict or issue.severity != "error" else replace(issue, severity="warning")


def _frame(bundle: dict[str, Any]) -> Iterator[Issue]:
    if bundle.get("resourceType") != "Bundle":
        yield Issue("structure", "Bundle", "a Bundle expected")
        return
    if bundle.get("type") != "collection":
        yield Issue("value", "Bundle.type", "collection expected")
    all_entries = entries(bundle)
    if not all_entries:
        yield Issue("required", "Bundle.entry", "at least one entry, the Claim")
        return
    first = all_entries[0].get("resource")
    if not isinstance(first, dict) or first.get("resourceType") != "Claim":
        yield Issue("invariant", "Bundle.entry[0].resource", "the first entry must be the Claim")


def _envelope(bundle: dict[str, Any]) -> Iterator[Issue]:
    if not (bundle.get("identifier") or {}).get("value"):
        yield Issue("required", "Bundle.identifier", "a required element is missing")
    if not bundle.get("timestamp"):
        yield Issue("required", "Bundle.timestamp", "a required element is missing")
    for number, entry in enumerate(entries(bundle)):
        for name in ("search", "request", "response"):
            if name in entry:
                yield Issue("structure", f"Bundle.entry[{number}].{name}", "not allowed in a collection")


def _urls(bundle: dict[str, Any]) -> Iterator[Issue]:
    for number, entry in enumerate(entries(bundle)):
        url = entry.get("fullUrl")
        where = f"Bundle.entry[{number}].fullUrl"
        if not url:
            yield Issue("required", where, "a required element is missing")
        elif not is_full_url(url):
            yield Issue("value", where, "an http(s) URL or urn:uuid expected")
        if "resource" not in entry:
            yield Issue("required", f"Bundle.entry[{number}].resource", "a required element is missing")


def _unique_urls(bundle: dict[str, Any]) -> Iterator[Issue]:
    counted = Counter(entry["fullUrl"] for entry in entries(bundle) if entry.get("fullUrl"))
    seen: set[str] = set()
    for number, entry in enumerate(entries(bundle)):
        url = entry.get("fullUrl")
        version = ((entry.get("resource") or {}).get("meta") or {}).get("versionId", "")
        if url and counted[url] > 1 and f"{url} {version}" in seen:
            yield Issue("duplicate", f"Bundle.entry[{number}].fullUrl", "a resource may appear only once")
        seen.add(f"{url} {version}")


def _closure_issues(found: Closure) -> list[Issue]:
    dangling = [Issue("reference", ref.path, "no entry of the Bundle is meant") for ref in found.dangling]
    return dangling + [Issue("duplicate", ref.path, "more than one entry is meant") for ref in found.ambiguous]
