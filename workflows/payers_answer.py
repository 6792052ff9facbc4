"""What a payer's message is about and what it changes, read from a case's stream. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from gateway.core.envelope import Intake
from gateway.core.exact_json import dumps
from gateway.core.ports import Decision
from gateway.stages import ask
from gateway.stages.decide import PENDED, administrative_reference, as_json, from_json
from gateway.store import events
from gateway.store.cases import Case
from mappings import payer_answers


def asked_by(stream: Sequence[events.StoredEvent], message: events.StoredEvent) -> events.StoredEvent | None:
    """The newest request that a message is about, if it is from whom was asked."""
    reply: Mapping[str, Any] = (message.sealed or {})["reply"]
    for event in reversed(stream):
        if event.type != ask.ASKED or event.version > message.version or event.sealed is None:
            continue
        if message.data.get("ask") == event.version:
            return event
        partner = event.data["partner"]
        is_from = (
            message.data["source"] in (f"sftp/{partner}", f"core/{partner}", f"fhir/{partner}")
            or reply.get("client") == partner
        )
        if is_from and "ask" not in message.data and payer_answers.answers(reply, event.sealed):
            return event
    return None


def standing(stream: Sequence[events.StoredEvent], *, after: int, kept: bool = False) -> Decision | None:
    """The newest decision with items later than `after`; with `kept`, also one that was told nobody."""
    for event in reversed(stream):
        known = event.type == "DecisionMade" or (kept and event.type == ask.ANSWERED)
        if known and event.version > after and event.sealed and "decision" in event.sealed:
            decision = from_json(event.sealed["decision"])
            if decision.items and not (kept and _undecided(decision)):
                return decision
    return None


def numbers_known(case: Case, stream: Sequence[events.StoredEvent], after: int) -> dict[str, str]:
    """The payer's own numbers in its newest decision on the request at `after`, by X12 128: BB, NT. Not ours."""
    found = standing([event for event in stream if (event.sealed or {}).get("message")], after=after)
    if found is None:
        return {}
    reference = found.administrative_reference
    known = {
        "BB": found.authorization_number,
        "NT": "" if reference == administrative_reference(case.id) else reference,
    }
    return {qualifier: number for qualifier, number in known.items() if number}


def _undecided(decision: Decision) -> bool:
    return all(item.action == PENDED for item in decision.items)


def content(decision: Decision | None) -> bytes:
    """A decision as it is stored, without when and where it stands."""
    if decision is None:
        return b""
    return dumps(as_json(decision) | {"version": 0, "decided_at": ""})


def lines_of(case: Case) -> list[int]:
    """Item sequences of the case as it stands."""
    services = case.context["facts"].get("services") or [{"sequence": 1}]
    return [int(service.get("sequence", number)) for number, service in enumerate(services, 1)]


def overtaken(stream: Sequence[events.StoredEvent], message: events.StoredEvent) -> bool:
    """Whether the payer has said something later about the same, which was read already."""
    read = {int((event.sealed or {}).get("message", 0)) for event in stream if event.type == "DecisionMade"}
    known = [event.sealed["reply"] for event in stream if event.version in read and event.sealed is not None]
    return payer_answers.overtaken((message.sealed or {})["reply"], known)


def decision_of(
    case: Case,
    before: Sequence[events.StoredEvent],
    reply: Mapping[str, Any],
    asked: events.StoredEvent,
    at: datetime,
) -> Decision:
    """The decision on the whole case by what a payer said; `before`: the stream up to then."""
    return payer_answers.decision_from(
        reply,
        asked.sealed or {},
        case_id=case.id,
        version=case.version + 1,
        received_at=at,
        wanted=lines_of(case),
        before=standing(before, after=0, kept=True),
    )


def received(answer: Intake, source: str, ask_version: int) -> events.NewEvent:
    """The event of an answer on the line, as one of a file would be."""
    return events.NewEvent(
        type="MessageReceived",
        data={"type": answer.type, "source": source, "ask": ask_version},
        sealed={"facts": answer.facts, "reply": answer.reply, "type": answer.type, "format": answer.format},
    )


def learned(
    case: Case, stream: Sequence[events.StoredEvent], version: int, answer: Intake | None
) -> events.NewEvent | None:
    """The message that the answer to the inquiry at `version` makes; None where it says nothing new about the case."""
    inquired = next(event for event in stream if event.version == version)
    asked = next(event for event in stream if event.version == inquired.data["ask"])
    if answer is None or answer.type != ask.RESPONSE or asked.sealed is None:
        return None
    reply = payer_answers.about(answer.reply, asked.sealed, alone=bool(inquired.data["byNumber"]))
    if reply is None:
        return None
    decision = decision_of(case, stream, reply, asked, case.received_at)
    known = standing(stream, after=asked.version)
    if _verdict(decision) == _verdict(known) or (known is None and _undecided(decision) and not decision.errors):
        return None
    return received(replace(answer, reply=reply), inquired.data["endpoint"], asked.version)


def _verdict(decision: Decision | None) -> bytes:
    """What a decision says, without how it is worded: an inquiry shows less than an answer."""
    if decision is None:
        return b""
    whole = as_json(decision)
    items = [{name: row.get(name) for name in ("sequence", "action", "reasons", "changes")} for row in whole["items"]]
    codes = [row.get("code") for row in whole["errors"]]
    number = whole["authorization_number"]
    return dumps({"items": items, "errors": codes, "number": number})
