"""`gateway doctor`: what works on this machine and in this gateway, and what to do about what does not."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.app import hl7
from gateway.app.policies import policies
from gateway.core.errors import ConfigurationError, GatewayError
from gateway.core.settings import Settings, read_settings
from gateway.core.topics import parse
from gateway.infra import topics_admin
from gateway.infra.postgres import SYSTEM, Database
from gateway.partners import load as load_partners
from gateway.stack import addresses_of
from gateway.stack.cache import cache_folder
from gateway.stack.process import read_json
from gateway.store.cases import SQL as CASES

NEEDED_BYTES = 2 << 30
"""Free disk for the servers' programs and a little data."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: fine or not, and what to do."""

    name: str
    fine: bool
    told: str


def doctor(
    state: Annotated[Path, typer.Option(envvar="GATEWAY_STATE", help="Folder of all state.")] = Path(".gateway"),
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Check the machine, the configuration and, where one runs, the gateway. Exit code 1 when something is wrong.

    Example:  gateway doctor
    """
    findings = [*machine(state), *configuration(), *asyncio.run(live(state))]
    if as_json:
        print(json.dumps([{"check": f.name, "fine": f.fine, "told": f.told} for f in findings]))
    else:
        table = Table(box=None, show_header=False)
        for finding in findings:
            table.add_row("[green]fine[/]" if finding.fine else "[red]wrong[/]", finding.name, finding.told)
        Console().print(table)
    if not all(finding.fine for finding in findings):
        raise typer.Exit(1)


def machine(state: Path) -> list[Finding]:
    """Python, platform, disk."""
    version = sys.version.split()[0]
    system = f"{platform.system()} {platform.machine()}"
    served = platform.system() == "Linux" and platform.machine() in ("x86_64", "aarch64")
    free = shutil.disk_usage(_existing(state)).free
    cache = cache_folder(None)
    writable = os.access(_existing(cache), os.W_OK)
    return [
        Finding("Python", sys.version_info >= (3, 11), f"{version}; 3.11 or newer is needed"),
        Finding("platform", served, f"{system}; the embedded servers come for Linux on x86_64 and aarch64"),
        Finding("disk", free > NEEDED_BYTES, f"{free >> 30} GiB free below {state}; 2 are needed"),
        Finding("cache", writable, f"{cache} {'can' if writable else 'cannot'} be written"),
    ]


def _existing(path: Path) -> Path:
    """The nearest folder above that exists."""
    resolved = path.expanduser().resolve()
    return next(folder for folder in (resolved, *resolved.parents) if folder.exists())


def configuration() -> list[Finding]:
    """Settings, partners, rules and topics can be read."""
    found = []
    checks: list[tuple[str, Callable[[Settings], object]]] = [
        ("partners", lambda settings: hl7.codec(load_partners(settings.partners))),
        ("rule sets", policies),
        ("topics", lambda settings: parse(settings.topics.read_text(encoding="utf-8"))),
    ]
    try:
        settings = read_settings()
    except ConfigurationError as error:
        return [Finding("settings", False, str(error))]
    for name, check in checks:
        try:
            check(settings)
            found.append(Finding(name, True, "read"))
        except (GatewayError, OSError) as error:
            found.append(Finding(name, False, str(error)))
    return found


async def live(state: Path) -> list[Finding]:
    """The servers and roles of a running gateway; nothing when none runs."""
    addresses = addresses_of(state)
    if addresses is None:
        return [Finding("gateway", True, f"none runs in {state}; start one with `gateway run --profile demo`")]
    found = [await _tried("PostgreSQL", lambda: _database(addresses.postgres))]
    found.append(await _tried("Kafka topics", lambda: _topics(addresses.kafka)))
    content = read_json(state / "run" / "gateway.json") or {}
    dead = [name for name, pid in (content.get("pids") or {}).items() if not _is_alive(int(pid))]
    found.append(Finding("roles", not dead, f"not running: {', '.join(dead)}; see {state}/logs" if dead else "all run"))
    return found


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


async def _tried(name: str, check: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(name, True, await check())
    except GatewayError as error:
        return Finding(name, False, str(error))


async def _database(postgres: str) -> str:
    database = Database(postgres, size=1)
    await database.open()
    try:
        async with database.transaction(SYSTEM) as connection:
            rows = await connection.fetch(CASES.counts)
    finally:
        await database.close()
    return f"answers; {sum(row['cases'] for row in rows)} cases"


async def _topics(kafka: str) -> str:
    wanted = parse(read_settings().topics.read_text(encoding="utf-8")).wanted("embedded")
    async with topics_admin.admin(kafka) as client:
        drift = await topics_admin.plan(client, wanted)
    return "as the catalogue says" if not drift else f"{len(drift)} differ: run `gateway topics plan`"
