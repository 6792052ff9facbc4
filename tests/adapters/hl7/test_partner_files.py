"""A partner with its own codes, delimiters and Z-segments is two files; the listener reads its messages by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.hl7.wire.mllp import frame
from gateway.app import hl7
from gateway.core.envelope import Intake, Reception
from gateway.core.errors import ConfigurationError
from gateway.partners import load

PROFILE = """
name: north
hl7: {name: north-his, applications: ["NORTHHIS|NORTH"], charset: cp1252}
hl7_mapping: mappings/north.yaml
"""
MAPPING = """
zone: America/Chicago
systems: {NORTH: "urn:oid:2.16.840.1.113883.19.7"}
codes: {AdministrativeSex: {W: F}}
segments:
  ZIN-Coverage:
    1: {to: class+, as: plan-class}
    2: {to: identifier+, as: plain-identifier}
ignored: {ZAU: {"*": audit of the sender}}
"""
MESSAGE = (
    "MSH#*!@$#NORTHHIS#NORTH#GW#PAYER#202603011015##ADT*A01#{id}#P#2.4\r"
    "PID#1##77***NORTH*MR##MÜLLER*INA##19700101#W\r"
    "PV1#1#I\rIN1#1#PPO#ACME#Acme\rZIN#GOLD*Gold plan#N-77\rZAU#who#when\r"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "north.yaml").write_text(PROFILE, "utf-8")
    (tmp_path / "mappings" / "north.yaml").write_text(MAPPING, "utf-8")
    return tmp_path


def resources(intake: Intake, kind: str) -> list[dict[str, Any]]:
    assert intake.resource is not None
    return [row["resource"] for row in intake.resource["entry"] if row["resource"]["resourceType"] == kind]


async def test_its_messages_are_read_by_its_files(folder: Path, listen: Any, connect: Any) -> None:
    partners = load(folder)
    taken: list[tuple[Intake, Reception]] = []

    async def accept(intake: Intake, reception: Reception) -> None:
        taken.append((intake, reception))

    listener = await listen(accept, codec=hl7.codec(partners), partners=partners.hl7, unknown_partners=False)
    client = await connect(listener)
    client.writer.write(frame(MESSAGE.format(id="N1").encode("cp1252")))
    assert await client.code() == "AA N1"
    ((intake, reception),) = taken
    assert (reception.client, reception.source) == ("north-his", "hl7/north-his")
    assert intake.reply["endpoint"] == "mllp/north"
    (patient,) = resources(intake, "Patient")
    assert patient["gender"] == "female"
    assert patient["name"][0]["family"] == "MÜLLER"
    assert patient["identifier"][0]["system"] == "urn:oid:2.16.840.1.113883.19.7"
    (coverage,) = resources(intake, "Coverage")
    assert coverage["identifier"] == [{"value": "N-77"}]
    assert intake.resource is not None
    assert intake.resource["timestamp"] == "2026-03-01T10:15:00-06:00"
    assert intake.ledger is not None
    assert not [entry for entry in intake.ledger.entries if entry.fate == "unknown"]


async def test_another_sender_is_not_read_by_them(folder: Path, listen: Any, connect: Any) -> None:
    taken: list[Intake] = []

    async def accept(intake: Intake, _reception: Reception) -> None:
        taken.append(intake)

    partners = load(folder)
    listener = await listen(accept, codec=hl7.codec(partners), partners=partners.hl7)
    client = await connect(listener)
    client.writer.write(frame(MESSAGE.format(id="N2").replace("#NORTHHIS#", "#SOUTH#").encode()))
    assert await client.code() == "AA N2"
    assert resources(taken[0], "Patient")[0].get("gender") != "female"


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("codes: {AdministrativeSex: {1: M}}\n", "quotes"),
        ("segments: {PID-Patient: {8: gender code NoSuchMap}}\n", "north"),
        ("- a list\n", "mapping of keys"),
        (None, "unreadable"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_with_its_partners_name(
    folder: Path, mapping: str | None, words: str
) -> None:
    file = folder / "mappings" / "north.yaml"
    if mapping is None:
        file.unlink()
    else:
        file.write_text(mapping, "utf-8")
    with pytest.raises(ConfigurationError) as refusal:
        hl7.codec(load(folder))
    assert words in str(refusal.value)
    assert "north" in refusal.value.location


def test_a_mapping_without_a_sender_is_refused(folder: Path) -> None:
    (folder / "north.yaml").write_text("name: north\nhl7_mapping: mappings/north.yaml\n", "utf-8")
    with pytest.raises(ConfigurationError, match="nothing it is for"):
        load(folder)
