"""`gateway metrics`: figures that must be published."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.trace import running_postgres
from gateway.infra.postgres import Database
from gateway.store.metrics import HOURS, SHARES, PublicMetrics, keep, public_metrics

app = typer.Typer(no_args_is_help=True, help="Figures that must be published, from the event log.")


@app.callback()
def _group() -> None:
    """Keep the commands below the group."""


@app.command()
def pas(
    year: Annotated[int | None, typer.Option(help="Calendar year of the determinations; default: last year.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep the figures in workflow.workflow_metrics too.")] = False,
    state: Annotated[Path, typer.Option(envvar="GATEWAY_STATE", help="Folder of all state.")] = Path(".gateway"),
    postgres: Annotated[str | None, typer.Option(envvar="GATEWAY_POSTGRES", help="PostgreSQL URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """The nine public prior authorization metrics of CMS-0057-F, due each year by 31 March for the year before.

    Examples:  gateway metrics pas --year 2026   ·   gateway metrics pas --json --save
    """
    wanted = year or datetime.now(UTC).year - 1
    found = asyncio.run(_found(postgres or running_postgres(state), wanted, tenant, save=save))
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=1))
        return
    for each in found:
        Console().print(_table(each))
    if not found:
        Console().print(f"No determinations in {wanted}.")


async def _found(postgres: str, year: int, tenant: str | None, *, save: bool) -> list[PublicMetrics]:
    database = Database(postgres, size=1)
    await database.open()
    try:
        found = await public_metrics(database, year, tenant)
        for each in found if save else ():
            await keep(database, each)
        return found
    finally:
        await database.close()


def _table(found: PublicMetrics) -> Table:
    table = Table("", "", "", title=f"{found.tenant} {found.line} {found.year}", box=None, show_header=False)
    table.add_row("1", "services decided on", ", ".join(found.services))
    for number, (name, (part, whole)) in enumerate(SHARES.items(), 2):
        share = found.figures[name]
        shown = "–" if share is None else f"{share:.1f} % ({found.counts[part]} of {found.counts[whole]})"
        table.add_row(str(number), name.replace("-", " "), shown)
    for place, name in zip("8899", HOURS, strict=True):
        hours = found.figures[name]
        table.add_row(place, name.removesuffix("-hours").replace("-", " "), "–" if hours is None else f"{hours:.1f} h")
    late = ", ".join(f"{found.counts[f'{name}_late']} {name}" for name in ("standard", "expedited"))
    table.add_row("", "after the clock had run out", late)
    return table
