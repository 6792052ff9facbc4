"""Mutated interchanges: no exception, one end each, no contradiction. GATEWAY_FUZZ=10000 sets how many."""

from __future__ import annotations

import os
import random

import pytest

from adapters.x12.inbound import FixedNumbers
from adapters.x12.wire import (
    AckPolicy,
    InterchangeReport,
    Options,
    Quarantined,
    Transaction,
    acknowledge,
    guide,
    read,
    write,
)
from tests.adapters.x12.claim_answers import claim_answers
from tests.adapters.x12.samples import NOW, claims, envelope, remittance, review_request, review_response

COUNT = int(os.environ.get("GATEWAY_FUZZ", "400"))
SEEDS = [
    claims(2).encode(),
    write(guide("278_request"), review_request(dependent=True, services=2), envelope(line_ends=True)),
    write(guide("278_response"), review_response("A3", ("0Y",)), envelope()),
    write(guide("835"), remittance(), envelope()),
]


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """A few changes: bytes, segments, elements, lengths."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) or 1)
        kind = chance.randrange(8)
        if kind == 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del data[at : at + chance.choice((1, 2, 30, 300))]
        elif kind == 2:
            data[at:at] = data[at : at + chance.choice((1, 20, 400))]
        elif kind == 3:
            data[at:at] = chance.choice(
                (b"~", b"*", b":", b"^", b"~~", b"ISA*", b"BIN*5*", b"IEA*1*000000042~", b"\x00")
            )
        elif kind == 4:
            data = bytearray(data[:at])
        elif kind == 5:
            parts = bytes(data).split(b"~")
            chance.shuffle(parts) if chance.random() < 0.2 else parts.insert(
                chance.randrange(len(parts)), chance.choice(parts)
            )
            data = bytearray(b"~".join(parts))
        elif kind == 6:
            data = bytearray(
                bytes(data).replace(chance.choice((b"*", b"~", b":")), chance.choice((b"|", b"A", b" ", b"\n")), 3)
            )
        else:
            data += bytes(data[: chance.randrange(len(data) + 1)])
    return bytes(data)


@pytest.mark.timeout(600)
def test_every_mutation_ends_in_exactly_one_way() -> None:
    chance = random.Random(20260203)
    ends: dict[str, int] = {}
    for number in range(COUNT):
        data = mutated(SEEDS[number % len(SEEDS)], chance)
        events = [
            event for event in read([data], Options(mode="judge")) if isinstance(event, InterchangeReport | Quarantined)
        ]
        assert events or not data.strip(b" \t\r\n\0\x1a"), number
        for event in events:
            end = judged(event)
            ends[end] = ends.get(end, 0) + 1
        for event in read([data]):
            if isinstance(event, Transaction) and event.report.outcome == "accepted":
                assert write(event.guide, event.tree, envelope())
        for answer in claim_answers(data):
            assert judged(*(one for one in read([answer]) if isinstance(one, InterchangeReport))) == "accepted"
    assert set(ends) >= {"accepted", "TA1", "999", "quarantine"}


def judged(event: InterchangeReport | Quarantined) -> str:
    """accepted, TA1, 999 or quarantine; asserts that nothing contradicts it."""
    if isinstance(event, Quarantined):
        return "quarantine"
    raw = acknowledge(event, AckPolicy(), FixedNumbers(1, 1), NOW)
    answer = (raw or b"").decode("latin-1")
    lines = answer.split("~")
    refusing = any(line.startswith("TA1*") and line.split("*")[4] == "R" for line in lines)
    if answer:
        (own,) = (one for one in read([answer.encode("latin-1")]) if isinstance(one, InterchangeReport))
        assert own.outcome == "accepted", answer
    if event.faults:
        assert not any(line.startswith("GS*") for line in lines)
        assert all(one.outcome == "rejected" for _, one in event.transactions())
        return "TA1" if refusing else "quarantine"
    assert not refusing
    for group in event.groups:
        assert (group.outcome == "rejected") == (not group.accepted or bool(group.codes))
    accepted = sum(line.startswith(("IK5*A", "IK5*E")) for line in lines)
    assert accepted == sum(group.accepted for group in event.groups if group.group != "FA" and not group.codes)
    return "accepted" if event.outcome in ("accepted", "accepted_with_errors") else "999"
