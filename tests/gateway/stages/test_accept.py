"""Accept: one confirmed produce, tokens only outside the body, large bodies by reference, nothing swallowed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.core.errors import ConfigurationError, Unavailable
from gateway.core.ledger import Ledger
from gateway.security.cipher import DerivedKeys, EnvelopeCipher
from gateway.security.tokens import Tokens
from gateway.stages.accept import CLAIM_CHECK_BYTES, AcceptStage, Opener
from tests.gateway.stages.fakes import MARKER, NOW, MemoryBlobs, MemoryPublisher, intake, reception

CIPHER = EnvelopeCipher(DerivedKeys({"k1": b"1" * 32}, "k1"))


def stage(publisher: MemoryPublisher, blobs: MemoryBlobs | None = None) -> AcceptStage:
    return AcceptStage(
        publisher=publisher,
        blobs=blobs or MemoryBlobs(),
        cipher=CIPHER,
        token=Tokens(b"t" * 32),
        routes={"authorization": "intake.authorization.v1", "clinical.adt": "special.v1", "clinical": "feed.v1"},
        parked_topic="intake.parked.v1",
    )


async def test_what_is_seen_from_outside_holds_tokens_only() -> None:
    publisher = MemoryPublisher()
    await stage(publisher)(intake(), reception())
    topic, key, headers, value = publisher.records[0]
    assert topic == "intake.authorization.v1"
    assert MARKER not in key + repr(headers)
    assert MARKER.encode() not in value
    assert "000000001" not in headers["ce_dedupekey"]


async def test_the_receipt_says_where_the_record_lies_and_the_record_opens_again() -> None:
    publisher = MemoryPublisher()
    given = intake(ledger=Ledger("x@1"))
    accepted = await stage(publisher)(given, reception(trace_parent="00-1-2-01"))
    topic, key, headers, value = publisher.records[0]
    assert (accepted.topic, accepted.partition, accepted.offset) == (topic, 3, 1)
    opened = await Opener(blobs=MemoryBlobs(), cipher=CIPHER)(key, headers, value)
    assert opened == accepted.envelope
    assert (opened.facts, opened.raw, opened.time) == (given.facts, given.raw, NOW)
    assert opened.trace_parent == "00-1-2-01"


async def test_one_receipt_published_again_after_a_crash_is_the_same_event() -> None:
    publisher = MemoryPublisher()
    accept = stage(publisher)
    first, second = [(await accept(intake(), reception())).envelope for _ in range(2)]
    assert first == second
    other = (await accept(intake(natural_key=("ISA06", MARKER, "000000002")), reception())).envelope
    assert other.id != first.id


async def test_the_same_message_received_again_gets_the_same_tokens_and_another_id() -> None:
    publisher = MemoryPublisher()
    accept = stage(publisher)
    first = (await accept(intake(), reception())).envelope
    second = (await accept(intake(), reception(received_at=NOW + timedelta(microseconds=1)))).envelope
    assert first.id != second.id
    second = replace(second, time=first.time)
    assert replace(first, id="", correlation_id="") == replace(second, id="", correlation_id="")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"natural_key": ("ISA06", MARKER, "000000002")}, ("subject", "key")),
        ({"case_key": ("member", "other")}, ("dedupe_key", "key")),
        ({"ordering_key": ("patient", "other")}, ("dedupe_key", "subject")),
        ({"ordering_key": (), "case_key": ()}, ("dedupe_key",)),
    ],
)
async def test_each_key_has_its_own_token(change: dict[str, Any], same: tuple[str, ...]) -> None:
    accept = stage(MemoryPublisher())
    first = (await accept(intake(), reception())).envelope
    second = (await accept(intake(**change), reception())).envelope
    kept = {name for name in ("dedupe_key", "subject", "key") if getattr(first, name) == getattr(second, name)}
    assert kept == set(same)


@pytest.mark.parametrize("change", [{"tenant": "other"}, {"source": "soap/core"}])
async def test_tenant_and_source_part_equal_messages(change: dict[str, Any]) -> None:
    accept = stage(MemoryPublisher())
    first = (await accept(intake(), reception())).envelope
    second = (await accept(intake(), reception(**change))).envelope
    assert first.dedupe_key != second.dedupe_key
    assert (first.subject == second.subject) is ("source" in change)


async def test_a_large_body_goes_by_reference_and_comes_back_whole() -> None:
    publisher, blobs = MemoryPublisher(), MemoryBlobs()
    accepted = await stage(publisher, blobs)(intake(size=CLAIM_CHECK_BYTES), reception())
    _topic, key, headers, value = publisher.records[0]
    assert len(value) < 1024
    assert list(blobs.kept) == [("acme", headers["ce_claimcheck"])]
    assert await Opener(blobs=blobs, cipher=CIPHER)(key, headers, value) == accepted.envelope


@pytest.mark.parametrize("size", [10, CLAIM_CHECK_BYTES])
async def test_an_outline_has_the_attributes_the_counts_and_the_whole_body_sealed(size: int) -> None:
    publisher, blobs = MemoryPublisher(), MemoryBlobs()
    accepted = (await stage(publisher, blobs)(intake(size=size), reception())).envelope
    _topic, key, headers, value = publisher.records[0]
    outline, body = await Opener(blobs=blobs, cipher=CIPHER).outline(key, headers, value)
    assert (outline.id, outline.subject, outline.ledger) == (accepted.id, accepted.subject, accepted.ledger)
    assert (outline.raw.size, outline.raw.sha256, outline.raw.data) == (accepted.raw.size, accepted.raw.sha256, None)
    assert (outline.facts, outline.resource, outline.reply) == ({}, None, {})
    assert CIPHER.decrypt("acme", body) == accepted.body()


@pytest.mark.parametrize(
    ("reply", "waits"),
    [({"lane": "fast"}, "true"), ({}, None), ({"lane": "fast", "application": "QQ=="}, None)],
)
async def test_headers_tell_that_a_sender_waits_where_the_body_holds_no_other_work(
    reply: dict[str, Any], waits: str | None
) -> None:
    accepted = await stage(MemoryPublisher())(intake(reply=reply), reception())
    assert accepted.envelope.headers().get("ce_waits") == waits


async def test_nothing_is_produced_when_the_blob_store_is_away() -> None:
    publisher, blobs = MemoryPublisher(), MemoryBlobs(failure=Unavailable())
    with pytest.raises(Unavailable):
        await stage(publisher, blobs)(intake(size=CLAIM_CHECK_BYTES), reception())
    assert publisher.records == []


async def test_a_lost_broker_is_never_an_acceptance() -> None:
    with pytest.raises(Unavailable):
        await stage(MemoryPublisher(failure=Unavailable()))(intake(), reception())


async def test_what_cannot_be_mapped_is_parked_with_its_reason() -> None:
    publisher = MemoryPublisher()
    accepted = await stage(publisher)(intake(kind="nobody.knows", parked="no-mapping"), reception())
    assert accepted.topic == "intake.parked.v1"
    assert publisher.records[0][2]["ce_parked"] == "no-mapping"


@pytest.mark.parametrize(
    ("kind", "topic"), [("clinical.adt", "special.v1"), ("clinical.oru", "feed.v1"), ("clinical", "feed.v1")]
)
async def test_the_longest_route_wins(kind: str, topic: str) -> None:
    assert (await stage(MemoryPublisher())(intake(kind), reception())).topic == topic


async def test_a_type_without_a_topic_is_our_fault() -> None:
    with pytest.raises(ConfigurationError):
        await stage(MemoryPublisher())(intake("clinicals.adt"), reception())
