"""`gateway fhir submit|inquire|subscribe` against a running edge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import structlog
from typer.testing import CliRunner

from adapters.fhir.wire import to_xml
from gateway.cli.fhir import app
from gateway.cli.send import app as send
from gateway.core.errors import EndpointRefused, EndpointUnavailable
from tests.adapters.fhir.edge.bundles import inquiry_bundle, request_bundle
from tests.adapters.fhir.edge.fakes import TOKEN, World, running


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with structlog.testing.capture_logs():  # the server's lines would mix with the command's in this process
        async with running() as started:
            yield started


async def call(
    world: World, *arguments: str, token: str = TOKEN, **environment: str
) -> tuple[int, str, BaseException | None]:
    options = ["--url", f"{world.url}/fhir/pas/2.2.1"]
    runner = CliRunner(env={"GATEWAY_TOKEN": token, **environment})
    result = await asyncio.to_thread(runner.invoke, app, [*arguments, *options])
    return result.exit_code, result.stdout, result.exception


async def test_submit_shows_the_decision_on_each_line(world: World, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_bytes(orjson.dumps(request_bundle("SVC-A1", "SVC-A3")))
    code, shown, _ = await call(world, "submit", str(file))
    assert code == 0
    assert "A1 approved" in shown
    assert "A3 denied" in shown
    assert "AUTH1" in shown
    code, printed, _ = await call(world, "submit", str(file), "--json")
    assert json.loads(printed)["resourceType"] == "Bundle"
    xml = tmp_path / "request.xml"
    xml.write_bytes(to_xml(request_bundle("SVC-A1")))
    assert (await call(world, "submit", str(xml)))[0] == 0


async def test_a_refusal_says_where(world: World, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_bytes(b'{"resourceType":"Bundle","type":"collection","entry":[]}')
    code, _, error = await call(world, "submit", str(file))
    assert code == 1
    assert isinstance(error, EndpointRefused)
    assert error.issues[0].location == "Bundle.entry"
    _, _, error = await call(world, "submit", str(file), token="wrong")
    assert "401" in str(error)
    assert (await call(world, "submit", "no-such-file"))[0] == 2
    world.url = "http://127.0.0.1:9"
    assert isinstance((await call(world, "submit", str(file)))[2], EndpointUnavailable)


async def test_inquire_tells_when_nothing_matches(world: World, tmp_path: Path) -> None:
    file = tmp_path / "inquiry.json"
    file.write_bytes(orjson.dumps(inquiry_bundle()))
    code, shown, _ = await call(world, "inquire", str(file))
    assert (code, shown.strip()) == (0, "No authorization matches.")


async def test_subscribe_waits_for_the_handshake(world: World) -> None:
    code, shown, _ = await call(world, "subscribe", "http://127.0.0.1:9/hook", "--organization", "1234567893")
    assert code == 1
    assert ": error" in shown
    code, _, error = await call(world, "subscribe", "http://127.0.0.1:9/hook", "--organization", "999")
    assert isinstance(error, EndpointRefused)


async def test_a_receivers_headers_come_from_the_environment(world: World) -> None:
    lines = "Authorization: Bearer receiver-token\n\nX-Own: 1\n"
    arguments = ("subscribe", "http://127.0.0.1:9/hook", "--organization", "1234567893", "--json")
    _, shown, _ = await call(world, *arguments, GATEWAY_HOOK_HEADERS=lines)
    assert json.loads(shown)["channel"]["header"] == ["Authorization: Bearer receiver-token", "X-Own: 1"]
    _, shown, _ = await call(world, *arguments)
    assert "header" not in json.loads(shown)["channel"]


def test_no_verb_takes_a_secret_as_an_argument() -> None:
    hook = ["http://127.0.0.1:9/hook", "--organization", "1"]
    assert CliRunner().invoke(app, ["subscribe", *hook, "--header", "Authorization: Bearer x"]).exit_code == 2
    for group, verb in ((app, "submit"), (app, "inquire"), (app, "subscribe"), (send, "pas")):
        result = CliRunner().invoke(group, [verb, "--token", "secret"])
        assert result.exit_code == 2
        assert "No such option" in result.output


async def test_what_went_wrong_says_what_to_do(world: World, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_bytes(b'{"resourceType":"Bundle","type":"collection","entry":[]}')
    assert "GATEWAY_TOKEN" in str((await call(world, "submit", str(file), token="wrong"))[2])
    code, shown, _ = await call(world, "submit", str(file), "--json")
    assert (code, json.loads(shown)["issue"][0]["expression"]) == (1, ["Bundle.entry"])
    _, shown, _ = await call(world, "subscribe", "http://127.0.0.1:9/hook", "--organization", "1234567893")
    assert "error, the endpoint does not answer" in shown
    world.url = "http://127.0.0.1:9"
    assert "gateway run" in str((await call(world, "submit", str(file)))[2])
    world.url = "127.0.0.1"
    assert (await call(world, "submit", str(file)))[0] == 2


@pytest.mark.parametrize("given", [["--client-id", "us"], ["--key", "k.pem"], ["--client-id", "us", "--key-id", "k1"]])
def test_half_a_client_is_wrong_usage(tmp_path: Path, given: list[str]) -> None:
    file = tmp_path / "request.json"
    file.write_bytes(b"{}")
    result = CliRunner().invoke(app, ["submit", str(file), *given])
    assert result.exit_code == 2
    assert "--key" in result.output
