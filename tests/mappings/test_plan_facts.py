"""Plan and group are the same facts on every rail, so that lines of business and rules hold on each (decision 0075)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from gateway.core.envelope import Intake
from gateway.stages.clock import Lines
from mappings.facts import catalogue
from tests.adapters.fhir.edge.bundles import request_bundle
from tests.gateway.stages.fakes import envelope
from tests.mappings.fhir.test_codec import read as read_fhir
from tests.mappings.hl7.test_codec import read as read_hl7
from tests.mappings.x12.bench import read_bytes

HERE = Path(__file__).parent
LINES = Lines.load({"lines": [{"name": "gold", "when": ['plan is "GOLD-1"', 'group number is "GRP77"']}]}, catalogue())
CODES = "http://terminology.hl7.org/CodeSystem/coverage-class"


def by_fhir() -> Intake:
    bundle = request_bundle("X1001")
    (coverage,) = (row["resource"] for row in bundle["entry"] if row["resource"]["resourceType"] == "Coverage")
    coverage["class"] = [
        {"type": {"coding": [{"system": CODES, "code": kind}]}, "value": value}
        for kind, value in (("group", "GRP77"), ("plan", "GOLD-1"))
    ]
    return read_fhir(orjson.dumps(bundle)).intakes[0]


def by_hl7() -> Intake:
    message = (HERE / "hl7/cases/rqa_i08_request/message.hl7").read_text()
    return read_hl7(message.replace("|PPO01^", "|GOLD-1^").replace("|GRP-42|", "|GRP77|")).intakes[0]


def by_x12(references: str = "REF*6P*GRP77~REF*N6*GOLD-1~") -> Intake:
    request = (HERE / "x12/cases/dependent-two-lines/request.x12").read_bytes()
    added = references.count("~") - 1
    text = request.replace(b"REF*6P*GRP77~", references.encode())
    before = int(text.rpartition(b"SE*")[2].partition(b"*")[0])
    return read_bytes(text.replace(b"SE*%d*" % before, b"SE*%d*" % (before + added))).intakes[0]


def line_of(intake: Intake) -> str:
    facts: dict[str, Any] = intake.facts
    return LINES.of(envelope(facts=facts)).name


def test_every_rail_leads_to_the_same_line() -> None:
    found = [by_fhir(), by_hl7(), by_x12()]
    assert [(one.facts["coverage.plan"], one.facts["coverage.group"]) for one in found] == [("GOLD-1", "GRP77")] * 3
    assert [line_of(one) for one in found] == ["gold"] * 3


def test_what_names_no_plan_belongs_to_the_rest() -> None:
    alone = by_x12("REF*6P*GRP77~")
    assert "coverage.plan" not in alone.facts
    assert line_of(alone) == "all"


def test_a_policy_number_stands_for_the_group_where_there_is_no_other() -> None:
    assert by_x12("REF*1L*POL9~").facts["coverage.group"] == "POL9"
    assert by_x12("REF*1L*POL9~REF*6P*GRP77~").facts["coverage.group"] == "GRP77"
