"""The nine public metrics of CMS-0057-F (42 CFR 422.122(c), 431.80(c), 457.732(c)), counted from the event log.

The unit is the requested line: a request for three services has three determinations. Partial and modified approvals
are approvals; rejections (AAA), cancellations, contact-payer and not-required answers are no determinations. The year
is that of the determination, in UTC. Drugs are excluded (the event says so: `mappings/pas_metrics.py`).

They are published for each line of business (a contract, a state, an issuer), so they are counted by line. A line
without a legal clock (issuers of qualified health plans on the federal exchange) publishes the same nine; none of its
determinations is late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from gateway.infra.postgres import SYSTEM, Database, Queries

SQL = Queries(Path(__file__).parent / "sql" / "metrics.sql")
PREFIX = "cms-0057-f."
SHARES = {
    "standard-approved": ("standard_approved", "standard"),
    "standard-denied": ("standard_denied", "standard"),
    "standard-approved-after-appeal": ("standard_overturned", "standard"),
    "extended-and-approved": ("extended_approved", "determined"),
    "expedited-approved": ("expedited_approved", "expedited"),
    "expedited-denied": ("expedited_denied", "expedited"),
}
"""Metrics 2 to 7: name → (counted, of how many)."""
HOURS = ("standard-mean-hours", "standard-median-hours", "expedited-mean-hours", "expedited-median-hours")
"""Metrics 8 and 9: from receipt to determination."""
LATE = ("standard_late", "expedited_late")
"""Not published: determinations after the clock, extensions included, had run out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicMetrics:
    """One line of business's year."""

    tenant: str
    line: str
    """`all` where no lines of business are set, and for what belongs to none."""
    year: int
    services: tuple[str, ...]
    """Metric 1: the services an authorization was decided for (codes)."""
    counts: Mapping[str, int]
    figures: Mapping[str, float | None]
    """Metrics 2 to 9: percent, and hours; None where there is nothing to divide by."""


async def public_metrics(database: Database, year: int, tenant: str | None = None) -> list[PublicMetrics]:
    """All tenants' metrics of a year, or one tenant's, by line of business. Raises Unavailable."""
    begin, end = (datetime(each, 1, 1, tzinfo=UTC) for each in (year, year + 1))
    async with database.transaction(tenant or SYSTEM) as connection:
        return [_metrics(row, year) for row in await connection.fetch(SQL.public, begin, end, tenant)]


async def keep(database: Database, found: PublicMetrics) -> None:
    """Write what was published into `workflow.workflow_metrics`; nothing is overwritten. Raises Unavailable."""
    rows = [(name, value) for name, value in found.figures.items() if value is not None]
    dimensions = {"year": found.year, "line": found.line, **found.counts}
    async with database.transaction(found.tenant) as connection:
        for name, value in rows:
            await connection.execute(SQL.keep, found.tenant, PREFIX + name, round(value, 4), dimensions)


def _metrics(row: asyncpg.Record, year: int) -> PublicMetrics:
    counted = {name for pair in SHARES.values() for name in pair}
    counts = {name: int(row[name]) for name in sorted({*counted, *LATE})}
    shares = {
        name: 100.0 * counts[part] / counts[whole] if counts[whole] else None for name, (part, whole) in SHARES.items()
    }
    hours = {name: row[name.removesuffix("-hours").replace("-", "_")] for name in HOURS}
    return PublicMetrics(
        tenant=row["tenant"],
        line=row["line"],
        year=year,
        services=tuple(row["services"] or ()),
        counts=counts,
        figures=shares | hours,
    )
