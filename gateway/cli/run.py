"""`gateway run`: everything in one process tree, or one role in this process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gateway.core.settings import Settings, read_settings
from gateway.infra.processes import end_with_parent, stop_event
from gateway.infra.telemetry import configure_logs
from gateway.roles.node import Node, node
from gateway.roles.process import ROLES, run_role
from gateway.stack import StackSettings

errors = Console(stderr=True)


def run(
    role: Annotated[str | None, typer.Option(help=f"One role in this process: {', '.join(ROLES)}.")] = None,
    profile: Annotated[str | None, typer.Option(help="demo or production; default: the settings'.")] = None,
    http: Annotated[
        str | None, typer.Option(help="Address of the HTTP edge, HOST:PORT; default: 127.0.0.1:8080, or a free port.")
    ] = None,
    mllp: Annotated[
        str | None, typer.Option(help="The same for MLLP; default: 127.0.0.1:2575, or a free port.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(envvar="GATEWAY_STATE", help="Folder of all state; default: .gateway.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the addresses as JSON once everything serves.")
    ] = False,
) -> None:
    """Run the gateway: its servers, all roles, until Ctrl-C.

    Examples:  gateway run --profile demo   ·   gateway run --profile demo --http 127.0.0.1:8080
    """
    given = {"profile": profile, "http": http, "mllp": mllp, "state": state}
    settings = read_settings(**{name: value for name, value in given.items() if value is not None})
    if role is not None and role not in ROLES:
        raise typer.BadParameter(f"{role}: choose from {', '.join(ROLES)}", param_hint="--role")
    if role is not None:
        run_role(role, settings)
        return
    end_with_parent()
    configure_logs(settings.log_level)
    with node(settings, stack_settings(settings), _tell) as made:
        asyncio.run(serve(made, as_json=as_json))


def stack_settings(settings: Settings) -> StackSettings:
    """The embedded servers that are needed: those without an address."""
    return StackSettings(
        state=settings.state, kafka=settings.kafka, temporal=settings.temporal, postgres=settings.postgres
    )


async def serve(made: Node, *, as_json: bool = False) -> None:
    """Run the roles until told to stop."""
    stop = stop_event()
    running = asyncio.create_task(made.supervisor.run())
    await made.wait_ready(lambda _text: None)
    if as_json:
        print(json.dumps({**made.urls, "bearer": made.bearer}), flush=True)
    else:
        show(made)
    await stop.wait()
    errors.print("stopping …")
    made.supervisor.stop()
    await running


def show(made: Node) -> None:
    """The addresses, and in the demo profile the token, loudly."""
    console = Console()
    base = made.urls["http"]
    console.print(f"FHIR PAS   {base}/fhir/pas/2.2.1      FHIR R4  {base}/fhir/r4", highlight=False)
    console.print(f"CORE SOAP  {base}/core/realtime       MLLP     {made.urls['mllp']}", highlight=False)
    console.print(f"Temporal   {made.urls['temporal'] or '–'}", highlight=False)
    if made.drop_folder is not None:
        console.print(f"SFTP drop  {made.drop_folder}", highlight=False, soft_wrap=True)
    if made.bearer:
        console.print("[bold red]DEMO PROFILE: one static bearer token opens everything. Never with real data.[/]")
        console.print(f"bearer token {made.bearer}", highlight=False)
    console.print("Ctrl-C stops everything.")


def _tell(text: str) -> None:
    if errors.is_terminal:
        errors.print(f"[dim]{text}[/]")
