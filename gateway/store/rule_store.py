"""Versions of rule sets: immutable contents, states moved by pure steps, one step of a rule set at a time.

The database holds the promises once more: a content has its hash, an author is not the approver, and the application
may change neither a content nor its author, nor remove a version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncpg import Range

from gateway.infra.postgres import SYSTEM, Connection, Database, Queries
from gateway.rules.documents import write_rule
from gateway.rules.lifecycle import Step, Version, same_content
from gateway.rules.model import Rule

SQL = Queries(Path(__file__).parent / "sql" / "rules.sql")


@dataclass(frozen=True, slots=True)
class PostgresRules:
    """The RuleStore port over PostgreSQL."""

    database: Database

    async def versions(self, tenant: str, ruleset: str) -> Sequence[Version]:
        """All versions of a rule set, by number."""
        async with self.database.transaction(tenant) as connection:
            return await _versions(connection, tenant, ruleset)

    async def apply(self, tenant: str, ruleset: str, step: Step) -> Sequence[Version]:
        """Apply a step to the versions as they stand and keep what it returns, all or nothing.

        Raises what the step raises, MessageConflict for another content under a known number.
        """
        async with self.database.transaction(tenant) as connection:
            await connection.execute(SQL.alone, tenant, ruleset)
            known = {each.version: each for each in await _versions(connection, tenant, ruleset)}
            changed = step(list(known.values()))
            for version in changed:
                same_content(known.get(version.version), version)
                await _keep(connection, tenant, version, new=version.version not in known)
            return changed

    async def of_release(self, tenant: str, release_hash: str) -> Version | None:
        """The version with a release hash, retired or not; None when the store never had it."""
        async with self.database.transaction(tenant) as connection:
            row = await connection.fetchrow(SQL.by_release, tenant, release_hash)
        return _version(row) if row is not None else None

    async def active(self, known: Iterable[str] = ()) -> Sequence[tuple[str, Version]]:
        """Every active version with its tenant; the content is empty where its hash is among `known`."""
        async with self.database.transaction(SYSTEM) as connection:
            rows = await connection.fetch(SQL.active, list(known))
        return [(row["tenant"], _version(row)) for row in rows]


async def _versions(connection: Connection, tenant: str, ruleset: str) -> list[Version]:
    return [_version(row) for row in await connection.fetch(SQL.versions, tenant, ruleset)]


async def _keep(connection: Connection, tenant: str, version: Version, *, new: bool) -> None:
    key = (tenant, version.ruleset, version.version)
    earlier = [Range(start, end) for start, end in version.earlier]
    if not new:
        moved = (version.state, version.approver, version.activated_at, version.retired_at, earlier)
        await connection.execute(SQL.move, *key, *moved)
        return
    await connection.execute(
        SQL.add,
        *key,
        version.content,
        version.hash,
        version.release_hash,
        version.state,
        version.author,
        version.approver,
        version.effective,
        version.expiration,
        version.activated_at,
        version.retired_at,
        earlier,
    )
    rows = [_readable(key, rule) for rule in version.rules().rules]
    await connection.executemany(SQL.add_rule, rows)


def _readable(key: tuple[str, str, int], rule: Rule) -> tuple[Any, ...]:
    document = write_rule(rule)
    told = (rule.name, rule.category, document["condition"], document["action"], rule.priority)
    return (*key, rule.id, rule.version, *told, rule.effective, rule.expiration)


def _version(row: Any) -> Version:
    return Version(
        ruleset=row["ruleset"],
        version=row["version"],
        content=row["content"],
        hash=row["hash"],
        release_hash=row["release_hash"],
        state=row["state"],
        author=row["author"],
        approver=row["approver"],
        effective=row["effective"],
        expiration=row["expiration"],
        activated_at=row["activated_at"],
        retired_at=row["retired_at"],
        earlier=tuple((span.lower, span.upper) for span in row["earlier"]),
    )
