"""`gateway rules publish | versions | rollback`: release a rule set into files or a running gateway, and go back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.rules_files import load, scenarios_of
from gateway.cli.trace import running_postgres
from gateway.core.errors import ConfigurationError
from gateway.infra.postgres import Database
from gateway.rules.lifecycle import Version, advance, draft, published, rolled_back
from gateway.rules.proving.scenarios import run_all
from gateway.rules.release import Release
from gateway.store.rule_store import PostgresRules

Given = TypeVar("Given")
Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
State = Annotated[Path, typer.Option(envvar="GATEWAY_STATE", help="Folder of all state.")]
Postgres = Annotated[str | None, typer.Option(envvar="GATEWAY_POSTGRES", help="PostgreSQL URL.")]
Tenant = Annotated[str, typer.Option(envvar="GATEWAY_TENANT", help="Whose rule set it is.")]
Name = Annotated[str, typer.Argument(help="The name under which definitions refer to it, e.g. prior-authorization.")]
STATE = Path(".gateway")


def publish(
    ruleset: Annotated[str, typer.Argument(help="A rule set folder or template.")],
    author: Annotated[str, typer.Option(help="Who wrote it.")],
    approver: Annotated[str, typer.Option(help="Who approves it: another person.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of releases, kept in git.")] = Path("releases"),
    store: Annotated[bool, typer.Option("--store", help="Make it active in the running gateway too.")] = False,
    name: Annotated[str, typer.Option(help="Under which name definitions refer to it; its id when absent.")] = "",
    supersede: Annotated[bool, typer.Option("--supersede", help="Decide days that an active version covers.")] = False,
    tenant: Tenant = "demo",
    state: State = STATE,
    postgres: Postgres = None,
    as_json: Json = False,
) -> None:
    """Release a rule set: its scenarios must pass, author and approver must differ, a version is written once.

    Writes <out>/<name>/<version>.json (the canonical bytes) and <version>.lock.json beside it; with --store the same
    bytes become the active version of the running gateway, which sees them within ten seconds.
    Example: gateway rules publish policies/imaging --author ann --approver bob --store --name prior-authorization
    """
    release = load(ruleset)
    _proven(release, ruleset)
    now = datetime.now(UTC)
    version = draft(release.ruleset, release.hash, author)
    if name:
        version = replace(version, ruleset=name)
    approved = advance(advance(version, "in_review", by=author, now=now), "approved", by=approver, now=now)
    target = out / version.ruleset / f"{version.version}.json"
    if target.exists() and target.read_bytes() != version.content:
        raise ConfigurationError("this version exists with another content: give it a new number", location=str(target))
    if store:
        step = published(version, approver=approver, now=now, supersede=supersede)
        _in_store(postgres or running_postgres(state), lambda rules: rules.apply(tenant, version.ruleset, step))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(version.content)
    lock = {
        "hash": version.hash,
        "release": release.hash,
        "author": author,
        "approver": approved.approver,
        "lock": release.lock,
    }
    target.with_suffix(".lock.json").write_text(json.dumps(lock, indent=1, sort_keys=True) + "\n")
    if as_json:
        _emit({"file": str(target), "active": store, **lock})
    else:
        typer.echo(f"{target}: {version.hash}" + (f", active for {tenant}" if store else ""))


def _proven(release: Release, name: str) -> None:
    results, _ = run_all(release, scenarios_of(name))
    failed = [result.scenario.name for result in results if result.differences]
    if failed or not results:
        why = f"scenario {failed[0]!r} fails" if failed else "no scenario"
        raise ConfigurationError(f"not released: {why}")


def versions(
    name: Name, tenant: Tenant = "demo", state: State = STATE, postgres: Postgres = None, as_json: Json = False
) -> None:
    """The versions of a rule set that a gateway keeps, with their states, people and days.

    Example: gateway rules versions prior-authorization
    """
    _show(_in_store(postgres or running_postgres(state), lambda rules: rules.versions(tenant, name)), as_json)


def rollback(
    name: Name,
    by: Annotated[str, typer.Option(help="Who decides it.")],
    tenant: Tenant = "demo",
    state: State = STATE,
    postgres: Postgres = None,
    as_json: Json = False,
) -> None:
    """Retire the newest active version, so that the one before it decides again.

    Example: gateway rules rollback prior-authorization --by bob
    """
    step = rolled_back(by=by, now=datetime.now(UTC))
    _show(_in_store(postgres or running_postgres(state), lambda rules: rules.apply(tenant, name, step)), as_json)


def _in_store(postgres: str, ask: Callable[[PostgresRules], Awaitable[Given]]) -> Given:
    async def asked() -> Given:
        database = Database(postgres, size=1)
        await database.open()
        try:
            return await ask(PostgresRules(database))
        finally:
            await database.close()

    return asyncio.run(asked())


def _show(found: Any, as_json: bool) -> None:
    rows = [_row(version) for version in found]
    if as_json:
        _emit(rows)
        return
    table = Table("version", "state", "days", "author", "approver", "active since", "release", box=None)
    for row in rows:
        days = f"{row['effective'] or '…'} to {row['expiration'] or '…'}"
        people = (row["author"], row["approver"], row["activatedAt"] or "-")
        table.add_row(str(row["version"]), row["state"], days, *people, row["release"])
    Console().print(table)


def _row(version: Version) -> dict[str, Any]:
    return {
        "ruleset": version.ruleset,
        "version": version.version,
        "state": version.state,
        "effective": version.effective.isoformat() if version.effective else None,
        "expiration": version.expiration.isoformat() if version.expiration else None,
        "author": version.author,
        "approver": version.approver,
        "activatedAt": version.activated_at.isoformat() if version.activated_at else None,
        "retiredAt": version.retired_at.isoformat() if version.retired_at else None,
        "hash": version.hash,
        "release": version.release_hash,
    }


def _emit(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2))


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to a group."""
    for verb in (publish, versions, rollback):
        app.command()(verb)
