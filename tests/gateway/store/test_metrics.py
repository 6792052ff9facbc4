"""The public metrics of CMS-0057-F, against counts made by hand."""

from __future__ import annotations

import statistics
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.infra.postgres import Database
from gateway.store import events
from gateway.store.metrics import PublicMetrics, keep, public_metrics
from tests.gateway.store.test_events import CIPHER

YEAR = 2028
"""A leap year, and one with daylight saving changes: hours are hours."""
BEGIN = datetime(YEAR, 2, 28, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Log:
    """Writes cases into the event log as the gateway does."""

    def __init__(self, database: Database, tenant: str) -> None:
        self.database, self.tenant = database, tenant
        self.case, self.version = "", 0

    async def opened(
        self, at: datetime, priority: str = "standard", kind: str = "authorization.request", **more: Any
    ) -> None:
        self.case, self.version = str(uuid.uuid4()), 0
        due = at + (72 if priority == "expedited" else 168) * HOUR
        times = {"receivedAt": at.isoformat(), "dueAt": due.isoformat()}
        await self.add("CaseOpened", at, type=kind, priority=priority, **times, **more)

    async def message(self, at: datetime, kind: str = "authorization.update") -> None:
        await self.add("MessageReceived", at, type=kind, receivedAt=at.isoformat())

    async def decided(self, at: datetime, *items: dict[str, Any], kind: str = "authorization.request") -> None:
        await self.add("DecisionMade", at, caseType=kind, items=[{"service": "G0154"} | item for item in items])

    async def add(self, name: str, at: datetime, **data: Any) -> None:
        async with self.database.transaction(self.tenant) as connection:
            self.version = await events.append(
                connection,
                CIPHER,
                tenant=self.tenant,
                case_id=self.case,
                expected_version=self.version,
                events=[events.NewEvent(type=name, data=data)],
                now=at,
            )


def line(action: str, sequence: int = 1, **more: Any) -> dict[str, Any]:
    return {"sequence": sequence, "action": action, **more}


@pytest.fixture
def log(database: Database, tenant: str) -> Log:
    return Log(database, tenant)


async def found(log: Log, year: int = YEAR) -> PublicMetrics:
    (metrics,) = await public_metrics(log.database, year, log.tenant)
    return metrics


async def test_two_hundred_cases_give_the_counts_made_by_hand(log: Log) -> None:
    hours: dict[str, list[float]] = {"standard": [], "expedited": []}
    expected = {"standard": {"approved": 0, "denied": 0}, "expedited": {"approved": 0, "denied": 0}}
    for number in range(200):
        priority = "expedited" if number % 5 == 0 else "standard"
        action = ("A1", "A2", "A3", "A6", "NA", "CT", "C")[number % 7]
        await log.opened(BEGIN + number * HOUR, priority)
        taken = 1 + number % 50
        if number % 3 == 0:
            await log.decided(BEGIN + (number + 0.5) * HOUR, line("A4"))
        await log.decided(BEGIN + (number + taken) * HOUR, line(action))
        if action in ("A1", "A2", "A3", "A6"):
            expected[priority]["denied" if action == "A3" else "approved"] += 1
            hours[priority].append(taken)
    metrics = await found(log)
    for priority, counts in expected.items():
        total = sum(counts.values())
        assert metrics.counts[priority] == total
        for result, count in counts.items():
            assert metrics.figures[f"{priority}-{result}"] == pytest.approx(100 * count / total)
        assert metrics.figures[f"{priority}-mean-hours"] == pytest.approx(statistics.mean(hours[priority]))
        assert metrics.figures[f"{priority}-median-hours"] == pytest.approx(statistics.median(hours[priority]))
    assert metrics.services == ("G0154",)


async def test_each_line_counts_once_with_its_first_determination(log: Log) -> None:
    await log.opened(BEGIN)
    await log.decided(BEGIN + 2 * HOUR, line("A1"), line("A4", 2))
    await log.message(BEGIN + 10 * HOUR)
    await log.decided(BEGIN + 13 * HOUR, line("A1"), line("A3", 2), line("A1", 3, service="E0601"))
    metrics = await found(log)
    assert (metrics.counts["standard_approved"], metrics.counts["standard_denied"]) == (2, 1)
    # Line 1 after 2 hours; line 2 was asked for at the beginning, line 3 by the update.
    assert metrics.figures["standard-mean-hours"] == pytest.approx((2 + 13 + 3) / 3)
    assert metrics.services == ("E0601", "G0154")


async def test_appeals_extensions_drugs_and_other_cases(log: Log) -> None:
    await log.opened(BEGIN)
    await log.decided(BEGIN + HOUR, line("A3"), line("A3", 2))
    await log.message(BEGIN + 5 * HOUR)
    await log.decided(BEGIN + 9 * HOUR, line("A1", appeal=True), line("A3", 2, appeal=True))
    await log.opened(BEGIN)
    await log.add("ClockExtended", BEGIN + HOUR, days=14)
    await log.decided(BEGIN + 300 * HOUR, line("A6"))
    await log.opened(BEGIN)
    await log.decided(BEGIN + HOUR, line("A1", drug=True, service="J1100"))
    await log.opened(BEGIN, kind="eligibility.request")
    await log.decided(BEGIN + HOUR, line("A1"), kind="eligibility.request")
    metrics = await found(log)
    assert metrics.counts["determined"] == 3
    assert metrics.figures["standard-denied"] == pytest.approx(200 / 3)
    assert metrics.figures["standard-approved-after-appeal"] == pytest.approx(100 / 3)
    assert metrics.figures["extended-and-approved"] == pytest.approx(100 / 3)
    assert metrics.figures["expedited-approved"] is None


async def test_late_is_what_came_after_the_clock_with_its_extensions(log: Log) -> None:
    week = 168 * HOUR
    for taken in (week, week + HOUR):  # the very end of the clock is in time
        await log.opened(BEGIN)
        await log.decided(BEGIN + taken, line("A1"))
    await log.opened(BEGIN, "expedited")
    await log.decided(BEGIN + 73 * HOUR, line("A3"))
    await log.opened(BEGIN)
    await log.add("ClockExtended", BEGIN + HOUR, days=14, dueAt=(BEGIN + 3 * week).isoformat())
    await log.decided(BEGIN + 3 * week, line("A1"))
    await log.opened(BEGIN)
    await log.add("ClockExtended", BEGIN + HOUR, days=7, dueAt=(BEGIN + 2 * week).isoformat())
    await log.decided(BEGIN + 2 * week + HOUR, line("A1"))
    metrics = await found(log)
    assert (metrics.counts["standard_late"], metrics.counts["expedited_late"]) == (2, 1)
    assert metrics.counts["extended_approved"] == 2


async def test_a_line_of_business_is_counted_apart_and_without_a_legal_clock_never_late(log: Log) -> None:
    await log.opened(BEGIN, line="qhp-ffe", legalClock=False)
    await log.decided(BEGIN + 400 * HOUR, line("A1"), line("A3", 2))
    await log.opened(BEGIN)
    await log.decided(BEGIN + 400 * HOUR, line("A1"))
    rest, exempt = await public_metrics(log.database, YEAR, log.tenant)
    assert (rest.line, exempt.line) == ("all", "qhp-ffe")
    assert (rest.counts["standard_late"], exempt.counts["standard_late"]) == (1, 0)
    # Its issuer publishes the nine metrics like every other: only the time for a decision is not prescribed.
    assert exempt.figures["standard-approved"] == pytest.approx(50)
    assert exempt.figures["standard-mean-hours"] == pytest.approx(400)


async def test_the_year_is_that_of_the_determination(log: Log) -> None:
    await log.opened(datetime(YEAR - 1, 12, 31, 23, tzinfo=UTC))
    await log.decided(datetime(YEAR, 1, 1, tzinfo=UTC), line("A1"))
    assert (await found(log)).counts["standard"] == 1
    assert await public_metrics(log.database, YEAR - 1, log.tenant) == []


async def test_what_was_published_is_kept(log: Log) -> None:
    await log.opened(BEGIN)
    await log.decided(BEGIN + HOUR, line("A1"))
    await keep(log.database, await found(log))
    statement = "SELECT metric_name, metric_value, dimensions FROM workflow.workflow_metrics WHERE tenant = $1"
    async with log.database.transaction(log.tenant) as connection:
        rows = {row["metric_name"]: row for row in await connection.fetch(statement, log.tenant)}
    assert rows["cms-0057-f.standard-approved"]["metric_value"] == 100
    assert rows["cms-0057-f.standard-mean-hours"]["dimensions"]["year"] == YEAR
    assert "cms-0057-f.expedited-approved" not in rows
