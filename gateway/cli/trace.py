"""`gateway trace`: the way of one message or case through all stages."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.core.errors import ConfigurationError
from gateway.infra.postgres import Database
from gateway.ops.trace import Step
from gateway.ops.trace import trace as trace_steps
from gateway.stack import addresses_of


def trace(
    identity: Annotated[str, typer.Argument(help="Event id, correlation id, case id, or workflow id (case:…).")],
    state: Annotated[Path, typer.Option(envvar="GATEWAY_STATE", help="Folder of all state.")] = Path(".gateway"),
    postgres: Annotated[str | None, typer.Option(envvar="GATEWAY_POSTGRES", help="PostgreSQL URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Show the way of one message: accepted, opened, decided, delivered, with times. Ids, codes and times only.

    Example:  gateway trace 01980d6e-…
    """
    steps = asyncio.run(_steps(postgres or running_postgres(state), identity))
    if not steps:
        raise ConfigurationError("nothing is known under this id (the journal may be some seconds behind)")
    if as_json:
        print(
            json.dumps(
                [{"at": s.at.isoformat(), "stage": s.stage, "what": s.what, "details": s.details} for s in steps]
            )
        )
        return
    table = Table("time", "stage", "what", "details", box=None)
    for step in steps:
        table.add_row(f"{step.at:%H:%M:%S.%f}"[:-3], step.stage, step.what, step.details)
    Console().print(table)


def running_postgres(state: Path) -> str:
    """The PostgreSQL of a running gateway. Raises ConfigurationError when none runs."""
    addresses = addresses_of(state)
    if addresses is None or not addresses.postgres:
        raise ConfigurationError(f"no gateway is running in {state}: start `gateway run`, or set GATEWAY_POSTGRES")
    return addresses.postgres


async def _steps(postgres: str, identity: str) -> list[Step]:
    database = Database(postgres, size=1)
    await database.open()
    try:
        return await trace_steps(database, identity)
    finally:
        await database.close()
