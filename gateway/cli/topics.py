"""`gateway topics`: the topic catalogue and the cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console
from rich.table import Table

from gateway.core.errors import ConfigurationError
from gateway.core.topics import Catalogue, Change, Profile
from gateway.ops import contracts
from gateway.stack import addresses_of

app = typer.Typer(no_args_is_help=True, help="The topic catalogue (topics.yaml) and the cluster.")

File = Annotated[Path, typer.Option("--file", envvar="GATEWAY_TOPICS", help="The topic catalogue.")]
Kafka = Annotated[
    str | None,
    typer.Option("--kafka", envvar="GATEWAY_KAFKA", help="host:port of the cluster; default: the running stack's."),
]
State = Annotated[Path, typer.Option("--state", envvar="GATEWAY_STATE", help="State folder of the running stack.")]
ProfileName = Annotated[str, typer.Option("--profile", help="Sizes: embedded (one node) or cluster.")]
Repartition = Annotated[
    bool, typer.Option("--allow-repartition", help="Add partitions to keyed topics, although it moves keys.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
FILE, STATE = Path("topics.yaml"), Path(".gateway")
errors = Console(stderr=True)


def kafka_address(given: str | None, state: Path) -> str:
    """Where Kafka is: as given, else the running stack's. Raises ConfigurationError."""
    if given:
        return given
    running = addresses_of(state)
    if running is None or not running.kafka:
        raise ConfigurationError("no Kafka: give --kafka host:port, or start one with `gateway stack up`")
    return running.kafka


def profile_of(name: str) -> Profile:
    """A profile by its name on the command line."""
    for profile in get_args(Profile):
        if profile == name:
            found: Profile = profile
            return found
    raise typer.BadParameter(f"choose from {', '.join(get_args(Profile))}")


def show_changes(changes: Iterable[Change]) -> None:
    """The diff, one line for each change."""
    table = Table("topic", "setting", "is", "should be", "", box=None, header_style="dim")
    marks = {"create": "[green]+[/green]", "config": "[yellow]~[/yellow]"}
    for change in changes:
        mark = (
            f"[red]refused[/red] {change.refused}" if change.refused else marks.get(change.kind, "[yellow]~[/yellow]")
        )
        table.add_row(change.topic, change.setting, change.before or "–", change.after, mark)
    Console().print(table)


async def _plan(address: str, catalogue: Catalogue, profile: Profile, *, repartition: bool) -> tuple[Change, ...]:
    from gateway.infra import topics_admin  # takes a second; `topics show` does not need it

    async with topics_admin.admin(address) as client:
        return await topics_admin.plan(client, catalogue.wanted(profile), allow_repartition=repartition)


async def _apply(address: str, catalogue: Catalogue, profile: Profile, *, repartition: bool) -> tuple[Change, ...]:
    from gateway.infra import topics_admin

    async with topics_admin.admin(address) as client:
        return await topics_admin.apply(client, catalogue.wanted(profile), allow_repartition=repartition)


def _print(changes: tuple[Change, ...], *, as_json: bool, none: str) -> None:
    if as_json:
        print(json.dumps([asdict(change) for change in changes], indent=1))
    elif changes:
        show_changes(changes)
    else:
        errors.print(none)


@app.command()
def plan(
    file: File = FILE,
    kafka: Kafka = None,
    state: State = STATE,
    profile: ProfileName = "embedded",
    allow_repartition: Repartition = False,
    as_json: AsJson = False,
) -> None:
    """Show what `apply` would change.

    Example:  gateway topics plan --kafka kafka-1:9092 --profile cluster
    """
    address, catalogue = kafka_address(kafka, state), contracts.catalogue(file)
    found = asyncio.run(_plan(address, catalogue, profile_of(profile), repartition=allow_repartition))
    _print(found, as_json=as_json, none="nothing to change")


@app.command()
def apply(
    file: File = FILE,
    kafka: Kafka = None,
    state: State = STATE,
    profile: ProfileName = "embedded",
    allow_repartition: Repartition = False,
    as_json: AsJson = False,
) -> None:
    """Create missing topics and correct settings; nothing is changed when one change is refused.

    Example:  gateway topics apply
    """
    address, catalogue = kafka_address(kafka, state), contracts.catalogue(file)
    done = asyncio.run(_apply(address, catalogue, profile_of(profile), repartition=allow_repartition))
    _print(done, as_json=as_json, none="nothing to change")


@app.command()
def check(
    file: File = FILE,
    kafka: Kafka = None,
    state: State = STATE,
    profile: ProfileName = "embedded",
    as_json: AsJson = False,
) -> None:
    """Compare the cluster with the catalogue; exit code 1 when they differ.

    Example:  gateway topics check --json
    """
    address, catalogue = kafka_address(kafka, state), contracts.catalogue(file)
    found = asyncio.run(_plan(address, catalogue, profile_of(profile), repartition=False))
    _print(found, as_json=as_json, none="the cluster is as the catalogue wants it")
    raise typer.Exit(1 if found else 0)


@app.command()
def show(file: File = FILE, as_json: AsJson = False) -> None:
    """Show the catalogue.

    Example:  gateway topics show --json
    """
    catalogue = contracts.catalogue(file)
    if as_json:
        print(catalogue.model_dump_json(indent=1, by_alias=True))
        return
    table = Table(
        "topic", "key", "kept", "read by", "dead letters", "phi", box=None, header_style="dim", pad_edge=False
    )
    table.columns[0].no_wrap = True
    for name, topic in catalogue.topics.items():
        kept = f"{topic.retention.days} d"
        readers = ", ".join(group.removeprefix("gateway.") for group in topic.consumers) or "–"
        table.add_row(name, topic.key, kept, readers, topic.dead_letter or "–", "yes" if topic.phi else "no")
    Console().print(table)


@app.command()
def asyncapi(
    root: Annotated[Path, typer.Option("--root", help="Folder of topics.yaml, docs and schemas.")] = Path(),
    write: Annotated[bool, typer.Option("--write", help="Write docs/asyncapi.yaml and schemas/.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 when the files are not up to date.")] = False,
) -> None:
    """Print the AsyncAPI document, or write or check it together with the JSON Schemas.

    Example:  gateway topics asyncapi --check
    """
    if write:
        for path in contracts.write(root):
            errors.print(f"written: {path}", highlight=False)
    elif check:
        if outdated := contracts.stale(root):
            raise ConfigurationError(f"not up to date: {', '.join(outdated)}; `gateway topics asyncapi --write`")
        errors.print("up to date")
    else:
        print(contracts.generated(root)[contracts.DOCUMENT], end="")
