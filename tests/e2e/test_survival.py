"""Kill -9 of every role at random while messages flow: what was positively acknowledged has one case and one decision.

The sender keeps its own ledger, as a partner would: it repeats a message, byte for byte, until it gets a positive
answer, and then expects it to be done exactly once. GATEWAY_SURVIVAL_KILLS and GATEWAY_SURVIVAL_MESSAGES lengthen it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from gateway import samples
from gateway.cli.send import core_answer, mllp_exchange
from gateway.core.errors import DeliveryError
from gateway.security.tokens import Tokens
from tests.e2e.running import Gateway, wait_for
from tests.e2e.test_protocols import PAS, rows

MESSAGES = int(os.environ.get("GATEWAY_SURVIVAL_MESSAGES", "500"))
KILLS = int(os.environ.get("GATEWAY_SURVIVAL_KILLS", "50"))
SECONDS = float(os.environ.get("GATEWAY_SURVIVAL_SECONDS", "240"))
SHARES = {"pas": 0.3, "hl7": 0.4, "core": 0.2, "x12": 0.1}


@dataclass
class SenderLedger:
    """What a sender knows: which traces got a positive answer, and how often it had to repeat."""

    acknowledged: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in SHARES})
    repeats: int = 0


async def until_positive(ledger: SenderLedger, kind: str, trace: str, attempt: object) -> None:
    """Repeat the same bytes until the answer is positive."""
    assert callable(attempt)
    while True:
        with contextlib.suppress(httpx.HTTPError, DeliveryError, OSError, TimeoutError):
            if await attempt():
                ledger.acknowledged[kind].append(trace)
                return
        ledger.repeats += 1
        await asyncio.sleep(random.uniform(0.2, 1.0))


async def feed(gateway: Gateway, ledger: SenderLedger, client: httpx.AsyncClient, kind: str, count: int) -> None:
    for _ in range(count):
        now = datetime.now(UTC)
        if kind == "pas":
            sample = samples.pas_submit("X1001", now)

            async def pas(data: bytes = sample.data) -> bool:
                return (await client.post(gateway.http + PAS, content=data, headers=gateway.headers)).status_code == 200

            await until_positive(ledger, kind, sample.trace, pas)
        elif kind == "hl7":
            sample = samples.adt_a01(now)

            async def hl7(data: bytes = sample.data) -> bool:
                return "MSA|AA" in await mllp_exchange(gateway.mllp, data, seconds=10)

            await until_positive(ledger, kind, sample.trace, hl7)
        elif kind == "core":
            sample = samples.core_270(now)

            async def core(data: bytes = sample.data) -> bool:
                return (await core_answer(gateway.http, data)).error_code == "Success"

            await until_positive(ledger, kind, sample.trace, core)
        else:
            sample = samples.request_278("X1001", now)
            name = f"{sample.trace}.x12"
            (gateway.drop / "inbound" / f".{name}").write_bytes(sample.data)
            (gateway.drop / "inbound" / f".{name}").rename(gateway.drop / "inbound" / name)
            ledger.acknowledged["x12"].append(sample.trace)
            await asyncio.sleep(0.5)


async def kill(gateway: Gateway, stop: asyncio.Event) -> int:
    """Kill -9 one role after another, at random."""
    done, end = 0, time.monotonic() + SECONDS
    while done < KILLS and time.monotonic() < end:
        await asyncio.sleep(random.uniform(0.5, 2.5))
        alive = list(gateway.pids().values())
        if alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(alive), signal.SIGKILL)
                done += 1
    stop.set()
    return done


async def storm(gateway: Gateway, ledger: SenderLedger) -> int:
    stop = asyncio.Event()
    killer = asyncio.create_task(kill(gateway, stop))
    async with httpx.AsyncClient(timeout=20) as client:
        feeders = [
            feed(gateway, ledger, client, kind, int(MESSAGES * share) // lanes)
            for kind, share, lanes in ((kind, share, 1 if kind == "x12" else 5) for kind, share in SHARES.items())
            for _ in range(lanes)
        ]
        await asyncio.gather(*feeders)
    return await killer


@pytest.mark.timeout(900)
def test_every_acknowledged_message_is_done_exactly_once(gateway: Gateway) -> None:
    ledger = SenderLedger()
    killed = asyncio.run(storm(gateway, ledger))
    wait_for("every role is back", 120, lambda: all(gateway.is_ready(role) for role in gateway.pids()))
    tokens = Tokens.load(f"file:{Path(gateway.state) / 'secrets' / 'token.key'}")
    wanted = {
        tokens("demo", "trace", (trace,)): trace
        for kind in ("pas", "core", "x12")
        for trace in ledger.acknowledged[kind]
    }
    statement = (
        "SELECT k.token, count(DISTINCT k.case_id) AS cases, "
        "count(*) FILTER (WHERE e.event_type = 'DecisionMade') AS decisions, "
        "count(DISTINCT e.sealed) FILTER (WHERE e.event_type = 'DecisionMade') AS contents "
        "FROM workflow.case_keys k LEFT JOIN workflow.workflow_events e ON e.workflow_id = k.case_id "
        "WHERE k.kind = 'trace' AND k.token = ANY ($1::text[]) GROUP BY k.token"
    )

    def settled() -> bool:
        found = rows(gateway, statement, list(wanted))
        return len(found) == len(wanted) and all(row["decisions"] for row in found)

    wait_for("every acknowledged message has its case and its decision", 180, settled)
    found = {str(row["token"]): row for row in rows(gateway, statement, list(wanted))}
    assert {wanted[token] for token, row in found.items() if row["cases"] != 1} == set()
    assert {wanted[token] for token, row in found.items() if row["decisions"] != 1 or row["contents"] != 1} == set()
    wait_for("every 278 is answered", 120, lambda: _answered(gateway, ledger.acknowledged["x12"]))
    # The journal has a consumer group of its own: a killed member's partitions wait for its session to end.
    admissions = "SELECT DISTINCT dedupe_key FROM workflow.message_journal WHERE type = 'clinical.adt'"
    sent = len(set(ledger.acknowledged["hl7"]))
    wait_for("every admission is journaled", 120, lambda: len(rows(gateway, admissions)) >= sent)
    assert killed >= KILLS * 0.8, f"only {killed} kills: the roles came back too slowly"


def _answered(gateway: Gateway, traces: list[str]) -> bool:
    texts = [path.read_text("latin-1") for path in (gateway.drop / "outbound").iterdir() if path.suffix == ".x12"]
    responses = [text for text in texts if "ST*278*" in text]
    return all(sum(f"TRN*2*{trace}*" in text for text in responses) == 1 for trace in traces)
