"""Exactly one OperationOutcome for any number of issues (PAS spec-35), with FHIRPath expressions.

Texts come from our own tables and say positions and codes only: an OperationOutcome never repeats what was sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.core.errors import GatewayError, Issue

ISSUE_TYPES = {
    "malformed": "structure",
    "structure": "structure",
    "required": "required",
    "value": "value",
    "invariant": "invariant",
    "invalid": "invalid",
    "unsupported": "not-supported",
    "limit": "too-long",
    "conflict": "duplicate",
    "duplicate": "duplicate",
    "unauthorized": "forbidden",
    "login": "login",
    "forbidden": "forbidden",
    "not-found": "not-found",
    "reference": "not-found",
    "business-rule": "business-rule",
    "informational": "informational",
    "suppressed": "suppressed",
    "timeout": "timeout",
    "unavailable": "transient",
    "own": "exception",
}
"""Our issue and error codes → FHIR issue-type codes; anything else becomes `processing`."""
SEVERITIES = frozenset({"fatal", "error", "warning", "information"})


def operation_outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """One OperationOutcome; without issues, one that says all is well (FHIR demands at least one issue)."""
    rows = [_row(issue) for issue in issues]
    if not rows:
        rows = [{"severity": "information", "code": "informational", "diagnostics": "All OK"}]
    return {"resourceType": "OperationOutcome", "issue": rows}


def outcome_of(error: GatewayError) -> dict[str, Any]:
    """The OperationOutcome of an error: its issues where it carries some, else the error itself."""
    return operation_outcome(error.issues or (Issue(error.code, error.location, error.message),))


def _row(issue: Issue) -> dict[str, Any]:
    row: dict[str, Any] = {
        "severity": issue.severity if issue.severity in SEVERITIES else "error",
        "code": ISSUE_TYPES.get(issue.code, "processing"),
        "diagnostics": issue.text,
    }
    if issue.location:
        row["expression"] = [issue.location]
    return row
