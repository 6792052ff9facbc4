"""Which documents of a case are to be forwarded to the payer that decides it? Pure: read from the case's events.

Documents wait until the payer has the request they belong to. Each one has a place in the stream: the version of the
message that brought it, and its number there. A place is forwarded once; again only where a person says so, after the
payer refused it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.stages.ask import ANSWERED, DECLINED, REJECTION, RETRIED, Recorded, newest_ask, turn

FORWARDED, TAKEN = "DocumentsForwarded", "DocumentsTaken"
"""Events: documents were rendered and stored for the payer; it has received them. DECLINED: it, or we, could not."""
SENT_FOR_IT = frozenset({"authorization.attachment", "attachment.received"})
"""Messages that bring documents for this very case: `$submit-attachment`, a 275."""
ABOUT_ITS_PATIENT = frozenset({"clinical.document", "clinical.observation"})
"""Messages about the patient, which every open case hears of: for the payer only what it asked for."""
BRINGING = SENT_FOR_IT | ABOUT_ITS_PATIENT

Place = tuple[int, int]
"""Version of the message, and the document's number in it."""


def taken(stream: Sequence[Recorded]) -> int:
    """Version of the request that the payer has and is still to decide; 0: none, so documents wait."""
    asked = newest_ask(stream)
    if not asked or turn(stream, sending=False, again=False).kind != "waiting":
        return 0
    later = [event for event in stream if event.version > asked]
    if any(event.type == ANSWERED and event.data["outcome"] in RETRIED for event in later):
        return 0
    told = (event for event in later if event.type in ("MessageReceived", "PayerTookNote"))
    return asked if any(event.data.get("ask") == asked and event.data.get("type") != REJECTION for event in told) else 0


def bringing(stream: Sequence[Recorded]) -> list[Recorded]:
    """The messages that brought documents, oldest first."""
    return [event for event in stream if event.type == "MessageReceived" and event.data["type"] in BRINGING]


def placed(event: Recorded) -> set[Place]:
    """The places of the documents that a forwarding, or a refusal, is about."""
    return {(int(version), int(number)) for version, number in event.data.get("documents", ())}


def refused(stream: Sequence[Recorded]) -> set[Place]:
    """Documents that were refused and not forwarded since."""
    found: set[Place] = set()
    for event in stream:
        if event.type == FORWARDED:
            found -= placed(event)
        elif event.type == DECLINED:
            found |= placed(event)
    return found


def done(stream: Sequence[Recorded], *, again: int = 0) -> set[Place]:
    """Documents that are not to be forwarded (any more); those refused up to the version `again` are, once more."""
    events = [event for event in stream if event.type in (FORWARDED, DECLINED)]
    since = {place for event in events if event.version > again for place in placed(event)}
    before = {place for event in events if event.version <= again for place in placed(event)}
    return since | (before - refused([event for event in stream if event.version <= again]))


def pending(stream: Sequence[Recorded]) -> bool:
    """Whether a forwarding turn may have something to do: what a payer wants of what it was brought before may change
    with each of its answers, so whoever brought anything is looked at."""
    return bool(bringing(stream))


def settled(stream: Sequence[Recorded], version: int) -> bool:
    """Whether what became of the forwarding at `version` is known."""
    return any(event.type in (TAKEN, DECLINED) and event.data.get("forward") == version for event in stream)
