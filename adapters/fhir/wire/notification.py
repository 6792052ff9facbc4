"""Reading a subscription notification (Subscriptions R5 Backport 1.1.0 on R4), and the answer of `$status`.

A notification is a history Bundle whose first entry is the status as Parameters. What is missing or odd in it is taken
as it can be: servers leave out `status` and numbers. What is no notification at all is refused.

Not handled: notifications of R5's SubscriptionStatus resource, several subscriptions in one Bundle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from adapters.fhir.wire.elements import rows, value_of
from adapters.fhir.wire.references import entries
from gateway.core.errors import InvalidMessage

KINDS = frozenset({"handshake", "heartbeat", "event-notification", "query-status", "query-event"})
LARGEST_NUMBER = 2**53
"""Event numbers are integer64 in R5, and what JSON readers agree on ends here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One event of a notification."""

    number: int
    """0 where the server says none."""
    focus: str
    """The address of what changed; empty: it is not said (payload `empty`)."""
    resource: dict[str, Any] | None = None
    """The response Bundle, or a lone ClaimResponse in one; None where the notification only names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a notification says."""

    kind: str
    status: str
    subscription: str
    """Id of the subscription."""
    since_start: int
    """How many events it has had; 0 where that is not said."""
    events: tuple[Happening, ...]


def read_notification(bundle: dict[str, Any]) -> Notice:
    """A notification Bundle. Raises InvalidMessage."""
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") not in ("history", "subscription-notification"):
        raise InvalidMessage("a notification is a Bundle of type history", location="Bundle.type")
    status = _status(bundle)
    kind = str(_value(status, "type") or "")
    if kind not in KINDS:
        raise InvalidMessage("the kind of notification is not known", location="Bundle.entry[0].resource.parameter")
    return Notice(
        kind=kind,
        status=str(_value(status, "status") or ""),
        subscription=_reference(_value(status, "subscription")).rstrip("/").rpartition("/")[2],
        since_start=_number(_value(status, "events-since-subscription-start")),
        events=tuple(_events(bundle, status)) if kind == "event-notification" else (),
    )


def read_status(resource: dict[str, Any]) -> tuple[str, int]:
    """(status, events since the start) of an answer to `$status`: a searchset, or the Parameters themselves."""
    found = [resource, *(entry.get("resource") or {} for entry in entries(resource))]
    status = next((row for row in found if row.get("resourceType") == "Parameters"), {})
    return str(_value(status, "status") or ""), _number(_value(status, "events-since-subscription-start"))


def _status(bundle: dict[str, Any]) -> dict[str, Any]:
    first = next(iter(entries(bundle)), {}).get("resource")
    if not isinstance(first, dict) or first.get("resourceType") != "Parameters":
        raise InvalidMessage("the first entry is the status, as Parameters", location="Bundle.entry[0].resource")
    return first


def _events(bundle: dict[str, Any], status: dict[str, Any]) -> Iterator[Happening]:
    told = [row for row in rows(status, "parameter") if row.get("name") == "notification-event"]
    by_url = {str(entry.get("fullUrl")): entry.get("resource") for entry in entries(bundle)[1:]}
    shown = [resource for resource in by_url.values() if _is_answer(resource)]
    for row in told:
        parts = {str(part.get("name")): value_of(part) for part in rows(row, "part")}
        focus = _reference(parts.get("focus"))
        resource = by_url.get(focus)
        if not isinstance(resource, dict) and len(told) == len(shown) == 1:
            resource = shown[0]
        answer = _answer(resource, bundle)
        yield Happening(number=_number(parts.get("event-number")), focus=focus, resource=answer)
    if not told:
        for resource in shown:
            yield Happening(number=0, focus="", resource=_answer(resource, bundle))


def _answer(resource: Any, bundle: dict[str, Any]) -> dict[str, Any] | None:
    """The response Bundle; a ClaimResponse of its own comes with what lies beside it."""
    if not isinstance(resource, dict) or not _is_answer(resource):
        return None
    if resource["resourceType"] == "Bundle":
        return resource
    others = [
        {"resource": found}
        for entry in entries(bundle)[1:]
        if isinstance(found := entry.get("resource"), dict)
        and found.get("resourceType") in ("Task", "CommunicationRequest")
    ]
    stamp = {"timestamp": bundle["timestamp"]} if "timestamp" in bundle else {}
    return {"resourceType": "Bundle", "type": "collection", **stamp, "entry": [{"resource": resource}, *others]}


def _is_answer(resource: Any) -> bool:
    if not isinstance(resource, dict):
        return False
    inside = [entry.get("resource") for entry in entries(resource)] if resource.get("resourceType") == "Bundle" else []
    return any(isinstance(row, dict) and row.get("resourceType") == "ClaimResponse" for row in (resource, *inside))


def _value(parameters: dict[str, Any], name: str) -> Any:
    return value_of(next((row for row in rows(parameters, "parameter") if row.get("name") == name), None))


def _reference(value: Any) -> str:
    found = value.get("reference") if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _number(value: Any) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return min(int(text), LARGEST_NUMBER) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
