"""Log redaction by default-deny (promise 5): a field that is not on the list does not reach the log.

`redact` is a structlog processor, placed last before the renderer. Fields on the list hold our own ids, codes, counts
and durations; a value that is not a plain scalar, or is longer than such things are, is withheld. What was withheld is
counted under `withheld`, so that a missing field is seen and can be reasoned about, never guessed.

Exceptions keep class, error code and the frames' places. Their text is kept for our own errors only, which never
repeat a sender's content; a foreign exception's text may quote the value it choked on.

Records of foreign loggers (`strip_arguments`, a logging.Filter) keep their template and lose its arguments.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

from gateway.core.errors import GatewayError

FIELDS = frozenset(
    {
        # what every record has
        "event", "level", "logger", "timestamp", "service", "version", "role", "pid", "profile",
        # tracing and our own opaque ids (tokens, UUIDs)
        "trace_id", "span_id", "request_id", "correlation_id", "causation_id", "envelope_id", "case_id", "workflow_id",
        "run_id", "delivery_id", "subscription_id", "token_id", "key_id", "blob_uri",
        # where: names from configuration or the source code
        "tenant", "client", "endpoint", "source", "adapter", "format", "type", "topic", "partition", "offset", "group",
        "consumer", "stage", "step", "definition", "mapping", "rule_set", "release", "queue", "task_queue", "activity",
        "route", "method", "operation", "address", "host", "port", "protocol", "peer",
        # what happened: codes and numbers
        "status", "code", "codes", "error", "error_code", "error_type", "issues", "location", "outcome", "action",
        "reason", "attempt", "attempts", "retry_after", "duration_ms", "elapsed_ms", "seconds", "bytes", "size",
        "count", "total", "lag", "depth", "rate", "limit", "from_version", "to_version", "state", "mode", "sha256",
        "signal",
    }
)  # fmt: skip
"""The allow-list. A new field is added here by review: may its value ever name a person? Then it does not belong."""

MAX_TEXT = 200
"""Longest text kept, in characters: ids, codes and our own messages are shorter, payload fragments usually not."""

WITHHELD = "(withheld)"
PRINTABLE = re.compile(r"[^\x20-\x7e]")


def redact(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001 - structlog's signature
    """Keep listed fields with plain values; count the rest in `withheld`."""
    kept: dict[str, Any] = {}
    withheld = 0
    for name, value in event.items():
        if name.startswith("_"):  # structlog's own book-keeping (_record, _from_structlog)
            kept[name] = value
        elif name in {"exc_info", "exception", "stack_info"}:
            kept.update(_exception(value))
        elif name in FIELDS and (safe := _plain(value)) is not None:
            kept[name] = safe
        else:
            withheld += value is not None
    if withheld:
        kept["withheld"] = withheld
    return kept


def strip_arguments(record: logging.LogRecord) -> bool:
    """A logging filter for foreign loggers: the template is source code, the arguments are data."""
    record.args = ()
    record.msg = record.msg if isinstance(record.msg, str) else WITHHELD
    return True


def describe(error: BaseException) -> dict[str, Any]:
    """What a log may say about an exception: class, code, places, and the text where it is ours."""
    fields: dict[str, Any] = {
        "error_type": type(error).__name__,
        "frames": _frames(error.__traceback__),
    }
    if isinstance(error, GatewayError):
        fields |= {"error_code": error.code, "error": _text(str(error))}
        if error.issues:
            fields["issues"] = [f"{issue.code} at {_text(issue.location)}" for issue in error.issues[:20]]
    if error.__cause__ is not None:
        fields["cause_type"] = type(error.__cause__).__name__
    return fields


def _exception(value: object) -> dict[str, Any]:
    if isinstance(value, BaseException):
        return describe(value)
    if isinstance(value, tuple) and len(value) == 3 and isinstance(value[1], BaseException):
        return describe(value[1])
    if value is True:
        current = sys.exc_info()[1]
        return describe(current) if current is not None else {}
    return {}  # a rendered traceback holds source lines and messages: not kept


def _frames(trace: TracebackType | None) -> list[str]:
    return [
        f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(trace, limit=-20)
    ]


def _plain(value: object) -> object | None:
    """The value if it is a scalar or a short list of scalars, made printable; None otherwise."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple | set | frozenset) and len(value) <= 50:
        items = [_plain(item) for item in value if not isinstance(item, list | tuple | set | frozenset)]
        return items if len(items) == len(value) and None not in items else None
    return None


def _text(value: str) -> str:
    """Printable ASCII on one line (no forged log lines), cut to `MAX_TEXT`."""
    clean = PRINTABLE.sub("?", value[: MAX_TEXT + 1])
    return clean if len(clean) <= MAX_TEXT else clean[:MAX_TEXT] + "…"
