"""What a server says in an OperationOutcome: issue codes and positions, never its words, which may quote a person."""

from __future__ import annotations

import re
from typing import Any

from adapters.fhir.wire import Limits, parse
from adapters.fhir.wire.elements import rows
from gateway.core.errors import GatewayError, Issue

LARGEST = 256 * 1024
MOST = 20
"""Issues that are kept of one outcome."""
SEVERE = frozenset({"fatal", "error"})
CODES = frozenset(
    "invalid structure required value invariant security login unknown expired forbidden suppressed processing "
    "not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly "
    "business-rule conflict transient lock-error no-store exception timeout incomplete throttled informational".split()
)
"""http://hl7.org/fhir/issue-type (R4)."""
POSITION = re.compile(r"^[A-Za-z]+(\[\d{1,5}\])?(\.[A-Za-z]+(\[\d{1,5}\])?){0,20}$")
"""Names and indices only: a FHIRPath with a predicate could hold a value."""


def outcome_issues(body: bytes) -> tuple[Issue, ...]:
    """The errors of an OperationOutcome; () for anything else."""
    if not body or len(body) > LARGEST:
        return ()
    try:
        form = "application/fhir+xml" if body.lstrip()[:1] == b"<" else "application/fhir+json"
        return errors_in(parse(body, form, Limits(size=LARGEST)))
    except GatewayError:
        return ()


def errors_in(resource: dict[str, Any]) -> tuple[Issue, ...]:
    """The same, of a resource that was read."""
    if resource.get("resourceType") != "OperationOutcome":
        return ()
    severe = [row for row in rows(resource, "issue") if row.get("severity") in SEVERE]
    return tuple(_issue(row) for row in severe[:MOST])


def _issue(row: dict[str, Any]) -> Issue:
    code = row.get("code")
    places = [place for name in ("expression", "location") for place in row.get(name) or () if isinstance(place, str)]
    where = next((place for place in places if POSITION.match(place)), "")
    return Issue(code if isinstance(code, str) and code in CODES else "unknown", where, "refused by the endpoint")
