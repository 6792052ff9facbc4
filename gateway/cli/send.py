"""`gateway send`: a client for each protocol, for trying a gateway out."""

from __future__ import annotations

import asyncio
import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from gateway import samples
from gateway.core.errors import ConfigurationError, EndpointUnavailable
from gateway.core.settings import host_port

app = typer.Typer(no_args_is_help=True, help="Send a message to a running gateway: pas, hl7, core, x12.")
errors = Console(stderr=True)

State = Annotated[Path, typer.Option("--state", envvar="GATEWAY_STATE", help="Folder of the gateway's state.")]
File = Annotated[Path | None, typer.Argument(help="File to send; a synthetic sample when left out.")]
STATE = Path(".gateway")


def addresses(state: Path) -> dict[str, str]:
    """The addresses of the gateway that runs with this state folder. Raises ConfigurationError."""
    try:
        found: dict[str, str] = json.loads((state / "run" / "gateway.json").read_text(encoding="utf-8"))["urls"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(f"no gateway is running in {state}: start `gateway run --profile demo`") from error
    return found


@app.command()
def pas(
    file: File = None,
    code: Annotated[str, typer.Option(help="Service code of the sample.")] = "X1001",
    state: State = STATE,
) -> None:
    """Submit a PAS request Bundle; prints the answer.   Example:  gateway send pas --code X1004

    The bearer token is read from the environment variable GATEWAY_TOKEN, else from the demonstration's state folder.
    """
    data = file.read_bytes() if file else samples.pas_submit(code, datetime.now(UTC)).data
    key = state / "secrets" / "bearer.token"
    bearer = os.environ.get("GATEWAY_TOKEN") or (key.read_text(encoding="ascii").strip() if key.exists() else "")
    answer = httpx.post(
        f"{addresses(state)['http']}/fhir/pas/2.2.1/Claim/$submit",
        content=data,
        headers={"authorization": f"Bearer {bearer}", "content-type": "application/fhir+json"},
        timeout=30,
    )
    errors.print(f"HTTP {answer.status_code}")
    print(json.dumps(answer.json(), indent=2))
    raise typer.Exit(0 if answer.is_success else 1)


@app.command()
def hl7(file: File = None, state: State = STATE) -> None:
    """Send an HL7 v2 message over MLLP; prints the acknowledgement.   Example:  gateway send hl7 admission.hl7"""
    data = file.read_bytes() if file else samples.adt_a01(datetime.now(UTC)).data
    answer = asyncio.run(mllp_exchange(addresses(state)["mllp"], data))
    print(answer.replace("\r", "\n"))
    raise typer.Exit(0 if re.search(r"^MSA\|[AC]A", answer, re.MULTILINE) else 1)


@app.command()
def core(file: File = None, state: State = STATE) -> None:
    """Send a CORE real-time envelope; prints ErrorCode and payload.   Example:  gateway send core"""
    data = file.read_bytes() if file else samples.core_270(datetime.now(UTC)).data
    answer = asyncio.run(core_answer(addresses(state)["http"], data))
    errors.print(answer.error_code)
    print(answer.payload)
    raise typer.Exit(0 if answer.error_code == "Success" else 1)


@app.command()
def x12(
    file: File = None,
    code: Annotated[str, typer.Option(help="Service code of the sample.")] = "X1001",
    state: State = STATE,
) -> None:
    """Leave an X12 file in the demonstration drop, as a clearinghouse would.   Example:  gateway send x12"""
    inbound = state / "drop" / "inbound"
    if not inbound.is_dir():
        raise ConfigurationError(f"no demonstration drop in {state}: start `gateway run --profile demo`")
    data = file.read_bytes() if file else samples.request_278(code, datetime.now(UTC)).data
    name = file.name if file else f"sample-{datetime.now(UTC):%Y%m%d%H%M%S%f}.x12"
    (inbound / f".{name}.tmp").write_bytes(data)
    (inbound / f".{name}.tmp").rename(inbound / name)
    errors.print(f"left {name}; answers appear in {state / 'drop' / 'outbound'}", soft_wrap=True)


async def mllp_exchange(address: str, data: bytes, *, seconds: float = 30.0) -> str:
    """Send one message over MLLP and return its acknowledgement. Raises EndpointUnavailable."""
    host, port = host_port(address)
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"\x0b" + data + b"\x1c\r")
            answer = await reader.readuntil(b"\x1c\r")
            writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise EndpointUnavailable(f"no acknowledgement from {address}") from error
    return answer.strip(b"\x0b\x1c\r").decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class CoreAnswer:
    """The parts of a CORE response that matter to a person."""

    error_code: str
    payload: str


async def core_answer(http: str, data: bytes) -> CoreAnswer:
    """Post a CORE real-time envelope. Raises httpx.HTTPError."""
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(
            f"{http}/core/realtime", content=data, headers={"content-type": "application/soap+xml; charset=utf-8"}
        )
    return CoreAnswer(
        _element(answer.text, "ErrorCode") or f"HTTP {answer.status_code}", _element(answer.text, "Payload")
    )


def _element(text: str, name: str) -> str:
    match = re.search(f"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return unescape(match.group(1)) if match else ""
