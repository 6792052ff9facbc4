"""The egress guard: nothing of our own network can be reached through a URL that somebody gave us."""

from __future__ import annotations

import httpx
import pytest

from gateway.core.errors import EndpointRefused, EndpointUnavailable, InvalidMessage
from gateway.security.egress import EgressPolicy, GuardedTransport

FORBIDDEN = [
    "http://payer.example/hook",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a00:1]/",
    "https://[64:ff9b::a00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://0.0.0.0/",
    "https://10.0.0.8/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://224.0.0.1/",
    "https://localhost/",
    "https://db.internal/",
    "https://printer.local/",
    "https://intranet/",
    "https://user:pass@payer.example/",
    "https://payer.example@10.0.0.1/",
    "https://payer.example#@10.0.0.1/",
    "https://payer.example:22/",
    "https://payer.example:6379/",
    "https://payer.example\\@10.0.0.1/",
    "https://pay er.example/",
    "https:///hook",
    "file:///etc/passwd",
    "gopher://payer.example/",
    "ftp://payer.example/",
    "javascript:alert(1)",
    "//payer.example/",
    "payer.example",
    "",
    "https://payer.example:99999/",
    "https://[::1",
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_forbidden_urls_are_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        EgressPolicy().check(url)
    assert "payer.example" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://payer.example/hook", "https://payer.example:8443/a?b=c", "https://8.8.8.8/"])
def test_public_https_is_allowed(url: str) -> None:
    assert EgressPolicy().check(url)


def test_the_demo_profile_allows_loopback_and_nothing_else_private() -> None:
    demo = EgressPolicy(demo=True)
    for url in ("http://127.0.0.1:9000/hook", "http://localhost:9000/hook", "https://payer.example/"):
        assert demo.check(url)
    for url in ("http://10.0.0.8/", "http://169.254.169.254/", "http://192.168.0.1:80/"):
        with pytest.raises(InvalidMessage):
            demo.check(url)


def test_an_operator_can_vouch_for_hosts_and_list_the_only_ones() -> None:
    policy = EgressPolicy(private_hosts=frozenset({"ehr.internal"}), hosts=frozenset({"ehr.internal"}))
    assert policy.check("https://ehr.internal/hook")
    assert policy.allows("ehr.internal", "10.0.0.8")
    assert not policy.allows("ehr.internal", "169.254.169.254")
    with pytest.raises(InvalidMessage):
        policy.check("https://payer.example/")


async def ask(addresses: list[str] | OSError, url: str = "https://payer.example/hook") -> httpx.Request:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    async def resolve(host: str, port: int) -> list[str]:
        if isinstance(addresses, OSError):
            raise addresses
        return addresses

    transport = GuardedTransport(httpx.MockTransport(answer), EgressPolicy(), resolve)
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get(url)
    return seen[0]


async def test_the_connection_goes_to_the_checked_address_under_the_name() -> None:
    request = await ask(["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
    assert request.url.host == "93.184.215.14"
    assert request.headers["host"] == "payer.example"
    assert request.extensions["sni_hostname"] == "payer.example"
    assert request.headers["connection"] == "close"


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["::ffff:10.0.0.1"], []])
async def test_a_name_that_leads_inside_is_refused(addresses: list[str]) -> None:
    with pytest.raises(EndpointRefused):
        await ask(addresses)


async def test_a_name_that_does_not_resolve_is_tried_again_later() -> None:
    with pytest.raises(EndpointUnavailable):
        await ask(OSError())
