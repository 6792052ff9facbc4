"""Mutual TLS towards a payer: our certificate is shown where the profile names one, and theirs is verified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.fhir.settings import PayerServer
from gateway.app.asking_fhir import server_client
from gateway.core.errors import EndpointUnavailable
from gateway.infra.http import HttpSettings, TlsSettings, serve
from gateway.security.clients import fingerprint
from tests.gateway.infra.certificates import CLIENT, SERVER, Authority


@pytest.fixture
async def payer(tmp_path: Path) -> AsyncIterator[tuple[str, Authority]]:
    """The address of a server that tells callers their certificate, and who signs certificates."""
    authority = Authority(tmp_path)
    path, _ = authority.issue("server", SERVER)

    async def told(request: Request) -> Response:
        shown = request.scope["extensions"]["tls"]["client_cert_chain"]
        return Response(fingerprint(shown[0]) if shown else "nobody")

    tls = TlsSettings(certificate=path, authorities=authority.path)
    listener = HttpSettings(address="127.0.0.1:0", tls=tls, grace_seconds=1)
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    site = Starlette(routes=[Route("/fhir/metadata", told)])
    task = asyncio.create_task(serve(site, listener, stop, ready=started.set_result))
    yield await asyncio.wait_for(started, 10), authority
    stop.set()
    await task


async def test_our_certificate_is_shown(payer: tuple[str, Authority], tmp_path: Path) -> None:
    url, authority = payer
    path, _ = authority.issue("us", CLIENT)
    given = {"base_url": f"{url}/fhir", "organization": "US", "authority": authority.path}
    mutual = PayerServer.model_validate(given | {"certificate": path, "certificate_key": path})
    answered = await server_client(mutual, "production").call("GET", "metadata")
    assert answered.data.decode() == fingerprint(path.read_text()[path.read_text().index("-----BEGIN CERT") :])
    plain = PayerServer.model_validate(given)
    assert (await server_client(plain, "production").call("GET", "metadata")).data == b"nobody"
    stranger = PayerServer.model_validate(given | {"authority": Authority(tmp_path, "other").path})
    with pytest.raises(EndpointUnavailable):
        await server_client(stranger, "production").call("GET", "metadata")
