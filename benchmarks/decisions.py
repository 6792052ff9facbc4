"""Rule evaluations a minute on one core with the decision record and the trace of every leaf kept in PostgreSQL.

    python benchmarks/decisions.py [--seconds 10] [--lanes 8] [--core 0]

The thirty-rule policy of tests/gateway/rules/synthetic.py decides made-up requests of which a quarter lacks facts. Each
decision is one transaction that appends one sealed event (facts, canonical record, truth of every leaf and rule) to the
event store, as the decide stage does, acknowledged after its commit is durable. This process and the PostgreSQL it
starts are held on one core (Linux). Counted are the rules evaluated; those the index leaves out are not. The floor is
100,000 a minute, and a decision's evaluation is to take less than 5 ms at the 99th percentile.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import secrets
import statistics
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.infra.postgres import Database
from gateway.rules.engine import Outcome, evaluate
from gateway.rules.release import Release, release
from gateway.security.cipher import DerivedKeys, EnvelopeCipher
from gateway.stack import Stack, StackSettings
from gateway.stack.progress import Silent
from gateway.store import events
from gateway.store.migrations import upgrade
from mappings.facts import catalogue
from tests.gateway.rules.synthetic import policy, request, without

FLOOR = 100_000
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
SIGN = {True: "t", False: "f", None: "u"}
REQUESTS = 500


def traced(outcome: Outcome) -> list[dict[str, object]]:
    """The truth of every leaf and rule, in the order the pinned release gives them."""
    return [
        {
            "sequence": line.sequence,
            "leaves": "".join(SIGN[found] for found in line.results),
            "rules": "".join(SIGN[found] for found in line.truths),
        }
        for line in outcome.trace
    ]


class Run:
    """One policy, many requests, one event store."""

    def __init__(self, database: Database, pinned: Release) -> None:
        dice = random.Random(3)
        self.requests = [without(dice, request(dice), dice.choice([0.0, 0.0, 0.0, 0.25])) for _ in range(REQUESTS)]
        self.database, self.pinned = database, pinned
        self.cipher = EnvelopeCipher(DerivedKeys({"k1": secrets.token_bytes(32)}, "k1"))
        self.rules, self.evaluating, self.whole = 0, list[float](), list[float]()

    async def one(self, number: int) -> None:
        """Decide and keep one request."""
        facts = self.requests[number % REQUESTS]
        began = time.perf_counter()
        outcome = evaluate(self.pinned, facts, now=NOW)
        kept = {"facts": facts, "decision": outcome.record.as_json(), "trace": traced(outcome)}
        decided = time.perf_counter()
        event = events.NewEvent(type="DecisionMade", data={"action": outcome.code}, sealed=kept)
        async with self.database.transaction("bench") as connection:
            await events.append(
                connection,
                self.cipher,
                tenant="bench",
                case_id=str(uuid.uuid4()),
                expected_version=0,
                events=[event],
                now=NOW,
            )
        self.whole.append(time.perf_counter() - began)
        self.evaluating.append(decided - began)
        self.rules += sum(len(line.truths) for line in outcome.trace)

    async def lane(self, first: int, end: float) -> None:
        """One request after the other."""
        while time.monotonic() < end:
            await self.one(first)
            first += 1


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000


async def measure(address: str, seconds: float, lanes: int) -> bool:
    """Print the figures; whether the floor is reached."""
    database = Database(address, size=lanes)
    await database.open()
    try:
        run = Run(database, release(policy(catalogue(), "staged"), catalogue()))
        for number in range(100):
            await run.one(number)
        run.rules, run.evaluating, run.whole = 0, [], []
        began = time.monotonic()
        await asyncio.gather(*(run.lane(lane * 61, began + seconds) for lane in range(lanes)))
        taken = time.monotonic() - began
        async with database.transaction("bench") as connection:
            stored = await connection.fetchval("SELECT count(*) FROM workflow.workflow_events")
    finally:
        await database.close()
    decisions, each_minute = len(run.whole), run.rules / taken * 60
    if stored != decisions + 100:
        raise SystemExit(f"{decisions + 100} decisions, but {stored} are stored")
    print(f"rule evaluations a minute   {each_minute:12,.0f}   (floor {FLOOR:,}: {each_minute / FLOOR:.1f} times)")
    print(f"decisions a minute          {decisions / taken * 60:12,.0f}   ({run.rules / decisions:.1f} rules each)")
    print(f"evaluation, ms              {statistics.median(run.evaluating) * 1000:8.3f} median", end="")
    print(f", {percentile(run.evaluating, 0.99):.3f} p99 (goal < 5)")
    print(f"with commit, ms             {statistics.median(run.whole) * 1000:8.3f} median", end="")
    print(f", {percentile(run.whole, 0.99):.3f} p99 with {lanes} at once")
    return each_minute >= FLOOR


def main() -> None:
    """Start PostgreSQL on the same core, measure, end it. Exit code 1 below the floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--lanes", type=int, default=8, help="decisions in flight at once")
    parser.add_argument("--core", type=int, default=0, help="the core to stay on; -1: all of them")
    given = parser.parse_args()
    if given.core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {given.core})
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(StackSettings(state=Path(folder)), {"postgres"}, Silent()).up() as addresses,
    ):
        upgrade(addresses.postgres)
        reached = asyncio.run(measure(addresses.postgres, given.seconds, given.lanes))
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
