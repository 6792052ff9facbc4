"""Answers: content negotiation, headers, and the one table from our errors to HTTP.

FHIR R4 http.html §2.21: `_format` overrides Accept; errors are one OperationOutcome (PAS spec-35); 401 carries
WWW-Authenticate. Texts of errors hold positions and codes only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.wire import FHIR_JSON, media_form, operation_outcome, serialize
from gateway.core.errors import (
    GatewayError,
    InvalidMessage,
    Issue,
    LimitExceeded,
    MalformedMessage,
    MessageConflict,
    OwnError,
    UnauthorizedSender,
    Unavailable,
    Unmappable,
    UnsupportedMessage,
)

STATUSES: tuple[tuple[type[GatewayError], int], ...] = (
    (MalformedMessage, 400),
    (InvalidMessage, 422),
    (UnsupportedMessage, 415),
    (UnauthorizedSender, 401),
    (MessageConflict, 409),
    (LimitExceeded, 413),
    (Unmappable, 422),
    (Unavailable, 503),
    (OwnError, 500),
)
"""Our error → HTTP status, most specific first."""

ALWAYS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class Failure(Exception):
    """An answer that ends a request early: a status with its issues."""

    def __init__(self, status: int, *issues: Issue, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.issues = issues
        self.headers = dict(headers or {})


def accepted_form(request: Request) -> str:
    """The form the client wants: `application/fhir+json` or `application/fhir+xml`. Raises Failure(406)."""
    # In a query string an unescaped plus is a blank: `_format=application/fhir+json` is what people write.
    wanted = request.query_params.get("_format", "").replace(" ", "+")
    if wanted:
        return _form(wanted, "_format")
    ranges = request.headers.get("accept", "*/*").split(",")
    for entry in sorted(ranges, key=_quality, reverse=True):
        kind = entry.split(";")[0].strip().lower()
        if _quality(entry) <= 0:
            continue
        if kind in {"*/*", "application/*", "", "text/*"}:
            return FHIR_JSON
        try:
            return media_form(entry)
        except UnsupportedMessage:
            continue
    raise Failure(406, Issue("unsupported", "", "answers are application/fhir+json or application/fhir+xml"))


def reply(
    request: Request, resource: dict[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A resource in the form the client wants."""
    try:
        form = accepted_form(request)
    except Failure:
        if status < 400:
            raise
        form = FHIR_JSON  # an error must be told, even to a client that accepts nothing we speak
    try:
        data = serialize(resource, form)
    except InvalidMessage:
        # An echoed element that XML has no place for: the request stands, and must not look refused for our answer.
        form, data = FHIR_JSON, serialize(resource, FHIR_JSON)
    return Response(data, status_code=status, media_type=form, headers={**ALWAYS, **(headers or {})})


def empty(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """No body."""
    return Response(status_code=status, headers={**ALWAYS, **(headers or {})})


def refuse(
    request: Request, status: int, issues: Sequence[Issue], headers: Mapping[str, str] | None = None
) -> Response:
    """Exactly one OperationOutcome."""
    extra = {"www-authenticate": 'Bearer realm="fhir"'} if status == 401 else {}
    return reply(request, operation_outcome(issues), status, {**extra, **(headers or {})})


def failure_of(error: GatewayError, retry_after: int) -> Failure:
    """The answer to an error that reached the edge."""
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
    if status == 500:
        return Failure(500, Issue("own", "", "an internal fault"))
    issues = error.issues or (Issue(_code(status, error), error.location, error.message),)
    return Failure(status, *issues, headers={"retry-after": str(retry_after)} if status == 503 else None)


UNREADABLE = frozenset({"malformed", "structure", "limit"})


def invalid(issues: Sequence[Issue]) -> Failure:
    """A refused message: 403 where it asks for what is another's, 400 where it cannot be read as FHIR, else 422."""
    codes = {issue.code for issue in issues}
    return Failure(403 if "forbidden" in codes else 400 if codes & UNREADABLE else 422, *issues)


def errors_of(issues: Sequence[Issue]) -> list[Issue]:
    """The issues that forbid processing."""
    return [issue for issue in issues if issue.severity in {"error", "fatal"}]


def preference(request: Request, name: str) -> str:
    """A value of the Prefer header: `return` → minimal | representation | OperationOutcome; `handling` → strict …"""
    for entry in ",".join(request.headers.getlist("prefer")).replace(";", ",").split(","):
        key, _, value = entry.strip().partition("=")
        if key.strip().lower() == name:
            return value.strip().strip('"')
    return ""


def etag(version: int) -> str:
    """A weak ETag of a version."""
    return f'W/"{version}"'


def names(header: str, version: int) -> bool:
    """Whether an If-Match or If-None-Match header names this version: a list, compared weakly, or `*` (RFC 9110 13.1).

    FHIR's ETags are weak and clients leave the mark out: both headers are compared in the same way.
    """
    given = [entry.strip().removeprefix("W/") for entry in header.split(",")]
    return "*" in given or etag(version).removeprefix("W/") in given


def versioned(version: int, updated: datetime) -> dict[str, str]:
    """ETag and Last-Modified."""
    return {"etag": etag(version), "last-modified": format_datetime(updated, usegmt=True)}


def _code(status: int, error: GatewayError) -> str:
    return {401: "login", 503: "unavailable"}.get(status, error.code)


def _form(wanted: str, location: str) -> str:
    try:
        return media_form(wanted)
    except UnsupportedMessage as error:
        raise Failure(406, Issue("unsupported", location, error.message)) from None


def _quality(entry: str) -> float:
    for parameter in entry.split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
