"""What the rules of a PAS request look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from adapters.fhir.wire.references import BundleIndex, Closure, entries


@dataclass(frozen=True, slots=True)
class Submission:
    """A request or inquiry Bundle that follows R4, its first Claim, and the traversal from it."""

    bundle: dict[str, Any]
    claim: dict[str, Any]
    index: BundleIndex
    version: str
    """PAS version: 2.2.1 or 2.0.1."""
    closure: Closure

    def reached(self, *types: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """FHIRPath and resource of every entry of these types the Claim leads to."""
        for number, entry in enumerate(entries(self.bundle)):
            resource = entry.get("resource") or {}
            if number in self.closure.reached and resource.get("resourceType") in types:
                yield f"Bundle.entry[{number}].resource", resource

    def parent(self) -> dict[str, Any] | None:
        """The prior Claim this one updates, where it is in the Bundle."""
        for related in self.claim.get("related", []):
            found = self.index.resource(related.get("claim"))
            if found and found.get("resourceType") == "Claim":
                return found
        return None
