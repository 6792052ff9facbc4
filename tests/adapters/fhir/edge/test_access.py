"""Who may do what: tokens, scopes, certificates, and that one client never sees another's resources."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.core.errors import Unavailable
from gateway.infra.http import ClientSettings, HttpSettings, TlsSettings, client
from gateway.security.bearer import Authenticator, DemoToken
from gateway.security.clients import fingerprint
from gateway.security.redact import FIELDS
from gateway.testing import FixedClock
from tests.adapters.fhir.edge.bundles import request_bundle, subscription
from tests.adapters.fhir.edge.fakes import TOKEN, World, demo_principal, running
from tests.gateway.infra.certificates import CLIENT, SERVER, Authority
from tests.gateway.security.keys import assertion, ec_key, form, rsa_key, smart

CLOCK = FixedClock()
BEARER = {"authorization": f"Bearer {TOKEN}"}
SUBMIT = "/fhir/pas/2.2.1/Claim/$submit"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server = smart(CLOCK)
    async with running(Authenticator(smart=server, clients=server.clients), server) as started:
        del started.http.headers["authorization"]
        yield started


async def token(world: World, scope: str = "system/*.rs", signed: str = "", **changes: str) -> httpx.Response:
    body = form(signed or assertion(CLOCK.now), scope, **changes)
    return await world.http.post("/fhir/token", data=body)


async def bearer(world: World, scope: str = "system/*.rs", **claims: Any) -> dict[str, str]:
    key = ec_key("b") if claims.get("iss") == "ehr-b" else None
    signed = assertion(CLOCK.now, key, **claims)
    response = await token(world, scope, signed)
    return {"authorization": f"Bearer {response.json()['access_token']}"}


async def test_no_or_wrong_credentials_are_401_with_a_challenge(world: World) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic eDp5"}):
        response = await world.submit(request_bundle(), **headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.json()["issue"][0]["code"] == "login"
    assert world.accept.accepted == []
    assert world.refusals.rows == []  # nothing is read, nor kept, from somebody unknown


async def test_the_token_endpoint_gives_short_lived_tokens(world: World) -> None:
    for key, algorithm, kid in ((ec_key(), "ES384", "ec"), (rsa_key(), "RS384", "rsa")):
        response = await token(world, signed=assertion(CLOCK.now, key, algorithm=algorithm, headers={"kid": kid}))
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        body = response.json()
        assert (body["token_type"], body["expires_in"], body["scope"]) == ("bearer", 300, "system/*.rs")


async def test_every_refusal_of_the_token_endpoint_looks_alike(world: World) -> None:
    used = assertion(CLOCK.now)
    assert (await token(world, signed=used)).status_code == 200
    with structlog.testing.capture_logs() as captured:
        refused = [
            await token(world, signed=used),
            await token(world, signed=assertion(CLOCK.now, aud="https://other.example")),
            await token(world, signed=assertion(CLOCK.now, ec_key("evil"))),
            await token(world, signed=assertion(CLOCK.now, iss="nobody", sub="nobody")),
            await token(world, signed="x.y.z"),
        ]
    lines = [line for line in captured if line["event"] == "token refused"]
    assert [line["reason"] for line in lines] == ["replay", "audience", "signature", "unknown client", "not a JWT"]
    assert {(r.status_code, r.text) for r in refused} == {(400, '{"error":"invalid_client"}')}
    assert (await token(world, "patient/*.rs")).json() == {"error": "invalid_scope"}
    assert (await token(world, grant_type="password")).json() == {"error": "unsupported_grant_type"}
    twice = await world.http.post(
        "/fhir/token",
        content="grant_type=client_credentials&grant_type=x",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert twice.json() == {"error": "invalid_request"}
    assert (await world.http.post("/fhir/token", json={})).json() == {"error": "invalid_request"}
    assert (await world.http.get("/fhir/token")).status_code == 405


async def test_the_token_endpoint_speaks_oauth_whatever_is_wrong(world: World) -> None:
    """RFC 6749 §5.2: its errors are JSON with `error`, also those of HTTP itself."""
    kind = {"content-type": "application/x-www-form-urlencoded"}
    large = await world.http.post("/fhir/token", content=b"a=" + b"x" * 20_000, headers=kind)
    method = await world.http.get("/fhir/token")
    assert (large.status_code, method.status_code, method.headers["allow"]) == (413, 405, "POST")
    for answer in (large, method):
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.json() == {"error": "invalid_request"}


async def test_an_authorization_server_that_cannot_answer_says_when_to_come_again() -> None:
    class Down:
        async def token(self, form: dict[str, str]) -> Any:
            raise Unavailable

    async with running(tokens=Down()) as world:
        answer = await token(world, signed=assertion(CLOCK.now))
    assert (answer.status_code, answer.json()) == (503, {"error": "temporarily_unavailable"})
    assert answer.headers["retry-after"]


async def test_smart_configuration_names_the_endpoint(world: World) -> None:
    for base in ("", "/fhir/pas/2.2.1", "/fhir/r4"):
        document = (await world.http.get(f"{base}/.well-known/smart-configuration")).json()
        assert document["token_endpoint"].endswith("/fhir/token")
        assert set(document["token_endpoint_auth_signing_alg_values_supported"]) == {"RS384", "ES384"}


async def test_scopes_decide(world: World) -> None:
    reader = await bearer(world)
    assert (await world.submit(request_bundle(), **reader)).status_code == 200
    other = await bearer(world, "system/Patient.rs")
    response = await world.submit(request_bundle(), **other)
    assert response.status_code == 403
    assert response.json()["issue"][0]["code"] == "forbidden"
    # Plain intake writes, and is not a PAS operation: reading scopes do not open it.
    posted = await world.post("/fhir/r4/Patient", {"resourceType": "Patient"}, **reader)
    assert posted.status_code == 403


async def test_strict_scopes_need_create() -> None:
    server = smart(CLOCK)
    async with running(Authenticator(smart=server), server, strict_scopes=True) as world:
        del world.http.headers["authorization"]
        assert (await world.submit(request_bundle(), **await bearer(world))).status_code == 403
        writer = await bearer(world, "system/Claim.c")
        assert (await world.submit(request_bundle(), **writer)).status_code == 200


async def test_a_client_subscribes_for_its_own_systems_only(world: World) -> None:
    ours = await bearer(world)
    path = "/fhir/pas/2.2.1/Subscription"
    foreign = await world.post(path, subscription("http://127.0.0.1:9/hook", "9999999999"), **ours)
    assert foreign.status_code == 403
    assert foreign.json()["resourceType"] == "OperationOutcome"
    own = await world.post(path, subscription("http://127.0.0.1:9/hook"), **ours)
    assert own.status_code == 201
    address = f"{path}/{own.json()['id']}"
    stranger = await bearer(world, iss="ehr-b", sub="ehr-b")
    for method in ("GET", "DELETE"):
        assert (await world.http.request(method, address, headers=stranger)).status_code == 404
    assert (await world.http.get(f"{address}/$status", headers=stranger)).status_code == 404
    assert (await world.http.get(address, headers=ours)).status_code == 200


async def test_what_was_issued_to_one_client_is_404_for_another(world: World) -> None:
    ours = await bearer(world)
    answer = (await world.submit(request_bundle(), **ours)).json()
    address = f"/fhir/pas/2.2.1/ClaimResponse/{answer['entry'][0]['resource']['id']}"
    assert (await world.http.get(address, headers=ours)).status_code == 200
    stranger = await bearer(world, iss="ehr-b", sub="ehr-b")
    hidden = await world.http.get(address, headers=stranger)
    unknown = await world.http.get("/fhir/pas/2.2.1/ClaimResponse/none", headers=stranger)
    assert (hidden.status_code, hidden.content) == (unknown.status_code, unknown.content) == (404, unknown.content)


async def test_a_hook_takes_its_callers_own_jwt_once_and_for_this_service_only(world: World) -> None:
    service = "http://gateway.example/cds-services/order-sign-crd"
    path = "/cds-services/order-sign-crd"

    async def attempt(signed: str, address: str = path) -> int:
        return (await world.post(address, {}, authorization=f"Bearer {signed}")).status_code

    good = assertion(CLOCK.now, aud=service, sub=None)
    assert await attempt(good) == 400  # let in: the body is what is wrong
    assert await attempt(good) == 401
    for claims in ({"aud": "http://gateway.example/cds-services/order-select-crd"}, {"aud": service, "iss": "nobody"}):
        assert await attempt(assertion(CLOCK.now, sub=None, **claims)) == 401
    assert await attempt(assertion(CLOCK.now, ec_key("evil"), aud=service)) == 401
    assert await attempt(assertion(CLOCK.now, aud=service, sub=None), SUBMIT) == 401


async def test_a_forged_certificate_header_is_nothing(world: World) -> None:
    forged = {"x-client-cert": "-----BEGIN CERTIFICATE-----", "x-ssl-client-verify": "SUCCESS"}
    assert (await world.submit(request_bundle(), **forged)).status_code == 401


async def test_a_certificate_is_an_identity_of_its_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    shown, _ = authority.issue("server", SERVER)
    good, certificate = authority.issue("good", CLIENT)
    stranger, _ = authority.issue("stranger", CLIENT)
    server = smart(CLOCK, certificates=[fingerprint(certificate.public_bytes(Encoding.PEM).decode())])
    tls = TlsSettings(certificate=shown, authorities=authority.path, require_client=True)
    listener = HttpSettings(address="127.0.0.1:0", grace_seconds=1, tls=tls)
    demo = DemoToken(TOKEN, demo_principal())
    known = Authenticator(smart=server, clients=server.clients, demo=demo)
    async with running(known, http=listener) as world:
        for path, status in ((good, 200), (stranger, 401)):
            settings = ClientSettings(tls=TlsSettings(authorities=authority.path, certificate=path))
            async with client(settings) as http:
                body = orjson.dumps(request_bundle())
                response = await http.post(f"{world.url}{SUBMIT}", content=body)
                assert response.status_code == status
                # A token of another client does not go with this certificate.
                mixed = await http.post(f"{world.url}{SUBMIT}", content=body, headers=BEARER)
                assert mixed.status_code == (401 if path is good else 200)
        assert {reception.client for _, reception in world.accept.accepted} == {"ehr-a", "demo"}


async def test_logs_hold_routes_and_codes_only() -> None:
    async with running() as world:
        with structlog.testing.capture_logs() as lines:
            await world.submit(request_bundle("SVC-A1", number="CANARY-1"))
            await world.post(SUBMIT, b'{"resourceType":"CANARY"}')
            await world.http.get("/fhir/pas/2.2.1/Task/CANARY?name=CANARY", headers={"x-canary": "CANARY"})
            world.accept.failure = Unavailable()
            await world.submit(request_bundle("SVC-CANARY"))
        assert sum(line["event"] == "request" for line in lines) == 4
        assert "CANARY" not in str(lines)
        assert {name for line in lines for name in line} - {"log_level"} <= FIELDS
        assert {line["route"] for line in lines if "route" in line} == {SUBMIT, "/fhir/pas/2.2.1/Task/{id}"}


async def test_where_no_client_is_registered_the_token_endpoint_refuses_in_the_same_words() -> None:
    async with running(tokens=None) as world:
        for form, error in (
            ({"grant_type": "password"}, "unsupported_grant_type"),
            ({"scope": "system/*.rs"}, "invalid_request"),
            ({"grant_type": "client_credentials", "client_assertion": "a.b.c"}, "invalid_client"),
        ):
            response = await world.http.post("/fhir/token", data=form)
            assert (response.status_code, response.json()) == (400, {"error": error})
