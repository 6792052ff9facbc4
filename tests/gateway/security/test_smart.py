"""SMART Backend Services: only a fresh, correctly signed, registered assertion yields a token; all else looks alike."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest

from gateway.core.errors import ConfigurationError, EndpointUnavailable, UnauthorizedSender
from gateway.security.bearer import Authenticator, DemoToken
from gateway.security.clients import ClientRegistry
from gateway.security.smart import InvalidClient, InvalidScope
from gateway.testing import FixedClock
from tests.gateway.security.keys import (
    JWKS_URL,
    TOKEN_URL,
    KeyServer,
    MemoryJtiStore,
    assertion,
    ec_key,
    form,
    jwk,
    pem,
    rsa_key,
    smart,
)

CLOCK = FixedClock()
NOW = int(CLOCK.now.timestamp())


def unsigned(header: dict[str, Any]) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"iss": "ehr-a", "sub": "ehr-a", "aud": TOKEN_URL, "exp": NOW + 200, "jti": "x"}
    return f"{part(header)}.{part(claims)}."


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(ec_key(), "ES384", "ec"), (rsa_key(), "RS384", "rsa")])
async def test_both_required_algorithms_yield_a_token_that_names_the_client(key: Any, algorithm: str, kid: str) -> None:
    server = smart(CLOCK)
    token = await server.token(form(assertion(CLOCK.now, key, algorithm=algorithm, headers={"kid": kid})))
    assert token.expires_in == 300
    assert token.scope == "system/*.rs"
    principal = server.principal(token.token)
    assert (principal.tenant, principal.client) == ("acme", "ehr-a")
    assert principal.organizations == {"1234567893"}
    assert principal.may("Claim", "rs")
    assert not principal.may("Claim", "c")


BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "wrong audience": {"aud": "https://other.example/token"},
    "two audiences": {"aud": [TOKEN_URL, "https://other.example"]},
    "no audience": {"aud": None},
    "subject differs": {"sub": "ehr-b"},
    "no subject": {"sub": None},
    "unknown issuer": {"iss": "nobody", "sub": "nobody"},
    "lives an hour": {"exp": NOW + 3600},
    "expired": {"exp": NOW - 60},
    "no expiry": {"exp": None},
    "expiry is text": {"exp": "soon"},
    "expiry is endless": {"exp": 10**30},
    "expiry is not a number": {"exp": float("nan")},
    "expiry is true": {"exp": True},
    "not yet valid": {"nbf": NOW + 120},
    "issued in the future": {"iat": NOW + 120},
    "no jti": {"jti": None},
    "empty jti": {"jti": ""},
    "jti is a number": {"jti": 5},
    "endless jti": {"jti": "x" * 300},
}


@pytest.mark.parametrize("case", BAD_CLAIMS)
async def test_a_claim_that_does_not_hold_is_refused(case: str) -> None:
    with pytest.raises(InvalidClient):
        await smart(CLOCK).token(form(assertion(CLOCK.now, **BAD_CLAIMS[case])))


BAD_HEADERS: dict[str, dict[str, Any]] = {
    "foreign kid": {"headers": {"kid": "unknown"}},
    "kid of the other type": {"headers": {"kid": "rsa"}},
    "jku elsewhere": {"headers": {"jku": "https://evil.example/jwks.json"}},
    "critical extension": {"headers": {"crit": ["exp"]}},
    "wrong typ": {"headers": {"typ": "at+jwt"}},
    "another key": {"key": ec_key("evil")},
    "own jwk": {"key": ec_key("evil"), "headers": {"jwk": jwk(ec_key("evil"), "ec")}},
    "ES256": {"key": ec_key("p256", "secp256r1"), "algorithm": "ES256"},
    "RS256": {"key": rsa_key(), "algorithm": "RS256", "headers": {"kid": "rsa"}},
    "HS384 with public bytes": {"key": b"0" * 48, "algorithm": "HS384"},
}


@pytest.mark.parametrize("case", BAD_HEADERS)
async def test_a_header_or_key_that_does_not_hold_is_refused(case: str) -> None:
    with pytest.raises(InvalidClient):
        await smart(CLOCK).token(form(assertion(CLOCK.now, **BAD_HEADERS[case])))


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b", "a.b.c", "x" * 9000, unsigned({"alg": "none"}), unsigned({"alg": "none", "kid": "ec"}), "é.é.é"],
)
async def test_what_is_no_signed_jwt_is_refused(token: str) -> None:
    with pytest.raises(InvalidClient):
        await smart(CLOCK).token(form(token))


async def test_the_registered_jku_may_be_named() -> None:
    assert await smart(CLOCK).token(form(assertion(CLOCK.now, headers={"jku": JWKS_URL})))


async def test_the_form_must_be_complete() -> None:
    for changes in ({"client_assertion_type": ""}, {"client_id": "ehr-b"}):
        with pytest.raises(InvalidClient):
            await smart(CLOCK).token(form(assertion(CLOCK.now), **changes))
    for scope in ("", "patient/*.rs", "system/Patient.cud", "system/Patient.rs?x=1"):
        with pytest.raises(InvalidScope):
            await smart(CLOCK).token(form(assertion(CLOCK.now), scope))


async def test_a_scope_is_narrowed_to_the_registration() -> None:
    server = smart(CLOCK)
    token = await server.token(form(assertion(CLOCK.now), "system/*.cruds system/Claim.write openid"))
    assert set(token.scope.split()) == {
        "system/*.rs",
        "system/Claim.crus",
        "system/Subscription.cruds",
        "system/Claim.cu",
    }


async def test_fifty_racing_replicas_admit_one_assertion_once() -> None:
    store = MemoryJtiStore()
    replicas = [smart(CLOCK, store=store) for _ in range(5)]
    one = assertion(CLOCK.now)
    answers = await asyncio.gather(*(replicas[n % 5].token(form(one)) for n in range(50)), return_exceptions=True)
    assert sum(not isinstance(answer, Exception) for answer in answers) == 1
    assert all(isinstance(a, InvalidClient) and a.reason == "replay" for a in answers if isinstance(a, Exception))


async def test_a_forged_assertion_does_not_burn_the_id() -> None:
    server = smart(CLOCK)
    with pytest.raises(InvalidClient):
        await server.token(form(assertion(CLOCK.now, ec_key("evil"), jti="same")))
    assert await server.token(form(assertion(CLOCK.now, jti="same")))


async def test_keys_are_cached_rotated_and_removed() -> None:
    clock = FixedClock()
    keys = KeyServer({"keys": [jwk(ec_key("old"), "old")]})
    server = smart(clock, keys)

    async def attempt(name: str) -> bool:
        try:
            await server.token(form(assertion(clock.now, ec_key(name), headers={"kid": name})))
        except InvalidClient:
            return False
        return True

    assert [await attempt("old"), await attempt("old")] == [True, True]
    assert len(keys.asked) == 1
    keys.document = {"keys": [jwk(ec_key("new"), "new")]}
    assert not await attempt("new")  # asked within the last minute: not again
    assert len(keys.asked) == 1
    clock.now += timedelta(seconds=61)
    assert [await attempt("new"), await attempt("old")] == [True, False]
    assert len(keys.asked) == 2
    keys.failure = EndpointUnavailable()
    clock.now += timedelta(seconds=61)
    assert await attempt("new")  # still kept
    clock.now += timedelta(minutes=15)
    assert not await attempt("new")  # fails closed
    keys.failure = None
    clock.now += timedelta(seconds=61)
    assert await attempt("new")


@pytest.mark.parametrize(
    "document",
    [
        {"keys": [jwk(ec_key(), "ec"), jwk(ec_key("twin"), "ec")]},
        {"keys": [{**jwk(ec_key(), "ec"), "use": "enc"}]},
        {"keys": [{**jwk(ec_key(), "ec"), "d": "AAAA"}]},
        {"keys": [jwk(ec_key(), "ec")] * 51},
        {"keys": [{**jwk(ec_key(), "ec"), "kid": None}]},
        {"keys": "none"},
        [],
    ],
)
async def test_key_sets_that_are_ambiguous_or_odd_verify_nothing(document: object) -> None:
    with pytest.raises(InvalidClient):
        await smart(CLOCK, KeyServer(document)).token(form(assertion(CLOCK.now)))


@pytest.mark.filterwarnings("ignore:The RSA key is 1024")
async def test_short_rsa_keys_verify_nothing() -> None:
    short = rsa_key("short", 1024)
    server = smart(CLOCK, KeyServer({"keys": [jwk(short, "rsa")]}))
    with pytest.raises(InvalidClient):
        await server.token(form(assertion(CLOCK.now, short, algorithm="RS384", headers={"kid": "rsa"})))


async def test_access_tokens_end_and_cannot_be_made_up() -> None:
    clock = FixedClock()
    server = smart(clock)
    token = (await server.token(form(assertion(clock.now)))).token
    head, body, signature = token.split(".")
    for forged in (f"{head}.{body}.{signature[:-4]}AAAA", assertion(clock.now), "x.y.z", ""):
        with pytest.raises(UnauthorizedSender):
            server.principal(forged)
    foreign = jwt.encode({"client_id": "ehr-a"}, ec_key("evil"), algorithm="ES384", headers={"kid": "s1"})
    with pytest.raises(UnauthorizedSender):
        server.principal(foreign)
    moved = smart(clock, tenant="elsewhere")
    with pytest.raises(UnauthorizedSender):
        moved.principal(token)
    clock.now += timedelta(seconds=301)
    with pytest.raises(UnauthorizedSender):
        server.principal(token)


async def test_a_narrowed_registration_counts_at_once() -> None:
    token = await smart(CLOCK).token(form(assertion(CLOCK.now)))
    narrowed = smart(CLOCK, scopes=["system/Claim.r"])
    assert narrowed.principal(token.token).scopes == {"system/Claim.r"}


async def test_an_authorization_header_is_needed_and_only_bearer_counts() -> None:
    authenticate = Authenticator(smart=smart(CLOCK))
    for header in (None, "", "Bearer", "Bearer ", "Basic eDp5", "Bearer abc"):
        with pytest.raises(UnauthorizedSender):
            await authenticate(header)


async def test_static_tokens_exist_in_the_demo_profile_only(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError):
        DemoToken.create("production", token="secret")
    demo = DemoToken.create("demo", token="secret")
    said = capsys.readouterr()
    assert "DEMO PROFILE" in said.out + said.err
    assert "secret" not in said.out + said.err
    principal = await Authenticator(demo=demo)("Bearer secret")
    assert principal.method == "demo"
    with pytest.raises(UnauthorizedSender):
        await Authenticator(demo=demo)("Bearer secreu")


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "a", "tenant": "t", "unknown": 1},
        {"id": "a b", "tenant": "t"},
        {"id": "a", "tenant": "T!"},
        {"id": "a", "tenant": "t", "scopes": ["patient/*.rs"]},
        {"id": "a", "tenant": "t", "jwks_uri": "https://x", "jwks": {"keys": []}},
        {"id": "a", "tenant": "t", "certificates": ["CN=x"]},
    ],
)
def test_a_faulty_registry_does_not_load(entry: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"clients\[0\]"):
        ClientRegistry.load({"clients": [entry]})


def test_signing_keys_are_checked() -> None:
    from gateway.security.smart import SigningKeys

    assert SigningKeys.load({"s": pem(ec_key())}).keys
    for wrong in ({"s": b"x"}, {"s": pem(rsa_key())}, {"s": pem(ec_key("p256", "secp256r1"))}, {}):
        with pytest.raises(ConfigurationError):
            SigningKeys.load(wrong)
