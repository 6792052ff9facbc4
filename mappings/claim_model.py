"""A typed view of a PAS request, shared by the renderings of one decision on every rail.

Built once from the Bundle; holds only what more than one mapping needs. Dates are ISO strings as sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A person or organization: who, under which identifiers."""

    npi: str = ""
    identifiers: tuple[tuple[str, str], ...] = ()
    """(system, value) pairs."""
    name: str = ""
    taxonomy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLine:
    """One requested item. `element` is the Claim.item itself, for what only FHIR carries."""

    sequence: int
    code: str = ""
    """"" when the item names no product or service (data-absent-reason not-applicable)."""
    system: str = ""
    modifiers: tuple[str, ...] = ()
    category: str = ""
    request_type: str = ""
    certification_type: str = ""
    quantity: int | Decimal | None = None
    unit: str = ""
    start: str = ""
    end: str = ""
    place_of_service: str = ""
    amount: int | Decimal | None = None
    traces: tuple[tuple[str, str], ...] = ()
    """Item trace numbers (system, value), to be echoed byte-equal."""
    authorization_number: str = ""
    administration_reference: str = ""
    change: str = ""
    """`added`, `changed` or `cancelled` against the prior Claim; "" for unchanged items and first requests."""
    element: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimView:
    """One PAS request: the first Claim of the Bundle with what it references."""

    kind: str
    """`authorization.request`, `authorization.update` or `authorization.cancel`."""
    bundle_identifier: tuple[str, str]
    trace: tuple[str, str]
    """Claim.identifier (system, value): TRN03 and TRN02."""
    trace_department: str = ""
    """TRN04."""
    certification_type: str = ""
    priority: str
    """`expedited` or `standard`: which legal clock runs."""
    priority_rule: str
    """Which rule decided the priority, for the public metrics."""
    level_of_service: str = ""
    member_id: str
    lines: tuple[ServiceLine, ...]
    insurer: Party
    provider: Party
    transmission: dict[str, str] = field(default_factory=dict)
    """ISA06/ISA08 and GS02/GS03 as the request gave them."""
