"""What a case keeps of its messages (`workflow_instances.context`, sealed), and what a further message makes of it."""

from __future__ import annotations

import base64
from typing import Any

from gateway.core.envelope import Envelope, Raw
from gateway.stages.ask import ANSWERS

ANSWERED_FROM_BYTES = frozenset({"hl7v2"})
"""Formats whose answer repeats segments of the request as they were received."""
REJECTED = "AA"
"""The column `action` of a case whose newest message was rejected as business (AAA, cut to its two characters)."""
STANDING = ("facts", "resource", "reply")
"""What of a decided request is needed to tell of its decision again."""

ADDING = (".attachment",)
"""Endings of message types that add to a request instead of stating it anew."""
ADDED_LISTS = ("documents", "observations", "therapies", "diagnoses")
"""Fact lists that grow by what is added."""


def context_of(envelope: Envelope) -> dict[str, Any]:
    """What a case keeps of the message that opened it."""
    return {
        "facts": envelope.facts,
        "resource": envelope.resource,
        "reply": envelope.reply,
        "type": envelope.type,
        "source": envelope.source,
        "format": envelope.format,
        "subject": envelope.subject,
        "eventId": envelope.id,
        "correlationId": envelope.correlation_id,
        "traceParent": envelope.trace_parent,
        "raw": _text(envelope.raw) if envelope.format in ANSWERED_FROM_BYTES else "",
    }


def joined_context(before: dict[str, Any], after: dict[str, Any], action: str = "") -> dict[str, Any]:
    """What a case keeps once a further message has joined it.

    An update states the whole request anew and takes its place. An attachment only adds: its documents join the facts,
    while the request itself, and the way its answer goes back, stay as they were. An update may be refused: the request
    that was decided (with `action`) is kept beside it, and is what an attachment after the refusal adds to.
    """
    if after["type"] in ANSWERS:
        return before  # what a payer says of a request is no request
    if not str(after["type"]).endswith(ADDING):
        if action == REJECTED:
            return after | {name: before[name] for name in ("standing",) if name in before}
        return after | {"standing": {name: before[name] for name in STANDING}} if action else after
    if action == REJECTED:
        before = before | before.get("standing", {})
    return before | {"facts": with_added(before["facts"], after["facts"])}


def with_added(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Facts with what a message adds: lists grow, what was unknown becomes known, nothing is overwritten."""
    facts = dict(before)
    for name, value in after.items():
        if name in ADDED_LISTS:
            known = facts.get(name, [])
            facts[name] = known + [row for row in value if row not in known]
        else:
            facts.setdefault(name, value)
    return facts


def _text(raw: Raw) -> str:
    return base64.b64encode(raw.data or b"").decode("ascii")
