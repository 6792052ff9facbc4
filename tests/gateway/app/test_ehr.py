"""Which EHR hears of a decision, what it is sent, and which profiles cannot be written to at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import yaml

from adapters.fhir import wire
from adapters.fhir.settings import EhrServer
from gateway.app import now
from gateway.app.asking_fhir import server_client
from gateway.app.deliveries import ways_back
from gateway.app.ehr import Write
from gateway.core.errors import ConfigurationError, EndpointRefused
from gateway.partners import Partner, Partners, load
from gateway.stages.deliver import Letter
from gateway.store.cases import Case
from tests.mappings.fhir import samples
from tests.mappings.fhir.test_decision_to_ehr import EHR, PAS, alone
from tests.mappings.fhir.test_own_claims import claim


def partner(name: str, *clients: str, **more: Any) -> Partner:
    return Partner.model_validate({"name": name, "ehr": {"base_url": EHR, "clients": clients, **more}})


PARTNERS = Partners([Partner(name="other"), partner("north", "ehr-a", "ehr-b"), partner("south", "ehr-c")])


def case(client: str, kind: str = "authorization.request", rail: str = "fhir-r4") -> Case:
    at = now()
    context = {"reply": {"rail": rail, "client": client, "endpoint": ""}, "type": kind}
    return Case(
        id="c", tenant="t", version=1, status="opened", action="", context=context, priority="standard",
        received_at=at, due_at=at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (case("ehr-a"), ("ehr/north",)),
        (case("ehr-b", "authorization.cancel"), ("ehr/north",)),
        (case("ehr-c", "authorization.update"), ("ehr/south",)),
        (case("ehr-d"), ()),  # no EHR of its is known: nobody is told
        (case("ehr-a", "eligibility.request"), ()),
        (case("ehr-a", rail="x12"), ()),
    ],
)
async def test_the_ehr_of_the_client_that_posted_the_claim(given: Case, told: tuple[str, ...]) -> None:
    assert await ways_back(PARTNERS, cast("Any", None), given, "batch") == told


def letter(endpoint: str = "ehr/north", version: int = 1, action: str = "A1") -> Letter:
    message = alone(claim())
    decision = dataclasses.replace(samples.decide(action, message), version=version)
    context = {"reply": {"rail": "fhir-r4", "client": "ehr-a"}, "resource": message}
    return Letter(case_id="case-1", tenant="t", endpoint=endpoint, context=context, decision=decision)


async def test_it_is_an_update_under_an_id_of_ours() -> None:
    write = Write(PARTNERS, PAS)
    pended, decided = await write(letter(action="A4")), await write(letter(version=4))
    resource = orjson.loads(decided.data)
    assert decided.attributes == {"method": "PUT", "path": f"ClaimResponse/{resource['id']}"}
    assert decided.attributes == pended.attributes  # one Claim, one ClaimResponse
    assert (decided.media_type, decided.endpoint) == (wire.FHIR_JSON, "ehr/north")
    assert resource["request"]["reference"] == "Claim/c1"
    assert await write(letter(version=4)) == decided


async def test_what_cannot_be_written_is_refused_and_not_repeated() -> None:
    with pytest.raises(EndpointRefused, match="no EHR any more"):
        await Write(PARTNERS, PAS)(letter("ehr/gone"))
    unfounded = letter(action="A3")
    items = tuple(dataclasses.replace(item, reasons=(), note="") for item in unfounded.decision.items)
    unfounded = dataclasses.replace(unfounded, decision=dataclasses.replace(unfounded.decision, items=items))
    with pytest.raises(EndpointRefused, match="a denial without reason"):
        await Write(PARTNERS, PAS)(unfounded)


@pytest.mark.parametrize(
    "wrong",
    [
        {"clients": []}, {"base_url": "https://ehr.example/"}, {"base_url": "ehr.example"}, {"timeout": 90},
        {"token_url": "https://ehr.example/token"}, {"certificate": "client.pem"}, {"subscribe": False},
    ],
)  # fmt: skip
def test_a_profile_that_cannot_be_written_to_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    profile = {"name": "north", "ehr": {"base_url": EHR, "clients": ["ehr-a"]} | wrong}
    (tmp_path / "north.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    with pytest.raises(ConfigurationError):
        load(tmp_path)


def test_a_clients_claims_are_answered_at_one_ehr(tmp_path: Path) -> None:
    for name, clients in (("north", ["ehr-a"]), ("south", ["ehr-b", "ehr-a"])):
        profile = {"name": name, "ehr": {"base_url": EHR, "clients": clients}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="two EHRs"):
        load(tmp_path)


def test_plain_http_and_fixed_tokens_are_for_the_demo_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EHR_TOKEN", "t")
    for given in ({"base_url": "http://ehr.example"}, {"base_url": "https://ehr.example", "bearer": "env:EHR_TOKEN"}):
        server = EhrServer.model_validate({"clients": ["ehr-a"], **given})
        with pytest.raises(ConfigurationError):
            server_client(server, "production")
        assert server_client(server, "demo").endpoint.repeat_seconds is None  # a PUT may be repeated at once
