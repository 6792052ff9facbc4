"""`gateway rules replay`, and the recorded decisions that `gateway rules shadow --recorded` asks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from gateway.cli.rules_files import catalogue
from gateway.core.errors import ConfigurationError
from gateway.rules.engine import Reviewer
from gateway.rules.lifecycle import pinned
from gateway.rules.proving.shadow import Case
from gateway.rules.release import Release
from gateway.rules.replay import replay, stored

Given = TypeVar("Given")
State = Annotated[Path, typer.Option("--state", envvar="GATEWAY_STATE", help="Folder of the gateway's state.")]
Tenant = Annotated[str, typer.Option("--tenant", envvar="GATEWAY_TENANT", help="Whose cases they are.")]
STATE = Path(".gateway")
MAX_RECORDED = 100_000
"""Cases of one shadow run: their facts are held in memory."""


def replay_case(
    case: Annotated[str, typer.Argument(metavar="CASE", help="The case's id.")],
    tenant: Tenant = "demo",
    state: State = STATE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")] = False,
) -> None:
    """Make a case's decisions again from the stored release and facts, and compare them byte by byte.

    Exit code 1 when one differs. Decisions of people have no rules to replay. Example: gateway rules replay 01980d6e-…
    """
    rows = _with_gateway(state, lambda app: _replayed(app, tenant, case))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    for row in [] if as_json else rows:
        same = "the same bytes" if row["identical"] else "DIFFERS"
        typer.echo(f"version {row['version']}: {row['action']} by {row['ruleset']} as of {row['asOf']}: {same}")
    if not all(row["identical"] for row in rows):
        raise typer.Exit(1)


async def _replayed(app: Any, tenant: str, case: str) -> list[dict[str, Any]]:
    from gateway.store.recorded import of_case

    try:
        found = await of_case(app.database, app.cipher, tenant, case)
    except (LookupError, ValueError) as error:
        raise ConfigurationError("no such case") from error
    if not found:
        raise ConfigurationError("rules have decided nothing in this case")
    rows = []
    for each in found:
        record = each.record
        release = await release_of(app, tenant, record["release"])
        again = replay(release, record, each.facts).record.canonical()
        told = {"version": each.version, "ruleset": f"{record['ruleset']} v{record['version']}", "asOf": record["asOf"]}
        told |= {"action": record["action"], "release": record["release"], "identical": again == stored(record)}
        rows.append(told)
    return rows


async def release_of(app: Any, tenant: str, release_hash: str) -> Release:
    """The release with a hash: a version of the store, else one of the files. Raises ConfigurationError."""
    from gateway.app.policies import policies
    from gateway.store.rule_store import PostgresRules

    version = await PostgresRules(app.database).of_release(tenant, release_hash)
    if version is not None:
        return pinned(version, catalogue())
    for release in policies(app.settings).releases.values():
        if release.hash == release_hash:
            return release
    raise ConfigurationError(
        "neither the store nor the policy files have this release (GATEWAY_POLICIES names their folder)",
        location=release_hash,
    )


def recorded_cases(state: Path, tenant: str, ruleset: str, begin: date, limit: int) -> list[Case]:
    """Decisions of a rule set since a day as cases of a shadow run. Raises ConfigurationError when there are none."""
    if not 0 < limit <= MAX_RECORDED:
        raise ConfigurationError(f"1 to {MAX_RECORDED} cases are run")

    async def asked(app: Any) -> tuple[list[Any], int]:
        from gateway.store.recorded import since

        return await since(app.database, app.cipher, tenant, ruleset, datetime.combine(begin, time(), UTC), limit)

    found, unread = _with_gateway(state, asked)
    if unread:
        typer.echo(f"{unread} decisions are left out: their facts cannot be had from the stored events", err=True)
    if not found:
        raise ConfigurationError(f"no decision of {ruleset} is recorded for {tenant} since {begin}")
    return [_case(each) for each in found]


def _case(each: Any) -> Case:
    record, reviewer = each.record, each.record["reviewer"]
    return Case(
        id=f"{each.case_id} v{each.version}",
        facts=each.facts,
        as_of=date.fromisoformat(record["asOf"]),
        now=datetime.fromisoformat(record["decidedAt"]),
        reviewer=Reviewer(**reviewer) if reviewer else None,
    )


def _with_gateway(state: Path, ask: Callable[[Any], Awaitable[Given]]) -> Given:
    """Ask with the database and keys of the running gateway, opened for that long."""
    from gateway.app import App
    from gateway.cli.tasks import running_settings

    async def asked() -> Given:
        app = App(running_settings(state))
        async with app.serving(produces=False):
            return await ask(app)

    return asyncio.run(asked())


def register(app: typer.Typer) -> None:
    """Add the verb of this module to a group."""
    app.command("replay")(replay_case)
