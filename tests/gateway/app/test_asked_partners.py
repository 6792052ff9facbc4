"""Which partner is asked for which payer, and which profiles cannot be asked at all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from adapters.fhir.settings import PayerServer
from gateway import samples
from gateway.app.asking_fhir import server_client
from gateway.app.payer_watch import tenant_of
from gateway.core.errors import ConfigurationError
from gateway.partners import Asking, Partner, Partners, load, read

X12 = {"sender": "PLAN0009", "receiver": "GATEWAY"}
CORE = {"url": "https://plan.example/core", "sender_id": "GATEWAY", "receiver_id": "PLAN0009"}


def partner(name: str, **ask: Any) -> Partner:
    return Partner.model_validate(
        {"name": name, "x12": X12 | {"name": name}, "core": CORE | {"name": name}, "ask": {"payers": ["*"]} | ask}
    )


def test_who_names_the_payer_comes_before_who_takes_all() -> None:
    partners = Partners([partner("all"), partner("plan", payers=["P1"]), partner("own", payers=["P2"], tenants=["t2"])])
    found = {
        (tenant, payer): partners.asked_for(tenant, payer) for tenant in ("t1", "t2") for payer in ("P1", "P2", "")
    }
    names = {key: one.name for key, one in found.items() if one is not None}
    assert names == {
        ("t1", "P1"): "plan", ("t1", "P2"): "all", ("t1", ""): "all",
        ("t2", "P1"): "plan", ("t2", "P2"): "own", ("t2", ""): "all",
    }  # fmt: skip
    assert Partners([partner("plan", payers=["P1"])]).asked_for("t1", "P3") is None
    assert Partners([partner("plan", payers=["P1"])]).asked_for("t1", "") is None


@pytest.mark.parametrize(("missing", "by"), [("x12", "core"), ("core", "core"), ("core", "core-batch"), ("", "sftp")])
def test_a_profile_that_cannot_be_asked_is_refused(tmp_path: Path, missing: str, by: str) -> None:
    profile = partner("plan").model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    profile["ask"]["by"] = by
    profile.pop(missing, None)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    with pytest.raises(ConfigurationError):
        read(tmp_path / "plan.yaml")


def test_the_sample_profiles_are_some() -> None:
    found = load(Path(samples.__file__).parent / "partners").all
    assert {one.asked_at for one in found} == {"core/sample-health-plan", "fhir/sample-fhir-plan", ""}
    assert Partners(found).written_to("ehr-a") == "ehr/sample-ehr"


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"base_url": "https://plan.example/"}, {"base_url": "plan.example", "organization": "US"},
        {"base_url": "https://plan.example"},  # a subscription without its filter
        {"base_url": "https://plan.example", "organization": "US", "token_url": "https://plan.example/token"},
        {"base_url": "https://plan.example", "organization": "US", "certificate": "client.pem"},
        {"base_url": "https://plan.example", "organization": "US", "version": "1.1.0"},
    ],
)  # fmt: skip
def test_a_fhir_server_that_cannot_be_asked_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    profile = {"name": "plan", "ask": {"payers": ["*"], "by": "fhir"}} | ({"fhir": wrong} if wrong else {})
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    with pytest.raises(ConfigurationError):
        read(tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    "given", [{"base_url": "http://plan.example"}, {"base_url": "https://plan.example", "bearer": "env:PLAN_TOKEN"}]
)
def test_fixed_tokens_and_plain_http_are_for_the_demo_alone(monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
    monkeypatch.setenv("PLAN_TOKEN", "t")
    server = PayerServer(organization="US", **given)
    with pytest.raises(ConfigurationError):
        server_client(server, "production")
    assert server_client(server, "demo").endpoint.base_url == given["base_url"]


def test_keys_and_certificates_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("nothing")
    given = {"base_url": "https://plan.example", "organization": "US"}
    key = {
        "token_url": "https://plan.example/token",
        "client_id": "us",
        "key_id": "k",
        "key": f"file:{tmp_path}/none.pem",
    }
    mutual = {"certificate": tmp_path / "none.pem", "certificate_key": tmp_path / "none.pem"}
    for more in (key, mutual):
        with pytest.raises(ConfigurationError):
            server_client(PayerServer.model_validate(given | more), "production")


def test_one_tenant_hears_of_a_payers_notifications() -> None:
    app: Any = SimpleNamespace(settings=SimpleNamespace(tenant="main"))
    server = PayerServer(base_url="https://plan.example", organization="US")
    partners = [
        Partner(name="plan", fhir=server, ask=Asking(payers=("*",), by="fhir", tenants=tenants))
        for tenants in ((), ("t1",), ("t1", "t2"))
    ]
    assert [tenant_of(app, one) for one in partners] == ["main", "t1", "main"]
