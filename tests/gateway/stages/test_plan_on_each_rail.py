"""One coverage by FHIR, HL7 v2 and X12: the same plan and group are read, so that one line of business takes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from gateway import samples
from gateway.core.envelope import Raw, Reception
from gateway.stages.clock import Lines
from mappings.facts import catalogue
from mappings.fhir_codec import FhirCodec
from mappings.hl7_codec import Hl7Codec
from mappings.x12_codec import X12Codec
from tests.gateway.stages.fakes import envelope

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PLAN, GROUP = "SILVER-1", "GRP-77"
ADMISSION = (
    "MSH|^~\\&|EHR|GENHOSP|GW|PAYER|20260302090000||ADT^A01^ADT_A01|M1|P|2.5.1",
    "EVN||20260302090000",
    "PID|1||MRN1^^^GENHOSP^MR||DOE^JANE||19700101|F",
    "PV1|1|I|W^1^1",
)
CLASS = "http://terminology.hl7.org/CodeSystem/coverage-class"


def reception(source: str) -> Reception:
    return Reception(tenant="t", source=source, received_at=NOW)


def by_fhir() -> tuple[Mapping[str, Any], str]:
    bundle = orjson.loads(samples.pas_submit("X1001", NOW).data)
    (coverage,) = [one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == "Coverage"]
    coverage["class"] = [
        {"type": {"coding": [{"system": CLASS, "code": kind}]}, "value": value}
        for kind, value in (("plan", PLAN), ("group", GROUP))
    ]
    codec = FhirCodec(operation="submit", version="2.2.1", strict=False, base_url="https://g.example")
    reading = codec.read(Raw.of(orjson.dumps(bundle), "application/fhir+json"), reception("fhir/ehr"))
    (intake,) = reading.intakes
    return intake.facts, str(intake.facts["coverage.payer"])


def by_x12() -> tuple[Mapping[str, Any], str]:
    text = samples.request_278("X1001", NOW).data.decode()
    added = f"REF*1L*POLICY~\nREF*6P*{GROUP}~\nREF*N6*{PLAN}~\nDMG*"
    text = text.replace("DMG*", added).replace("SE*17*", "SE*20*")
    reading = X12Codec().read(Raw.of(text.encode(), "application/edi-x12"), reception("sftp/house"))
    (intake,) = reading.intakes
    return intake.facts, str(intake.facts["coverage.payer"])


def by_hl7() -> tuple[Mapping[str, Any], str]:
    fields = ["IN1", "1", f"{PLAN}^Silver", "PAYER1", "Sample Health", "", "", "", GROUP]
    fields += [""] * (36 - len(fields)) + ["MEMBER7"]
    text = "\r".join([*ADMISSION, "|".join(fields), ""])
    reading = Hl7Codec().read(Raw.of(text.encode(), "x-application/hl7-v2+er7"), reception("mllp/genhosp"))
    (intake,) = reading.intakes
    return intake.facts, str(intake.facts["coverage.payer"])


RAILS = {"fhir": by_fhir, "x12": by_x12, "hl7": by_hl7}


@pytest.mark.parametrize("rail", RAILS)
def test_plan_and_group_are_read(rail: str) -> None:
    facts, payer = RAILS[rail]()
    assert (facts["coverage.plan"], facts["coverage.group"]) == (PLAN, GROUP)
    assert payer


@pytest.mark.parametrize("rail", RAILS)
@pytest.mark.parametrize("named", [{"plans": [PLAN]}, {"groups": [GROUP]}, {}])
def test_one_row_of_the_payer_takes_it_on_each_rail(rail: str, named: dict[str, Any]) -> None:
    facts, payer = RAILS[rail]()
    row = {"name": "qhp-ffe", "coverages": [{"payer": payer, **named}], "legal_clock": False}
    found = Lines.load({"lines": [row]}, catalogue())
    assert found.of(envelope(facts=facts)).name == "qhp-ffe"
    other = Lines.load({"lines": [{**row, "coverages": [{"payer": "another", **named}]}]}, catalogue())
    assert other.of(envelope(facts=facts)).name == "all"


def test_what_is_not_said_fits_no_list() -> None:
    row = {"name": "qhp", "coverages": [{"payer": "*", "plans": [PLAN], "groups": [GROUP]}]}
    found = Lines.load({"lines": [row]}, catalogue())
    assert found.of(envelope(facts={"coverage.payer": "P"})).name == "all"
    assert found.of(envelope(facts={"coverage.payer": "P", "coverage.group": GROUP})).name == "qhp"
