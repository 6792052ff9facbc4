"""Values: times with their zones, numbers with their digits, nulls, names, numbers to call, units."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest

from adapters.hl7.wire import STANDARD, parse
from gateway.core.errors import ConfigurationError
from mappings.hl7_to_fhir import build, convert
from mappings.hl7_to_fhir.cursor import decode
from mappings.hl7_to_fhir.datatypes import REGISTRY
from mappings.hl7_to_fhir.environment import Env
from mappings.hl7_to_fhir.graph import Graph
from mappings.hl7_to_fhir.primitives import date, date_time, instant, integer, number, parse_zone
from tests.mappings.hl7.corpus import OUTSIDE, lines, of_kind

CHICAGO = parse_zone("America/Chicago")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026", "2026"),
        ("202603", "2026-03"),
        ("20260301", "2026-03-01"),
        ("2026030110", "2026-03-01T10:00:00-06:00"),
        ("202603011015", "2026-03-01T10:15:00-06:00"),
        ("202607011015", "2026-07-01T10:15:00-05:00"),  # summer
        ("20260301101530.1234+0530", "2026-03-01T10:15:30.1234+05:30"),
        ("20260301101560Z", None),
        ("2026-03-01", "2026-03-01"),
        ("20260229", None),
        ("20261301", None),
        ("00000000", None),
        ("2026030125", None),
        ("20260301101500+2500", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_times(text: str, expected: str | None) -> None:
    assert date_time(text, CHICAGO) == expected


def test_dates_and_instants() -> None:
    assert date("19700101123456") == "1970-01-01"
    assert instant("2026", UTC) == "2026-01-01T00:00:00+00:00"
    assert instant("20260301101500-0500", UTC) == "2026-03-01T10:15:00-05:00"
    with pytest.raises(ConfigurationError):
        parse_zone("Mars/Olympus")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12", 12), ("-3", -3), ("1.50", Decimal("1.50")), ("+.5", Decimal("0.5")), ("NaN", None), ("Infinity", None),
     ("1e99", None), ("12 mg", None), ("", None)],
)  # fmt: skip
def test_numbers_keep_their_digits(text: str, expected: Any) -> None:
    found = number(text)
    assert found == expected
    assert str(found) == str(expected)


def test_integers_stay_in_their_range() -> None:
    assert [integer(text, 1) for text in ("1", "0", "1.0", "1.5", "4294967296")] == [1, None, 1, None, None]


def value(kind: str, text: str) -> Any:
    parts = decode(text, STANDARD)[0]
    return REGISTRY[kind].convert(parts, Env(Graph("test"), "1", UTC, {"KNOWN": "urn:oid:9.9"}), None)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("CX", "7^^^HOSP&1.2.3&ISO^MR", {"system": "urn:oid:1.2.3", "value": "7", "assigner": {"display": "HOSP"}}),
        ("CX", "7^^^KNOWN", {"system": "urn:oid:9.9", "value": "7", "assigner": {"display": "KNOWN"}}),
        ("CX", "7^^^&https://a.example/x&URI", {"system": "https://a.example/x", "value": "7"}),
        ("CX", "1234567893^^^^NPI", {"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}),
        ("CX", '""', None),
        (
            "XPN",
            "VAN DER BERG&VAN DER&BERG^JAN^Q^JR^DR^MD^L",
            {"family": "VAN DER BERG", "given": ["JAN", "Q"], "prefix": ["DR"], "suffix": ["JR", "MD"]},
        ),
        (
            "XAD",
            "1 ELM ST&Elm&1^APT 2^PARIS^TX^75460^USA^H",
            {"line": ["1 ELM ST", "Elm", "1", "APT 2"], "city": "PARIS", "state": "TX", "postalCode": "75460"},
        ),
        ("XTN", "^WPN^PH^^1^903^5550100^22", {"system": "phone", "use": "work", "value": "+1 903 5550100 X22"}),
        ("XTN", "(903)555-0100", {"system": "phone", "value": "(903)555-0100"}),
        ("XTN", "^NET^Internet^a@b.example", {"system": "email", "value": "a@b.example"}),
        ("XTN", "^PRN^CP^^^903^5550100", {"system": "phone", "use": "mobile", "value": "903 5550100"}),
        ("CQ", "2.50^mL&milliliter&UCUM", {"value": Decimal("2.50"), "unit": "milliliter", "code": "mL"}),
        ("CP", "150.00&USD^DC", {"value": Decimal("150.00"), "currency": "USD"}),
        ("CWE", "^Only text", {"text": "Only text"}),
        ("CWE", "A^Alpha^LN^B^Beta^L", {"coding": [
            {"system": "http://loinc.org", "code": "A", "display": "Alpha"},
            {"system": "urn:id:L", "code": "B", "display": "Beta"},
        ]}),
        ("ED", "EHR^text^plain^^hello", {"contentType": "text/plain", "data": "aGVsbG8=", "title": "EHR"}),
    ],
)  # fmt: skip
def test_data_types(kind: str, text: str, expected: dict[str, Any] | None) -> None:
    found = value(kind, text)
    if expected is None:
        assert found is None
        return
    assert {name: found.get(name) for name in expected} == expected


def patient_of(body: str, header: str = "20260301101500-0500", **partner: Any) -> dict[str, Any]:
    raw = lines(rf"MSH|^~\&|EHR|CLINIC|GW|PAYER|{header}||ADT^A08|1|P|2.5.1" + "\n" + body)
    return of_kind(convert(parse(raw), build(partner)).bundle, "Patient")[0]


def test_times_without_a_zone_take_the_messages_then_the_partners() -> None:
    died = "PID|1||7^^^CLINIC^MR||DOE^JANE" + "|" * 24 + "20260101010203"
    assert patient_of(died)["deceasedDateTime"] == "2026-01-01T01:02:03-05:00"
    assert patient_of(died, "20260301")["deceasedDateTime"] == "2026-01-01T01:02:03+00:00"
    assert patient_of(died, "20260301", zone="America/Chicago")["deceasedDateTime"] == "2026-01-01T01:02:03-06:00"


def test_explicit_nulls_say_that_the_value_is_gone() -> None:
    patient = patient_of('PID|1||7^^^CLINIC^MR||DOE^JANE||""|""|||""')
    gone = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }
    assert patient["_birthDate"] == gone
    assert patient["_gender"] == gone
    assert patient["address"] == [gone]
    assert '""' not in str(patient)


@pytest.mark.skipif(OUTSIDE is None, reason="GATEWAY_OUTSIDE_DATA is not set")
def test_character_sets_give_the_same_names() -> None:
    """Declared, undeclared and wrongly declared character sets."""
    assert OUTSIDE is not None
    names = []
    for file in ("8859-1", "declared-utf8-but-latin1", "utf8"):
        message = parse((OUTSIDE / "synthetic" / f"ADT_A01-{file}.hl7").read_bytes())
        names.append(of_kind(convert(message).bundle, "Patient")[0]["name"][0])
    assert names[0] == names[1] == names[2]
    assert names[0]["family"] == "MÜLLER"
    japanese = parse((OUTSIDE / "synthetic" / "ADT_A01-iso-ir87.hl7").read_bytes())
    assert of_kind(convert(japanese).bundle, "Patient")[0]["name"][0]["family"] == "患者"
