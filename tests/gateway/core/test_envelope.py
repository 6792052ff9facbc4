"""The envelope, its JSON and its ids: what goes out comes back, digit by digit; noise is refused."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.envelope import Envelope, Raw
from gateway.core.errors import MalformedMessage
from gateway.core.exact_json import dumps, loads
from gateway.core.ids import case_id, new_id, workflow_id
from gateway.core.ledger import Ledger

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | DECIMALS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)
TOKENS = st.text("0123456789abcdef", min_size=1, max_size=32)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
RAWS = st.binary(max_size=64).map(lambda data: Raw.of(data, "application/fhir+json")) | st.just(
    Raw(None, "text/plain", "00", 7, "blob:00")
)
ENVELOPES = st.builds(
    Envelope,
    id=TOKENS,
    type=st.just("authorization.request"),
    source=TOKENS,
    tenant=TOKENS,
    time=TIMES,
    subject=TOKENS,
    key=TOKENS,
    dedupe_key=TOKENS,
    format=st.sampled_from(["fhir-r4", "hl7v2", "x12"]),
    body_sha256=TOKENS,
    correlation_id=TOKENS,
    facts=OBJECTS,
    resource=st.none() | OBJECTS,
    ledger=OBJECTS,
    raw=RAWS,
    reply=OBJECTS,
    causation_id=st.none() | TOKENS,
    trace_parent=st.none() | TOKENS,
    parked=st.just("") | TOKENS,
)


@given(ENVELOPES)
def test_an_envelope_comes_back_as_it_went(envelope: Envelope) -> None:
    assert Envelope.parse(envelope.key, envelope.headers(), envelope.body()) == envelope


@given(ENVELOPES)
def test_headers_are_text_without_a_body_in_them(envelope: Envelope) -> None:
    assert all(isinstance(value, str) for value in envelope.headers().values())
    assert set(json.loads(envelope.body())) == {"facts", "resource", "ledger", "raw", "reply"}


@given(ENVELOPES, st.data())
def test_a_missing_attribute_or_part_is_told(envelope: Envelope, data: Any) -> None:
    headers, body = envelope.headers(), loads(envelope.body())
    optional = {"ce_causationid", "traceparent", "ce_parked", "ce_specversion", "ce_dataschema", "content-type"}
    gone = data.draw(st.sampled_from(sorted((headers.keys() - optional) | body.keys())))
    headers.pop(gone, None)
    body.pop(gone, None)
    with pytest.raises(MalformedMessage):
        Envelope.parse("k", headers, dumps(body))


@given(st.binary(max_size=40) | st.sampled_from([b"", b"[]", b"1", b'{"facts":{}}', b'"\xff"', b"{" * 20]))
def test_noise_is_refused_and_never_repeated(noise: bytes) -> None:
    envelope = {f"ce_{name}": "2026-01-15T12:00:00+00:00" for name in ("id", "time")}
    with pytest.raises(MalformedMessage) as refused:
        Envelope.parse("k", envelope, noise)
    assert len(noise) < 4 or noise.decode("latin-1") not in str(refused.value)


def test_ledger_summary_names_what_was_not_plainly_mapped() -> None:
    ledger = Ledger("hl7v2_to_fhir@1")
    ledger.add("PID-5", "mapped", "Patient.name")
    ledger.add("PID-9", "ignored", "withdrawn")
    assert ledger.summary() == {
        "mapping": "hl7v2_to_fhir@1",
        "counts": {"mapped": 1, "carried": 0, "ignored": 1, "unknown": 0},
        "notMapped": [["PID-9", "ignored", "withdrawn"]],
    }


@given(VALUES)
def test_json_keeps_values(value: Any) -> None:
    assert loads(dumps(value)) == value


@pytest.mark.parametrize(
    "text",
    ["100.00", "0.10", "-0.0", "1E+3", "1.5e-7", "123456789012345678901234567890.5", "0", "18446744073709551615"],
)
def test_json_keeps_digits(text: str) -> None:
    written = dumps(loads(text)).decode()
    assert Decimal(written) == Decimal(text)
    assert str(loads(written)) == str(loads(text))


@pytest.mark.parametrize("text", ["18446744073709551616", "-9223372036854775809", "1" * 200, "-" + "9" * 5000])
def test_json_keeps_integers_beyond_64_bits(text: str) -> None:
    assert dumps(loads(text)).decode() == text


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "", "{", "01", "1" * 100 + "x", "[" * 5000])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one is the parser's business
        loads(text)


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), object(), {1, 2}])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        dumps(value)


def test_sorted_keys_make_equal_bytes() -> None:
    assert dumps({"b": 1, "a": Decimal("1.0")}, sort_keys=True) == b'{"a":1.0,"b":1}'


@given(TIMES, TIMES)
def test_ids_are_versions_seven_and_sort_by_time(first: datetime, second: datetime) -> None:
    one, other = uuid.UUID(new_id(first)), uuid.UUID(new_id(second))
    assert (one.version, one.variant) == (7, uuid.RFC_4122)
    assert one.int >> 80 == math.floor(first.timestamp() * 1000)
    if second - first >= timedelta(milliseconds=1):
        assert str(one) < str(other)


def test_two_ids_of_one_moment_differ() -> None:
    now = datetime(2026, 1, 15, tzinfo=UTC)
    assert len({new_id(now) for _ in range(1000)}) == 1000
    assert new_id(now, b"\x00" * 10) == new_id(now, b"\x00" * 10)


def test_case_and_workflow_ids_are_derived() -> None:
    assert case_id("acme", "s") == case_id("acme", "s") != case_id("other", "s")
    assert uuid.UUID(case_id("acme", "s")).version == 5
    assert (workflow_id("s"), workflow_id("s", 7)) == ("case:s", "case:s.7")
