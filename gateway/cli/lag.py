"""`gateway lag`: how far each consumer group is behind, in records and in time, and whether that is a fault."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from gateway.cli.topics import FILE, STATE, AsJson, File, Kafka, State, kafka_address
from gateway.core.topics import Catalogue
from gateway.ops import contracts
from gateway.ops.lag import GroupLag, PartitionLag, Status, judge

if TYPE_CHECKING:
    from gateway.infra.kafka_lag import LagCollector

COLOURS = {"ok": "green", "warn": "yellow", "error": "red"}
WATCH_SECONDS = 2.0


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def expectations(file: Path) -> dict[str, tuple[str, ...]]:
    """The topics each group of the catalogue is meant to read; none where there is no catalogue."""
    if not file.exists():
        return {}
    catalogue: Catalogue = contracts.catalogue(file)
    return {group: catalogue.consumed_by(group) for group in catalogue.groups}


def duration(seconds: float | None) -> str:
    """Seconds for people."""
    if seconds is None:
        return "?"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds else "0 s"


def as_json(group: GroupLag) -> dict[str, Any]:
    """A group as JSON data."""
    parts = [
        {
            "topic": part.topic,
            "partition": part.partition,
            "begin": part.begin,
            "end": part.end,
            "committed": part.committed,
            "lag": part.lag,
            "lagSeconds": part.seconds,
            "lost": part.lost,
            "status": part.status.name,
        }
        for part in group.partitions
    ]
    return {
        "group": group.group,
        "state": group.state,
        "members": group.members,
        "status": group.status.name,
        "verdict": group.verdict,
        "abandoned": group.abandoned,
        "lag": group.total,
        "lagSeconds": group.seconds,
        "partitions": parts,
    }


def remark(group: GroupLag, part: PartitionLag) -> str:
    """What a person should notice about a partition."""
    notes = []
    if part.committed is None:
        notes.append("never committed")
    if part.lost:
        notes.append(f"{part.lost} records expired unread")
    if part.lag and group.abandoned:
        notes.append("no members")
    return ", ".join(notes)


def table_of(groups: list[GroupLag], *, details: bool) -> Table:
    """Groups by topic, or by partition with `details`."""
    table = Table("group", "topic", "behind", "in time", "status", "", box=None, header_style="dim", pad_edge=False)
    for group in groups:
        colour = COLOURS[group.verdict]
        head = "members unknown" if group.state == "Unknown" else f"{group.state}, {group.members} members"
        table.add_row(
            f"[bold]{group.group}[/bold]",
            f"[dim]{head}[/dim]",
            str(group.total),
            duration(group.seconds),
            f"[{colour}]{group.status.name}[/{colour}]",
            "[red]no members[/red]" if group.abandoned else "",
        )
        for part in group.partitions:
            if details or part.lag or part.status not in (Status.OK, Status.NEVER):
                name = f"{part.topic}/{part.partition}"
                behind = duration(part.seconds)
                table.add_row("", name, str(part.lag), behind, part.status.name, remark(group, part))
    return table


async def look(collecting: LagCollector, expected: dict[str, tuple[str, ...]], names: list[str]) -> list[GroupLag]:
    """The lag of all groups now."""
    return [judge(reading) for reading in await collecting.collect(expected, names)]


async def _once(address: str, expected: dict[str, tuple[str, ...]], names: list[str]) -> list[GroupLag]:
    from gateway.infra.kafka_lag import collector  # takes a second; the help text does not need it

    async with collector(address, now) as collecting:
        return await look(collecting, expected, names)


async def _watch(address: str, expected: dict[str, tuple[str, ...]], names: list[str], *, details: bool) -> None:
    from gateway.infra.kafka_lag import collector

    async with collector(address, now) as collecting:
        with Live(console=Console(), auto_refresh=False) as live:
            while True:
                groups = await look(collecting, expected, names)
                live.update(table_of(groups, details=details), refresh=True)
                await asyncio.sleep(WATCH_SECONDS)


def lag(
    group: Annotated[list[str] | None, typer.Option("--group", "-g", help="Only this group; may be repeated.")] = None,
    kafka: Kafka = None,
    state: State = STATE,
    file: File = FILE,
    details: Annotated[bool, typer.Option("--all", help="Show partitions without lag too.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep looking until Ctrl-C.")] = False,
    json_output: AsJson = False,
) -> None:
    """Show each consumer group's lag; exit code 1 when a group is in error or left alone with records to read.

    Examples:  gateway lag   ·   gateway lag --watch   ·   gateway lag --json -g gateway.starter
    """
    address, expected, names = kafka_address(kafka, state), expectations(file), group or []
    if watch:
        asyncio.run(_watch(address, expected, names, details=details))
        return
    groups = asyncio.run(_once(address, expected, names))
    if json_output:
        print(json.dumps([as_json(each) for each in groups], indent=1))
    else:
        Console().print(table_of(groups, details=details))
    raise typer.Exit(1 if any(each.verdict == "error" or each.abandoned for each in groups) else 0)
