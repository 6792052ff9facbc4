"""One gateway for all end-to-end tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.asked import Asking, asking
from tests.e2e.asked_fhir import FhirAsking, asking_by_fhir
from tests.e2e.running import Gateway, running
from tests.gateway.security.keys import ec_key, jwk, pem, rsa_key


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Private keys of the registered clients (`ehr-ec`, `ehr-rsa`), `stranger`, and the gateway's own."""
    folder = tmp_path_factory.mktemp("keys")
    made = {"ehr-ec": ec_key("ec"), "ehr-rsa": rsa_key("rsa"), "stranger": ec_key("x"), "gateway": ec_key("gateway")}
    for name, key in made.items():
        (folder / f"{name}.pem").write_bytes(pem(key))
    clients = [
        {
            "id": name,
            "tenant": "demo",
            "jwks": {"keys": [jwk(made[name], "k1")]},
            "scopes": ["system/Claim.crus", "system/Subscription.cruds", "system/ClaimResponse.r"],
            "organizations": [name],
        }
        for name in ("ehr-ec", "ehr-rsa")
    ]
    (folder / "clients.yaml").write_text(json.dumps({"clients": clients}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Gateway]:
    """A running gateway, with clients that are registered beside the demonstration's token."""
    environment = {
        "GATEWAY_CLIENTS": str(keys / "clients.yaml"),
        "GATEWAY_SIGNING_KEY": f"file:{keys / 'gateway.pem'}",
    }
    with running(tmp_path_factory.mktemp("gateway") / "state", environment) as found:
        yield found


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """Another one, with payers that it asks."""
    with asking(tmp_path_factory.mktemp("asking")) as found:
        yield found


@pytest.fixture(scope="session")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirAsking]:
    """Another one, whose payers are asked over FHIR; one of them is a gateway itself."""
    with asking_by_fhir(tmp_path_factory.mktemp("plans")) as found:
        yield found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs real servers, and the first test waits for them to be built."""
    for item in items:
        if "/e2e/" in str(item.path):
            item.add_marker(pytest.mark.connected)
            item.add_marker(pytest.mark.timeout(600))
