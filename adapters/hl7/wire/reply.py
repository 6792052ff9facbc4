"""Answers we receive: which message they answer (MSA-2), and what their code means for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.core.errors import GatewayError

from .reader import parse

Action = Literal["complete", "fail", "retry"]
"""complete: delivered; fail: refused for good, a person looks; retry: the same bytes again, later."""

ACTIONS: Mapping[str, Action] = {
    "AA": "complete",
    "CA": "complete",
    "AE": "fail",
    "CE": "fail",
    "AR": "retry",
    "CR": "retry",
    "": "retry",
}
"""Default meaning of MSA-1 (table 0008); blank stands for no code or an unknown one. Engines disagree about AE and
AR, so each partner may set its own."""


_CODE = re.compile(r"[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Reply:
    """One acknowledgement, or an application answer that carries one."""

    code: str
    """MSA-1: AA, AE, AR, CA, CE, CR; empty when it is none of these."""
    control_id: str
    """MSA-2: MSH-10 of the message it answers."""
    kind: str
    """MSH-9.1: ACK, RPA, RRI …"""
    conditions: tuple[str, ...]
    """Codes of table 0357 in its ERR segments; what has more than three digits is no code, and may be anything."""
    raw: bytes

    @property
    def accept(self) -> bool:
        """Whether it is an accept acknowledgement (CA, CE, CR), the first phase of enhanced mode."""
        return self.code.startswith("C")


def read_reply(raw: bytes, *, charset: str | None = None) -> Reply | None:
    """Read an answer; None when the bytes are no message with an MSA (foreign or broken: never a positive answer)."""
    try:
        message = parse(raw, charset=charset)
    except GatewayError:
        return None
    msa = message.first("MSA")
    if msa is None:
        return None
    code = msa.get(1).upper()
    conditions = [segment.get(3) or segment.get(1, 4) for segment in message.all("ERR")]
    return Reply(
        code if code in ACTIONS else "",
        msa.get(2),
        message.code,
        tuple(condition for condition in conditions if _CODE.fullmatch(condition)),
        raw,
    )


def action_for(code: str, overrides: Mapping[str, Action] | None = None) -> Action:
    """What a reply code means for one partner."""
    return {**ACTIONS, **(overrides or {})}.get(code, "retry")
