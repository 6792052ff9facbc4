"""`gateway stack`: the embedded default (Kafka, PostgreSQL, Temporal) of one state folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from gateway.core.errors import ConfigurationError, Unavailable
from gateway.stack import PARTS, Addresses, Part, Stack, StackSettings
from gateway.stack.process import read_json, running

app = typer.Typer(no_args_is_help=True, help="Kafka, PostgreSQL and Temporal as child processes, from packages alone.")

State = Annotated[Path, typer.Option("--state", envvar="GATEWAY_STATE", help="Folder of all state.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
STATE = Path(".gateway")
STOP_PATIENCE = 60.0
errors = Console(stderr=True)


def parts_of(names: list[str]) -> list[Part]:
    """The parts named on the command line; all when none is."""
    if unknown := sorted(set(names) - set(get_args(Part))):
        raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(PARTS)}")
    return [part for part in PARTS if part in names] or list(PARTS)


@app.command()
def up(
    parts: Annotated[list[str] | None, typer.Argument(help="kafka, postgres, temporal; all when left out.")] = None,
    state: State = STATE,
    kafka: Annotated[str | None, typer.Option(envvar="GATEWAY_KAFKA", help="Use this Kafka: host:port.")] = None,
    temporal: Annotated[
        str | None, typer.Option(envvar="GATEWAY_TEMPORAL", help="Use this Temporal: host:port.")
    ] = None,
    postgres: Annotated[str | None, typer.Option(envvar="GATEWAY_POSTGRES", help="Use this PostgreSQL: a URL.")] = None,
    kafka_port: Annotated[int | None, typer.Option(help="Port; default: a free one, kept.")] = None,
    postgres_port: Annotated[int | None, typer.Option(help="Port; default: a free one, kept.")] = None,
    temporal_port: Annotated[int | None, typer.Option(help="Port; default: a free one, kept.")] = None,
    ui_port: Annotated[int | None, typer.Option(help="Port of Temporal's web page.")] = None,
    packaged: Annotated[
        bool, typer.Option("--packaged", help="Do not use programs installed on this machine.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the servers and serve until Ctrl-C.

    Examples:  gateway stack up   ·   gateway stack up postgres --postgres-port 5433
    """
    chosen = parts_of(parts or [])
    try:
        settings = StackSettings(
            state=state,
            kafka=kafka,
            temporal=temporal,
            postgres=postgres,
            kafka_port=kafka_port,
            postgres_port=postgres_port,
            temporal_port=temporal_port,
            temporal_ui_port=ui_port,
            installed=not packaged,
        )
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"]) from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack = Stack(settings, chosen)
    try:
        with stack.up() as addresses:
            show(addresses, as_json=as_json)
            errors.print("[dim]Ctrl-C ends it; the data stays.[/dim]")
            while (dead := stack.dead()) is None:
                time.sleep(0.5)
            raise Unavailable(f"{dead} ended by itself: `gateway stack logs {dead}`")
    except KeyboardInterrupt:
        errors.print("stopped")


def show(addresses: Addresses, *, as_json: bool) -> None:
    """Print addresses, without the password."""
    found = {name: value for name, value in addresses.without_password.items() if value}
    if as_json:
        print(json.dumps(found), flush=True)
        return
    table = Table.grid(padding=(0, 2))
    for name, value in found.items():
        table.add_row(f"[bold]{name}[/bold]", value)
    Console().print(table)


def report(state: Path) -> dict[str, Any]:
    """What is known of a state folder: the owner, each server, the addresses."""
    folder = state.expanduser().resolve()
    owner = read_json(folder / "run" / "stack.json")
    servers = {}
    for part in PARTS:
        record = read_json(folder / "run" / f"{part}.json")
        alive = running(record)
        servers[part] = {"running": alive, "pid": record["pid"] if alive else None}
    up = running(owner)
    shown = Addresses(**owner["addresses"]).without_password if up else {}
    return {"state": str(folder), "running": up, "pid": owner.get("pid") if up else None} | {
        "servers": servers,
        "addresses": {name: value for name, value in shown.items() if value},
    }


@app.command()
def status(state: State = STATE, as_json: AsJson = False) -> None:
    """Show what runs and where. Exit code 1 when nothing does.

    Examples:  gateway stack status   ·   gateway stack status --json
    """
    found = report(state)
    if as_json:
        print(json.dumps(found, indent=1))
    elif found["running"]:
        table = Table("server", "process", "address", box=None, header_style="dim")
        for part, server in found["servers"].items():
            address = found["addresses"].get(part)
            table.add_row(part, str(server["pid"] or ("elsewhere" if address else "–")), address or "not asked for")
        if page := found["addresses"].get("temporal_ui"):
            table.add_row("temporal_ui", "", page)
        Console().print(table)
    else:
        errors.print(f"nothing runs in {found['state']}: `gateway stack up`", highlight=False)
    raise typer.Exit(0 if found["running"] else 1)


@app.command()
def stop(state: State = STATE) -> None:
    """End the servers, by ending the process that started them; data stays.

    Example:  gateway stack stop
    """
    folder = state.expanduser().resolve()
    owner = read_json(folder / "run" / "stack.json")
    if not running(owner):
        errors.print("nothing runs here")
        return
    os.kill(owner["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_PATIENCE
    while any(server["running"] for server in report(state)["servers"].values()) or running(owner):
        if time.monotonic() > deadline:
            raise Unavailable(f"process {owner['pid']} has not ended its servers within {STOP_PATIENCE:.0f} s")
        time.sleep(0.1)
    errors.print("stopped")


@app.command()
def reset(
    state: State = STATE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete all data, logs and secrets of a stopped stack.

    Example:  gateway stack reset --yes
    """
    folder = state.expanduser().resolve()
    found = report(state)
    if found["running"] or any(server["running"] for server in found["servers"].values()):
        raise ConfigurationError("it is running: `gateway stack stop` first")
    names = ("data", "logs", "secrets", "ports.json", "run") if (folder / "run" / "lock").exists() else ()
    ours = [folder / name for name in names if (folder / name).exists()]
    if not ours:
        errors.print("nothing to delete")
        return
    if not yes:
        typer.confirm(f"Delete {', '.join(path.name for path in ours)} in {folder}?", abort=True, err=True)
    for path in ours:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    errors.print("deleted")


@app.command()
def logs(
    part: Annotated[str, typer.Argument(help="kafka, postgres or temporal.")],
    state: State = STATE,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines from the end.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing what is added.")] = False,
) -> None:
    """Show what a server says.

    Example:  gateway stack logs kafka -n 100 -f
    """
    path = state.expanduser().resolve() / "logs" / f"{parts_of([part])[0]}.log"
    if not path.exists():
        raise ConfigurationError(f"no log of {part} in {path.parent}")
    with path.open(errors="replace") as file:
        print("".join(file.readlines()[-lines:]), end="")
        while follow:
            print(file.read(), end="", flush=True)
            time.sleep(0.3)
