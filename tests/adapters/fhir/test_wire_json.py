"""FHIR JSON: exact round trips, hostile bodies refused quickly and without echo."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.fhir import wire
from gateway.core.errors import LimitExceeded, MalformedMessage, SenderError, UnsupportedMessage

SECRET = "SECRETNAME"


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"Claim","id":"SECRETNAME","id":"b"}',
        b'{"resourceType":"Claim","value":NaN}',
        b'{"resourceType":"Claim","value":-Infinity}',
        b'{"resourceType":"Claim","SECRETNAME":"a\\u0000b"}',
        b'{"resourceType":"Claim","text":"\\ud800SECRETNAME"}',
        b'{"resourceType":"Claim","text":"raw\x01SECRETNAME"}',
        b'["SECRETNAME"]',
        b'"SECRETNAME"',
        b"",
        b"\xff\xfe{\x00",
        b'{"resourceType":"Claim",SECRETNAME}',
        b'{"a":1}{"b":2}',
    ],
)
def test_malformed_bodies_are_refused_without_repeating_them(body: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        wire.parse(body, "application/fhir+json")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        b'{"a":' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"a":1e999999999}',
        b'{"a":1e-999999999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":0.' + b"1" * 50 + b"}",
        b'{"a":[' + b"0," * 600_000 + b"0]}",
        b'{"a":"' + b"x" * (17 * 1024 * 1024) + b'"}',
    ],
    ids=["deep", "70 levels", "huge", "tiny", "5000 digits", "50 decimals", "many nodes", "17 MB"],
)
def test_costly_bodies_exceed_a_limit(body: bytes) -> None:
    with pytest.raises(LimitExceeded):
        wire.parse(body, "application/json")


def test_a_large_document_within_the_size_limit_is_read() -> None:
    body = b'{"resourceType":"Binary","contentType":"a/b","data":"' + b"QUJD" * 1_000_000 + b'"}'
    assert len(wire.parse(body, "application/fhir+json")["data"]) == 4_000_000


def test_decimals_booleans_and_unicode_come_back_as_they_were() -> None:
    body = '{"a":100.00,"b":false,"c":"Zoë Ōkubo","d":1,"e":-0.50,"f":12345678901234567890}'.encode()
    assert wire.serialize(wire.parse(body, "json")) == body


def test_a_decimal_is_a_decimal() -> None:
    assert wire.parse(b'{"a":100.00}', "json")["a"] == Decimal("100.00")


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("application/fhir+json", wire.FHIR_JSON),
        ("application/fhir+json; charset=utf-8", wire.FHIR_JSON),
        ("application/fhir+json;fhirVersion=4.0", wire.FHIR_JSON),
        ("Application/JSON", wire.FHIR_JSON),
        ("application/json+fhir", wire.FHIR_JSON),
        ("application/fhir+xml", wire.FHIR_XML),
        ("text/xml;charset=UTF-8", wire.FHIR_XML),
    ],
)
def test_media_types_served(content_type: str, form: str) -> None:
    assert wire.media_form(content_type) == form


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/pdf",
        "application/fhir+json;charset=utf-16",
        "application/fhir+json;fhirVersion=5.0",
    ],
)
def test_media_types_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMessage):
        wire.parse(b"{}", content_type)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_resource_or_a_sender_error(body: bytes) -> None:
    for form in ("json", "xml"):
        with contextlib.suppress(SenderError):
            assert isinstance(wire.parse(body, form), dict)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8)
    | st.decimals(-1000, 1000, places=2).filter(lambda value: value == value),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=5), children, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), json_values, max_size=3))
def test_whatever_is_written_reads_back_equal(value: dict[str, object]) -> None:
    assert wire.parse(wire.serialize(value), "json") == value


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), json_values, max_size=3))
def test_the_standard_library_reads_the_same(value: dict[str, object]) -> None:
    body = wire.serialize(value)
    assert wire.parse(body, "json") == json.loads(body, parse_float=Decimal)
