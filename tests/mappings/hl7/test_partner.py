"""A new partner (own codes, Z-segment, delimiters, zone) is a data file and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from adapters.hl7.wire import parse
from gateway.core.errors import ConfigurationError
from mappings.hl7_to_fhir import build, convert
from tests.mappings.hl7.corpus import lines, of_kind

PARTNER = """
zone: America/Chicago
charset: cp1252
systems:
  NORTH: urn:oid:2.16.840.1.113883.19.7
codes:
  AdministrativeSex: {W: F}
  PatientClass[EncounterClass]: {DAY: O}
segments:
  PID-Patient:
    27: {extension: https://north.example/veteran, element: valueString}
    31: ~
  ZIN-Coverage:
    1: {to: class+, as: plan-class}
    2: {to: identifier+, as: plain-identifier}
ignored:
  ZAU: {"*": audit of the sender}
"""
MESSAGE = r"""
MSH#*!@$#NORTHHIS#NORTH#GW#PAYER#202603011015##ADT*A01#1#P#2.4
PID#1##77***NORTH*MR##LARSEN*INA##19700101#W###################V
PV1#1#DAY
IN1#1#PPO#ACME#Acme
ZIN#GOLD*Gold plan#N-77
ZAU#who#when
"""


def test_a_partner_is_a_file() -> None:
    conversion = convert(parse(lines(MESSAGE)), build(yaml.safe_load(PARTNER)))
    patient = of_kind(conversion.bundle, "Patient")[0]
    assert patient["gender"] == "female"
    assert patient["identifier"][0]["system"] == "urn:oid:2.16.840.1.113883.19.7"
    assert patient["extension"] == [{"url": "https://north.example/veteran", "valueString": "V"}]
    assert conversion.bundle["timestamp"] == "2026-03-01T10:15:00-06:00"
    assert of_kind(conversion.bundle, "Encounter")[0]["class"]["code"] == "AMB"
    coverage = of_kind(conversion.bundle, "Coverage")[0]
    assert [one["value"] for one in coverage["class"]] == ["PPO", "GOLD"]
    assert coverage["identifier"] == [{"value": "N-77"}]
    fates = {entry.path: (entry.fate, entry.target) for entry in conversion.ledger.entries}
    assert fates["ZIN[1]-1[1].2"] == ("mapped", "Coverage.class.name")
    assert fates["ZAU[1]-1[1].1"] == ("ignored", "audit of the sender")


def test_without_the_file_nothing_of_it_is_lost_silently() -> None:
    fates = {entry.path: entry.fate for entry in convert(parse(lines(MESSAGE))).ledger.entries}
    assert {fates["ZIN[1]-1[1].1"], fates["ZIN[1]-2[1].1"], fates["ZAU[1]-1[1].1"]} == {"unknown"}


@pytest.mark.parametrize(
    "broken",
    [
        {"zones": "UTC"},
        {"zone": "Mars/Olympus"},
        {"segments": {"PID-Patient": {3: "identifier+ NOPE"}}},
        {"segments": {"PID-Patient": {3: {"to": "identifier+", "as": "CX", "when": {"field": 2}}}}},
        {"segments": {"PID-Patient": {"three": "identifier+ CX"}}},
        {"codes": {"AdministrativeSex": {1: "M"}}},
        {"codes": {"AdministrativeSex": {"X": False}}},
        {"segments": {"PID-Patient": {8: "gender code NoSuchMap"}}},
        {"codes": {"NoSuchMap": {"A": "B"}}, "segments": {"PID-Patient": {8: "gender code NoSuchMap"}}},
    ],
)
def test_a_broken_file_is_refused_as_a_whole(broken: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        build(broken)
