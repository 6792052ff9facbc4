"""Echoing resources of a request in its answer (PAS spec-33) so that every reference still means exactly one entry.

An echoed resource keeps fullUrl, id and identifiers; relative references inside it become the fullUrl they mean,
because an answer is read outside the base it was asked in (known test suites drop the port of a base URL).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from adapters.fhir.wire import BundleIndex, closure
from adapters.fhir.wire.pas_rules import is_full_url
from adapters.fhir.wire.terms import DATA_ABSENT

NAMESPACE = uuid.UUID("6a1b3f0e-5a5e-5c1d-9d53-3c0f6f6a9b57")
"""Root of all derived UUIDs of this gateway's FHIR answers."""
ATTACHMENTS_ECHOED = 256 * 1024
"""Base64 characters of attachments up to which the Claim with its documents is echoed; beyond, only its URL is."""


def derived_uuid(*names: str) -> str:
    """UUIDv5 of the names: the same names give the same id on every machine and every day."""
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(names)))


@dataclass(slots=True)
class Echo:
    """The request Bundle as a source of echoed entries; collects which are needed."""

    bundle: dict[str, Any]
    case_id: str
    index: BundleIndex = field(init=False)
    wanted: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.index = BundleIndex(self.bundle)

    def url(self, number: int) -> str:
        """The fullUrl of an entry; a derived urn:uuid where the sender gave none, or none that is absolute."""
        given = str(self.index.rows[number].get("fullUrl", ""))
        return given if is_full_url(given) else f"urn:uuid:{derived_uuid(self.case_id, 'entry', str(number))}"

    def refer(self, reference: Any, holder: int = 0) -> dict[str, Any]:
        """A Reference with the absolute URL of the entry meant, which is then echoed with all it refers to."""
        number = self.index.entry_number(reference, holder)
        if number is not None:
            self.want(number)
        return self.absolute(reference if isinstance(reference, dict) else {}, holder) or _unknown()

    def want(self, number: int) -> None:
        """Echo this entry and everything it leads to; what is wanted already has brought that with it."""
        if number not in self.wanted:
            self.wanted |= closure(self.bundle, number, index=self.index).reached

    def absolute(self, value: Any, holder: int = 0) -> Any:
        """A copy with every relative reference replaced by the fullUrl it means.

        A reference that means no entry (let in by lenient mode) says so instead of dangling.
        """
        if isinstance(value, list):
            return [self.absolute(child, holder) if isinstance(child, dict | list) else child for child in value]
        if not isinstance(value, dict):
            return value
        copy = {
            name: self.absolute(child, holder) if isinstance(child, dict | list) else child
            for name, child in value.items()
        }
        reference = value.get("reference")
        if isinstance(reference, str) and not reference.startswith("#"):
            found = self.index.find(reference, holder)
            if len(found) == 1:
                copy["reference"] = self.url(found[0])
            else:
                del copy["reference"]
                copy = copy | ({} if copy else _unknown())
        return copy

    def entries(self) -> list[dict[str, Any]]:
        """The wanted entries in the request's order, with absolute references."""
        return [
            {"fullUrl": self.url(number), "resource": self.absolute(self.index.rows[number]["resource"], number)}
            for number in sorted(self.wanted)
            if "resource" in self.index.rows[number]
        ]

    def claim_fits(self) -> bool:
        """Are the documents of the request small enough to be echoed with the Claim?"""
        return sum(_attachment_size(entry.get("resource")) for entry in self.index.rows) <= ATTACHMENTS_ECHOED


def _attachment_size(value: Any) -> int:
    if isinstance(value, dict):
        data = value.get("data")
        return (len(data) if isinstance(data, str) else 0) + _attachment_size(list(value.values()))
    if isinstance(value, list):
        return sum(_attachment_size(child) for child in value if isinstance(child, dict | list))
    return 0


def _unknown() -> dict[str, Any]:
    return {"extension": [{"url": DATA_ABSENT, "valueCode": "unknown"}]}
