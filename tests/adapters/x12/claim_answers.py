"""The 277CAs of a file, as the desk would write them."""

from __future__ import annotations

from adapters.x12.inbound import FixedNumbers
from adapters.x12.wire import AckPolicy, InterchangeReport, Options, read
from adapters.x12.wire.claim_acknowledge import acknowledge_claims, answerable, batches
from tests.adapters.x12.samples import NOW


def claim_answers(data: bytes) -> list[bytes]:
    """The 277CAs for all accepted 837s of a file."""
    reports = [event for event in read([data], Options(mode="judge")) if isinstance(event, InterchangeReport)]
    found = batches(read([data], Options(mode="units")), answerable(reports))
    answers = (
        acknowledge_claims(reports[at], own, AckPolicy(), FixedNumbers(1, 1), NOW, NOW) for at, own in found.items()
    )
    return [answer for answer in answers if answer is not None]
