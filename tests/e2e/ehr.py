"""An EHR that is written to: its authorization server and its ClaimResponses; strict, in trouble as a test wants."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import jwt
import pytest

from adapters.fhir import wire
from tests.e2e.asked_fhir import CLINIC, Answer, Call, FhirAsking, Told, nothing
from tests.e2e.pas import Element
from tests.gateway.security.keys import ec_key

FHIR = {"content-type": "application/fhir+json"}


@dataclass
class Ehr:
    """Gives tokens for our assertion, and keeps what is put under a good one; `trouble` comes before that."""

    plans: FhirAsking
    trouble: list[Answer] = field(default_factory=list)
    """What becomes of the next writes, one each."""
    issued: list[str] = field(default_factory=list)
    good: set[str] = field(default_factory=set)
    """Tokens that have not ended."""
    kept: dict[str, list[Element]] = field(default_factory=dict)
    """The versions of each resource, by its address."""

    def __call__(self, call: Call) -> Told | None:
        if call.path == "/token":
            return self.token(call)
        if call.headers.get("authorization", "").removeprefix("Bearer ") not in self.good:
            return 401, {}, b""
        return self.trouble.pop(0)(call) if self.trouble else self.keep(call)

    def token(self, call: Call) -> Told:
        """SMART Backend Services: an assertion signed by the key that is registered here."""
        form = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
        claims = jwt.decode(
            form["client_assertion"],
            ec_key(CLINIC).public_key(),
            algorithms=["ES384"],
            audience=f"http://127.0.0.1:{self.plans.ehr.port}/token",
        )
        assert (claims["iss"], claims["sub"], form["grant_type"]) == ("gateway", "gateway", "client_credentials")
        token = f"token-{len(self.issued)}"
        self.issued.append(token)
        self.good.add(token)
        answer = {"access_token": token, "token_type": "bearer", "expires_in": 300, "scope": form["scope"]}
        return 200, {"content-type": "application/json"}, json.dumps(answer).encode()

    def keep(self, call: Call) -> Told:
        """An update that creates what is not there (R4 3.1.0.7.1)."""
        base, kind, identity = call.path.rsplit("/", 2)
        resource = call.bundle
        sound = base == "/fhir" and kind == "ClaimResponse" == resource["resourceType"] and resource["id"] == identity
        if call.method != "PUT" or not sound or wire.validate_resource(resource):
            return 400, {}, b""
        versions = self.kept.setdefault(f"{kind}/{identity}", [])
        versions.append(resource)
        return 200 if versions[1:] else 201, {"etag": f'W/"{len(versions)}"'}, b""

    def writes(self, claim: str) -> list[Call]:
        """What was sent about a Claim of the EHR's, whatever became of it."""
        named = f'"Claim/{claim}"'.encode()
        return [one for one in self.plans.ehr.calls if one.path != "/token" and named in one.body]

    def answers(self, claim: str) -> dict[str, list[Element]]:
        """The versions of each ClaimResponse on a Claim."""
        return {
            where: versions
            for where, versions in self.kept.items()
            if versions[-1]["request"].get("reference") == f"Claim/{claim}"
        }


@pytest.fixture(scope="session")
def ehr(plans: FhirAsking) -> Iterator[Ehr]:
    """The EHR, in good health."""
    found = Ehr(plans)
    plans.ehr.script = found
    yield found
    plans.ehr.script = nothing
