"""What is to be done next in a case that another payer decides? Pure: read from the case's events, nothing else.

A payer that is asked answers on the line, later on the line, or by a file of its own; what is asked may be revised
meanwhile; an answer may be "ask again later". All of that is in the case's stream, so a process that died, a signal
that was lost and an answer that came twice change nothing: each turn looks at the stream and does the one next thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from gateway.core.ports import ItemDecision
from gateway.stages.decide import PENDED, roll_up
from gateway.stages.revise import STATEMENTS

RESPONSE, REJECTION = "authorization.response", "authorization.rejected"
ANSWERS = frozenset({RESPONSE, REJECTION})
"""Messages of a payer on what we asked: its 278 response; its TA1 or 999 that refuses our interchange."""
ASKED, ANSWERED = "PayerAsked", "PayerAnswered"
"""Events: a request was rendered and stored; the payer said something that is no decision (`outcome`)."""
DECLINED = "DocumentsRefused"
"""Event: documents for the payer were refused (gateway.stages.forward), it may be by a `message` of its."""
AGAIN, REFUSED = "again", "refused"
"""Outcomes after which the same is asked anew: the payer cannot answer now; it, or we, could not read or reach."""
NOTED = "noted"
"""Outcome of what changes nothing: said twice, to a request revised since, or by somebody else."""
RETRIED = frozenset({AGAIN, REFUSED})


class Recorded(Protocol):
    """An event of a case."""

    @property
    def version(self) -> int:
        """Its place in the stream."""
        ...

    @property
    def type(self) -> str:
        """What happened."""
        ...

    @property
    def data(self) -> Mapping[str, Any]:
        """Codes and times."""
        ...

    @property
    def sealed(self) -> Mapping[str, Any] | None:
        """What may identify people."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The next thing to do."""

    kind: Literal["answer", "ask", "waiting", "settled", "refused"]
    """answer: read the payer's message at `version`; ask: render what the case says now; waiting: nothing to do, the
    payer has the next word; settled: nothing to do, the newest request has its decision; refused: the payer could not
    be asked, a person has to look."""
    version: int = 0


def turn(stream: Sequence[Recorded], *, sending: bool, again: bool) -> Turn:
    """The next thing. `sending`: a request is on the line, so another one waits; `again`: its time has come."""
    asked = newest_ask(stream)
    stated = max((event.version for event in stream if _message(event) in STATEMENTS), default=0)
    known = _read(stream)
    for event in stream:
        if _message(event) in ANSWERS and event.version not in known:
            return Turn(kind="answer", version=event.version)
    if stated > max(asked, _rejected_here(stream)):
        return Turn(kind="waiting" if sending else "ask")
    said = [event.data["outcome"] for event in stream if event.type == ANSWERED and event.version > asked]
    last = next((outcome for outcome in reversed(said) if outcome in RETRIED), "")
    if again and last:
        return Turn(kind="ask")
    made = [event for event in stream if event.type == "DecisionMade" and event.version > max(asked, stated)]
    if made and made[-1].data["final"]:
        return Turn(kind="settled")
    return Turn(kind="refused" if last == REFUSED else "waiting")


def unread(stream: Sequence[Recorded]) -> int:
    """How many messages of the payer nobody has read."""
    known = _read(stream)
    return sum(_message(event) in ANSWERS and event.version not in known for event in stream)


def newest_ask(stream: Sequence[Recorded]) -> int:
    """Version of the newest request to the payer; 0 before the first."""
    return max((event.version for event in stream if event.type == ASKED), default=0)


def continued(stream: Sequence[Recorded], partner: str) -> int:
    """Version of the newest request that this partner has answered, if the case was stated anew since; else 0.

    Asking the same anew is no update: only what comes after another statement continues the request before it. What a
    payer rejected (AAA) it does not have.
    """
    made = [event for event in stream if event.type == "DecisionMade" and event.data["errors"]]
    rejected = {int((event.sealed or {}).get("message", 0)) for event in made}
    stated = max((event.version for event in stream if _message(event) in STATEMENTS), default=0)
    told = [event for event in stream if event.type in ("MessageReceived", "PayerTookNote")]
    had = {event.data.get("ask") for event in told if event.version not in rejected}
    asked = [event.version for event in stream if event.type == ASKED and event.data["partner"] == partner]
    return max((version for version in asked if version in had and version < stated), default=0)


def revised_since(stream: Sequence[Recorded], ask: int) -> bool:
    """Whether the requester has said something else since the request at version `ask`."""
    return any(event.version > ask and _message(event) in STATEMENTS for event in stream)


def _message(event: Recorded) -> str:
    return str(event.data["type"]) if event.type in ("CaseOpened", "MessageReceived") else ""


def _read(stream: Sequence[Recorded]) -> set[int]:
    """Versions of the payer's messages that have been read."""
    said = {int(event.data.get("message", 0)) for event in stream if event.type in (ANSWERED, DECLINED)}
    return said | {int((event.sealed or {}).get("message", 0)) for event in stream if event.type == "DecisionMade"}


def _rejected_here(stream: Sequence[Recorded]) -> int:
    """Version of the newest statement's rejection by ourselves (gateway.stages.revise): nobody was asked."""
    made = [event for event in stream if event.type == "DecisionMade" and not (event.sealed or {}).get("message")]
    return max((event.version for event in made if event.data["errors"]), default=0)


def completed(
    answer: Sequence[ItemDecision], before: Sequence[ItemDecision], wanted: Sequence[int]
) -> tuple[tuple[ItemDecision, ...], str]:
    """(items, their roll-up) of the whole case from an answer to a part of it.

    An update asks for what changed only; what was decided before stands. What nobody has decided is pended.
    """
    stands = [item for item in before if item.sequence in wanted]
    rows = {item.sequence: item for item in (*stands, *answer)}
    for sequence in wanted:
        rows.setdefault(sequence, ItemDecision(sequence=sequence, action=PENDED))
    items = tuple(rows[sequence] for sequence in sorted(rows))
    return items, roll_up([item.action for item in items])
