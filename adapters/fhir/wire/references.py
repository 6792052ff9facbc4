"""Which entry of a Bundle a reference means, and whether the Bundle is closed (PAS spec-13, spec-14, spec-66).

R4 2.36.4.1: an absolute or urn reference equals a fullUrl; a relative one is completed with the base of the entry
that holds it. Where that entry has a urn fullUrl there is no base, so type and id decide, as all known senders do.
Everything here counts: a reference is right when it means exactly one entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

RELATIVE = re.compile(r"^([A-Z][A-Za-z]{2,40})/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?$")
ABSOLUTE = re.compile(r"^(https?://\S+?)/([A-Z][A-Za-z]{2,40})/([A-Za-z0-9\-.]{1,64})$")
HISTORY = re.compile(r"/_history/[A-Za-z0-9\-.]{1,64}$")


@dataclass(frozen=True, slots=True)
class Reference:
    """One `reference` string: its value and its FHIRPath within the Bundle."""

    value: str
    path: str


@dataclass(slots=True)
class BundleIndex:
    """Entries of a Bundle by fullUrl and by Type/id; values are entry numbers."""

    bundle: dict[str, Any]
    by_url: dict[str, list[int]] = field(default_factory=dict)
    by_id: dict[str, list[int]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(init=False)
    """The entries, listed once: a Bundle may have tens of thousands, and each of their references asks for one."""

    def __post_init__(self) -> None:
        self.rows = entries(self.bundle)
        for number, entry in enumerate(self.rows):
            resource = entry.get("resource")
            if not isinstance(resource, dict):
                continue
            if isinstance(entry.get("fullUrl"), str):
                self.by_url.setdefault(entry["fullUrl"], []).append(number)
            if "id" in resource:
                self.by_id.setdefault(f"{resource.get('resourceType')}/{resource['id']}", []).append(number)

    def find(self, reference: str, holder: int) -> list[int]:
        """Numbers of the entries that `reference`, held by entry `holder`, means; contained ones mean the holder."""
        if reference.startswith("#"):
            return [holder]
        target = HISTORY.sub("", reference)
        if not RELATIVE.match(target):
            return self.by_url.get(target, [])
        base = ABSOLUTE.match(str(self.rows[holder].get("fullUrl", "")))
        if base:
            found = self.by_url.get(f"{base[1]}/{target}")
            if found:
                return found
        return self.by_id.get(target, [])

    def resource(self, reference: Any, holder: int = 0) -> dict[str, Any] | None:
        """The resource a Reference element means, when it means exactly one."""
        number = self.entry_number(reference, holder)
        return None if number is None else self.rows[number].get("resource")

    def entry_number(self, reference: Any, holder: int = 0) -> int | None:
        """The entry number a Reference element means, when it means exactly one entry."""
        value = reference.get("reference") if isinstance(reference, dict) else None
        found = self.find(value, holder) if isinstance(value, str) else []
        return found[0] if len(found) == 1 else None


def entries(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries that are objects; a Bundle without a proper `entry` has none."""
    found = bundle.get("entry")
    return [entry if isinstance(entry, dict) else {} for entry in found] if isinstance(found, list) else []


def references_in(value: Any, path: str, skip: frozenset[str] = frozenset()) -> Iterator[Reference]:
    """Every `reference` string below a value, with its FHIRPath; elements named in `skip` are not entered."""
    if isinstance(value, dict):
        found = value.get("reference")
        if isinstance(found, str):
            yield Reference(found, f"{path}.reference")
        for name, child in value.items():
            if isinstance(child, dict | list) and name not in skip:
                yield from references_in(child, f"{path}.{name}", skip)
    elif isinstance(value, list):
        for number, child in enumerate(value):
            if isinstance(child, dict | list):
                yield from references_in(child, f"{path}[{number}]", skip)


@dataclass(slots=True)
class Closure:
    """What a traversal from the first entry found."""

    reached: set[int] = field(default_factory=set)
    dangling: list[Reference] = field(default_factory=list)
    """References that mean no entry."""
    ambiguous: list[Reference] = field(default_factory=list)
    """References that mean more than one entry."""


def closure(
    bundle: dict[str, Any], start: int = 0, *, skip: frozenset[str] = frozenset(), index: BundleIndex | None = None
) -> Closure:
    """Follow every reference from entry `start`, transitively.

    `related` is entered in the start entry only: a prior Claim's own parent must not be in the Bundle (spec-66).
    `skip` names elements of the start entry that are not followed (`request` of a ClaimResponse); `index` is that of
    the Bundle, where the caller has it.
    """
    index = index or BundleIndex(bundle)
    result = Closure()
    waiting = [start] if start < len(index.rows) else []
    while waiting:
        number = waiting.pop()
        if number in result.reached:
            continue
        result.reached.add(number)
        left_out = skip if number == start else frozenset({"related"})
        resource = index.rows[number].get("resource")
        for reference in references_in(resource, f"Bundle.entry[{number}].resource", left_out):
            if reference.value.startswith("#"):
                continue
            found = index.find(reference.value, number)
            if len(found) == 1:
                waiting.append(found[0])
            else:
                (result.ambiguous if found else result.dangling).append(reference)
    return result
