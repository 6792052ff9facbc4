"""The guide's code rows all resolve; the committed tables are what the generator makes."""

from __future__ import annotations

import pytest

from adapters.hl7.wire import parse
from mappings import generate_hl7_tables as generator
from mappings.hl7_to_fhir import build, convert
from mappings.hl7_to_fhir.datatypes import REGISTRY
from mappings.hl7_to_fhir.rows import _GUIDE_TYPES
from mappings.hl7_to_fhir.vocabulary import TABLES, load_yaml, overlaid, system_uri, vocabulary
from tests.mappings.hl7.corpus import OUTSIDE, lines, of_kind

ARCHIVE = OUTSIDE / "v2-to-fhir" / "mappings-8c9b414.tar.gz" if OUTSIDE else None
NAMES = sorted(path.stem for path in (TABLES / "vocabulary").glob("*.yaml"))


@pytest.mark.skipif(ARCHIVE is None, reason="GATEWAY_OUTSIDE_DATA is not set")
def test_the_tables_are_what_the_generator_makes() -> None:
    assert generator.main([str(ARCHIVE), "--check"]) == 0


@pytest.mark.skipif(ARCHIVE is None, reason="GATEWAY_OUTSIDE_DATA is not set")
def test_every_row_of_the_guide_resolves() -> None:
    assert ARCHIVE is not None
    resolved = 0
    for name, rows in generator.read_archive(ARCHIVE)["codesystems"].items():
        table = vocabulary(name)
        for row in rows:
            code, target = row[0], row[6]
            if not target:
                continue
            found = table.lookup(code or target)
            assert found is not None, (name, code)
            if code:
                wanted = {other[6] for other in rows if other[0] == code and other[6]}
                assert found[0] in wanted, (name, code)
            else:
                # a target may be sent as it is, unless it is a v2 code as well: that one wins
                assert found[0] == target or target in {other[0] for other in rows}
            resolved += 1
    assert resolved >= 4_700


@pytest.mark.parametrize("name", NAMES)
def test_every_map_loads(name: str) -> None:
    table = load_yaml(TABLES / "vocabulary" / f"{name}.yaml")
    known = vocabulary(name)
    assert all(known.lookup(str(code)) for code in table["codes"])


DECIDED = {
    ("CWE", 14),  # the system's OID: the name of the system says it already
    ("XPN", 6),  # degree: a suffix, as the guide has it
}
"""Components the guide maps plainly and we do not, each for the reason given."""


def test_our_data_types_map_what_the_guide_maps() -> None:
    missing = []
    for guide_name, ours in _GUIDE_TYPES.items():
        path = TABLES / "datatypes" / generator.file_name(guide_name)
        if not path.exists() or ours not in REGISTRY:
            continue
        table = load_yaml(path)
        if ours in {"Coding", "code"}:
            continue  # one element of several codings, by intent
        for row in table["rows"]:
            if row["field"] not in REGISTRY[ours].components and (ours, row["field"]) not in DECIDED:
                missing.append((guide_name, row["field"], row["to"]))
    assert missing == []


def test_unknown_codes_keep_their_coding_and_are_told() -> None:
    message = parse(
        lines(
            r"""
MSH|^~\&|EHR|HOSP|GW|PAYER|20260301101500-0500||ADT^A08^ADT_A01|1|P|2.5.1
PID|1||7^^^HOSP^MR||DOE^JANE|||Q9||||||||XX^Unheard of^99LOC
"""
        )
    )
    conversion = convert(message)
    patient = of_kind(conversion.bundle, "Patient")[0]
    assert "gender" not in patient
    assert patient["maritalStatus"]["coding"] == [{"system": "urn:id:99LOC", "code": "XX", "display": "Unheard of"}]
    assert set(conversion.unmapped) == {("AdministrativeSex", "Q9"), ("MaritalStatus", "XX")}
    fates = {entry.path: entry.fate for entry in conversion.ledger.entries}
    assert fates["PID[1]-8[1].1"] == "carried"


def test_names_of_coding_systems() -> None:
    assert system_uri("LN") == "http://loinc.org"
    assert system_uri("HL70283") == "http://terminology.hl7.org/CodeSystem/v2-0283"
    assert system_uri("2.16.840.1.113883.6.238") == "urn:oid:2.16.840.1.113883.6.238"
    assert system_uri("my codes") == "urn:id:my%20codes"


def test_own_codes_lie_over_the_guides() -> None:
    assert overlaid("AdministrativeSex", {"W": "F"}).lookup("W") == vocabulary("AdministrativeSex").lookup("F")
    message = parse(lines("MSH|^~\\&|EHR|HOSP|GW|PAYER|20260301||ADT^A08|1|P|2.5.1\nPID|1||7||DOE|||W"))
    own = convert(message, build({"codes": {"AdministrativeSex": {"W": "F"}}}))
    genders = [of_kind(found.bundle, "Patient")[0].get("gender") for found in (convert(message), own)]
    assert genders == [None, "female"]
