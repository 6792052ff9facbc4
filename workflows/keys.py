"""The idempotency key of what is sent for an event of a case."""

from __future__ import annotations


def ask_key(case_id: str, version: int, endpoint: str) -> str:
    """Key of the request, inquiry or documents that the event at `version` tells of."""
    return f"{case_id}:{version}:{endpoint}"
