"""Damaged messages: the codec never raises, the ledger stays whole, what is made stays valid FHIR.

GATEWAY_FUZZ sets the number of examples (default 150).
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime

from fhir.resources.R4B.bundle import Bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.hl7.wire import parse
from gateway.core.envelope import Raw, Reception
from gateway.core.errors import GatewayError
from mappings.hl7_codec import Hl7Codec
from mappings.hl7_to_fhir import convert
from tests.mappings.hl7.corpus import CASES, outside, plain

SEEDS = [path.read_bytes() for path in sorted(CASES.rglob("message.hl7"))] + [sample.raw for sample in outside()]
SEEDS = [seed for seed in SEEDS if len(seed) < 20_000]
PIECES = [b"|", b"^", b"~", b"&", b"\\", b'""', b"\r", b" ", b"-1", b"99999999999999999999", b"0", b"2026", b"\xc3\xa9",
          b"^^^", b"|||", b"\\X00\\", b"\x00", b"a b", b"AAAA", b"1e9", b"+", b"NaN"]  # fmt: skip
RECEPTION = Reception(tenant="t", source="hl7/x", received_at=datetime(2026, 3, 1, tzinfo=UTC))

edit = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 12), st.sampled_from(PIECES))


def damaged(seed: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """Cut `length` bytes at a place behind the header's first fields and put a piece there, for each edit."""
    for share, length, piece in edits:
        place = 12 + int(share * max(0, len(seed) - 12))
        seed = seed[:place] + piece + seed[place + length :]
    return seed


@settings(
    max_examples=int(os.environ.get("GATEWAY_FUZZ", "150")), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(seed=st.sampled_from(SEEDS), edits=st.lists(edit, min_size=1, max_size=6))
def test_damaged_messages(seed: bytes, edits: list[tuple[float, int, bytes]]) -> None:
    raw = damaged(seed, edits)
    reading = Hl7Codec().read(Raw.of(raw, "application/hl7-v2"), RECEPTION)
    reading.answer(None)
    reading.answer(GatewayError())
    try:
        message = parse(raw)
        conversion = convert(message)
    except GatewayError:
        return
    assert Counter(entry.path for entry in conversion.ledger.entries) == Counter(path for path, _ in message.leaves())
    summary = conversion.ledger.summary()
    assert summary["notMapped"] == [list(entry) for entry in conversion.ledger.entries if entry.fate != "mapped"]
    assert summary["counts"] == conversion.ledger.counts()
    assert sum(conversion.ledger.counts().values()) == len(conversion.ledger.entries)
    Bundle.model_validate(plain(conversion.bundle))
