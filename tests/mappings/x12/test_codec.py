"""The codec as a whole: answers, refusals, large files, noise."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.x12.inbound import FixedNumbers
from adapters.x12.settings import PartnerProfile
from adapters.x12.wire import InterchangeReport, read
from adapters.x12.wire.claim_acknowledge import acknowledge_claims
from gateway.core.envelope import Raw
from gateway.core.errors import ConfigurationError, MessageConflict, Unavailable
from mappings import x12_codec
from mappings.x12_codec import X12Codec, X12Reading
from tests.adapters.x12.samples import NOW, claims
from tests.mappings.x12.bench import CASES, RECEPTION, read_bytes

ONE = (CASES[0].parent / "event-only" / "request.x12").read_bytes()
CLAIMS = (CASES[0].parents[1] / "other" / "837p" / "message.x12").read_bytes()


def many(count: int) -> bytes:
    """An interchange of `count` professional claims in one transaction set."""
    text = CLAIMS.decode()
    start, end = text.index("CLM*CTRL-2"), text.index("SE*")
    claims = "".join(text[start:end].replace("CTRL-2", f"N{number:06d}") for number in range(count))
    head, tail = text[: text.index("CLM*CTRL-1")] + claims, text[end:]
    segments = head[head.index("ST*") :].count("~") + 1
    return (head + f"SE*{segments}*" + tail.split("*", 2)[2]).encode()


@pytest.mark.parametrize("limit", [0, 1 << 30], ids=["units", "trees"])
def test_every_claim_of_a_large_file_once_and_in_order(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x12_codec, "WHOLE_TREES_UP_TO", limit)
    intakes = read_bytes(many(100)).intakes
    assert [intake.facts["request.traceNumber"] for intake in intakes] == [f"N{number:06d}" for number in range(100)]
    assert len(intakes) == 100
    assert len({intake.natural_key for intake in intakes}) == 100
    assert intakes[99].raw == list(intakes)[99].raw


def test_both_ways_of_reading_give_the_same_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for limit in (0, 1 << 30):
        monkeypatch.setattr(x12_codec, "WHOLE_TREES_UP_TO", limit)
        found.append([(one.natural_key, one.raw.sha256, one.reply, one.facts) for one in read_bytes(CLAIMS).intakes])
    assert found[0] == found[1]


@pytest.mark.parametrize("limit", [0, 1 << 30], ids=["units", "trees"])
def test_claims_that_a_277ca_refuses_are_not_mapped(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x12_codec, "WHOLE_TREES_UP_TO", limit)
    data = many(4)
    ((_, one),) = (
        pair for event in read([data]) if isinstance(event, InterchangeReport) for pair in event.transactions()
    )
    kept = X12Codec().messages(data, RECEPTION, {one.offset: one}, {one.offset: frozenset((2, 4))})
    assert [intake.facts["request.traceNumber"] for intake in kept] == ["N000000", "N000002"]


def test_an_accepted_set_that_does_not_come_again_is_an_error_not_silence() -> None:
    ((_, one),) = (
        pair for event in read([CLAIMS]) if isinstance(event, InterchangeReport) for pair in event.transactions()
    )
    accepted = {one.offset: one, one.offset + 1: one}
    with pytest.raises(ConfigurationError):
        list(X12Codec().messages(CLAIMS, RECEPTION, accepted))


def test_answers_by_what_happened() -> None:
    reading = read_bytes(ONE)
    assert b"AK9*A*1*1*1" in (reading.answer(None) or b"")
    assert reading.answer(None) == reading.answer(None)
    assert reading.answer(Unavailable()) is None
    assert b"*R*025~" in (read_bytes(ONE).answer(MessageConflict()) or b"")


def test_refused_file_publishes_nothing_and_says_so() -> None:
    reading = read_bytes(ONE.replace(b"UM*SC*I", b"UM*QQ*I"))
    assert reading.refused
    assert list(reading.intakes) == []
    assert b"AK9*R*" in (reading.answer(None) or b"")
    assert reading.issues


def test_accepted_and_refused_sets_side_by_side() -> None:
    text = ONE.decode()
    start, end = text.index("ST*"), text.index("GE*")
    bad = text[start:end].replace("*0001", "*0002").replace("UM*SC*I", "UM*QQ*I")
    both = (text[:end] + bad + text[end:]).replace("GE*1*", "GE*2*")
    reading = read_bytes(both.encode())
    assert not reading.refused
    assert len(reading.intakes) == 1
    assert b"AK9*P*2*2*1" in (reading.answer(None) or b"")


def test_other_senders_are_neither_taken_nor_answered() -> None:
    codec = X12Codec(senders=frozenset({"SOMEBODY"}))
    reading = codec.read(Raw.of(ONE, "application/edi-x12"), RECEPTION)
    assert reading.refused
    assert reading.answer(None) is None
    assert [issue.code for issue in reading.issues] == ["unauthorized"]


def test_allocated_control_numbers_win() -> None:
    reception = dataclasses.replace(RECEPTION, attributes={"controlNumber": "77"})
    reading = X12Codec().read(Raw.of(ONE, "application/edi-x12"), reception)
    assert b"IEA*1*000000077~" in (reading.answer(None) or b"")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_noise_is_answered_never_raised(data: st.DataObject) -> None:
    mutated = bytearray(data.draw(st.sampled_from([ONE, CLAIMS])))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    reading = read_bytes(bytes(mutated))
    intakes = list(reading.intakes)
    reading.answer(None)
    assert reading.refused or intakes


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_binary_noise(data: bytes) -> None:
    reading = read_bytes(data)
    assert reading.refused
    assert list(reading.intakes) == []


def profile(**changes: Any) -> PartnerProfile:
    return PartnerProfile(**({"name": "clinic-1", "sender": "CLINIC01", "receiver": "PLAN01", "usage": "T"} | changes))


UNBALANCED = claims(3).replace("C0000002*60*", "C0000002*61*").encode()


def read_for(partner: PartnerProfile, data: bytes) -> X12Reading:
    return X12Codec(partners=(partner,)).read(Raw.of(data, "application/edi-x12"), RECEPTION)


def test_a_partners_claims_are_told_of_one_by_one() -> None:
    reading = read_for(profile(), UNBALANCED)
    assert len(reading.intakes) == len(list(reading.intakes)) == 2
    (told,) = reading.claims()
    answer = acknowledge_claims(told.report, told.batches, told.policy, FixedNumbers(1, 1), NOW, NOW) or b""
    assert (answer.count(b"~STC*A2:20:PR*"), answer.count(b"~STC*A7:178*")) == (2, 1)


@pytest.mark.parametrize("partner", [profile(acknowledgements={"claim": False}), profile(sender="SOMEBODY")])
def test_claims_are_all_taken_where_no_277ca_tells_of_them(partner: PartnerProfile) -> None:
    reading = read_for(partner, UNBALANCED)
    assert len(list(reading.intakes)) == 3
    assert reading.claims() == []


def test_a_profile_says_how_its_partner_is_read_and_answered() -> None:
    strict = read_for(profile(edits={"3": "reject"}), UNBALANCED)
    assert strict.refused
    assert b"IK5*R*5" in (strict.answer(None) or b"")
    assert strict.claims() == []
    production = read_for(profile(usage="P"), claims(1).encode())
    assert production.refused
    assert b"*R*020~" in (production.answer(None) or b"")
    quiet = read_for(profile(acknowledgements={"implementation": False, "ta1": "refused"}), claims(1).encode())
    assert quiet.answer(None) is None
