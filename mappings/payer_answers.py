"""What payers say, whichever way they are asked: one door to X12 278 (payer_278) and PAS (payer_pas)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gateway.core.envelope import Intake, Reception
from gateway.core.errors import Issue
from gateway.core.ports import Decision
from mappings import payer_278, payer_pas


def read_answer(data: bytes, reception: Reception) -> Intake | None:
    """What a payer answered on the line, by the endpoint it came from. Raises MalformedMessage."""
    if reception.source.startswith("fhir/"):
        return payer_pas.read_answer(data, reception)
    return payer_278.read_answer(data, reception)


def codes_of(issues: Sequence[Issue]) -> list[str]:
    """Codes and positions of what a server refused, for people who mend our request."""
    return payer_pas.codes_of(issues)


def is_pas(reply: Mapping[str, Any]) -> bool:
    """Whether a payer's message is a PAS answer."""
    return reply.get("rail") == payer_pas.RAIL


def answers(reply: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a payer's message is about this request; never across rails."""
    if is_pas(reply) != (record.get("by") == "fhir"):
        return False
    return payer_pas.answers(reply, record) if is_pas(reply) else payer_278.answers(reply, record)


def about(reply: Mapping[str, Any], record: Mapping[str, Any], *, alone: bool) -> dict[str, Any] | None:
    """The part of an answer to an inquiry that is about this request; `alone`: an only return of one by number."""
    return payer_pas.about(reply, record, alone=alone) if is_pas(reply) and record.get("by") == "fhir" else None


def overtaken(reply: Mapping[str, Any], read: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the payer has said something later already, by its own clock. X12 says no moment."""
    return is_pas(reply) and payer_pas.older(reply, [one for one in read if is_pas(one)])


def decision_from(
    reply: Mapping[str, Any],
    record: Mapping[str, Any],
    *,
    case_id: str,
    version: int,
    received_at: datetime,
    wanted: Sequence[int],
    before: Decision | None,
) -> Decision:
    """The decision on the whole case by a payer's message on (a part of) it."""
    read = payer_pas.decision_from if is_pas(reply) else payer_278.decision_from
    return read(reply, record, case_id=case_id, version=version, received_at=received_at, wanted=wanted, before=before)
