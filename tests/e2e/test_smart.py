"""A client of ours against a gateway of ours: SMART Backend Services at both ends (private_key_jwt, system scopes)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from adapters.fhir import wire
from adapters.fhir.outbound import FhirEndpoint, FhirSender
from adapters.fhir.wire.answers import claim_responses
from gateway.core.errors import EndpointRefused
from gateway.core.ports import Outbound, Receipt
from gateway.infra.http import ClientSettings, client
from gateway.security.client_auth import ClientCredentials, TokenSource
from mappings.claimresponse_to_decision import read_decision
from tests.conformance import traversal
from tests.e2e.pas import request
from tests.e2e.running import ROOT, Gateway

SCOPE = "system/Claim.crus system/ClaimResponse.r"


def endpoint(gateway: Gateway) -> str:
    return f"{gateway.http}/fhir/pas/2.2.1"


def credentials(gateway: Gateway, key: Path, name: str, scope: str = SCOPE) -> ClientCredentials:
    configuration = httpx.get(f"{endpoint(gateway)}/.well-known/smart-configuration").json()
    return ClientCredentials.load(
        token_url=configuration["token_endpoint"], client_id=name, scope=scope, key_id="k1", pem=key.read_bytes()
    )


def sent(gateway: Gateway, known: ClientCredentials, data: bytes) -> tuple[Receipt, str]:
    """One request by the outbound client, and the Authorization header it used."""

    async def work() -> tuple[Receipt, str]:
        async with client(ClientSettings()) as http:
            tokens = TokenSource(http, known, lambda: datetime.now(UTC))
            sender = FhirSender(http, FhirEndpoint(endpoint(gateway)), tokens)
            outbound = Outbound(endpoint="fhir/b", data=data, media_type=wire.FHIR_JSON, idempotency_key="one")
            receipt = await sender.send(outbound)
            first = await tokens.header()
            assert (await sender.send(outbound)).data == receipt.data  # the same bytes: the same answer
            assert await tokens.header() == first
        return receipt, first

    return asyncio.run(work())


@pytest.mark.parametrize("name", ["ehr-ec", "ehr-rsa"])
def test_what_one_gateway_asks_another_answers(gateway: Gateway, keys: Path, name: str) -> None:
    asked = wire.serialize(request("urn", "X1001", "X1004"))
    receipt, authorization = sent(gateway, credentials(gateway, keys / f"{name}.pem", name), asked)
    assert receipt.accepted
    assert receipt.data is not None
    assert list(traversal.problems(traversal.read(asked), traversal.read(receipt.data))) == []
    (answer,) = claim_responses(receipt.data)
    decision = read_decision(answer, case_id="c", version=1, received_at=datetime.now(UTC))
    assert [item.action for item in decision.items] == ["A1", "A3"]
    # What was issued to this client is not there for another one.
    issued = f"{endpoint(gateway)}/ClaimResponse/{answer['entry'][0]['resource']['id']}"
    assert httpx.get(issued, headers={"authorization": authorization}).status_code == 200
    assert httpx.get(issued, headers=gateway.headers).status_code == 404


def test_strangers_and_narrow_scopes_are_refused(gateway: Gateway, keys: Path) -> None:
    asked = wire.serialize(request("urn", "X1001"))
    with pytest.raises(EndpointRefused, match="authorization server answered 400"):
        sent(gateway, credentials(gateway, keys / "stranger.pem", "ehr-ec"), asked)
    with pytest.raises(EndpointRefused, match="authorization server answered 400"):
        sent(gateway, credentials(gateway, keys / "ehr-ec.pem", "nobody"), asked)
    with pytest.raises(EndpointRefused, match="403"):
        sent(gateway, credentials(gateway, keys / "ehr-ec.pem", "ehr-ec", "system/ClaimResponse.r"), asked)


def test_the_command_line_signs_in_too(gateway: Gateway, keys: Path, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_bytes(wire.serialize(request("http", "X1002")))
    arguments = ["fhir", "submit", str(file), "--url", endpoint(gateway), "--client-id", "ehr-ec", "--key-id", "k1"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    environment = clean | {"COLUMNS": "200"}

    def run(key: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", *arguments, "--key", str(keys / key), "--scope", SCOPE]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    shown = run("ehr-ec.pem")
    assert shown.returncode == 0, shown.stderr
    assert "A6 approved with changes" in shown.stdout
    refused = run("stranger.pem")
    assert (refused.returncode, "authorization server answered 400" in refused.stderr) == (1, True)
