"""Kill -9 in the middle of a large 837 from the drop: every claim is on Kafka, and counts once.

The SFTP role, a process of its own beside real Kafka, PostgreSQL and SFTP, is killed while a file is half published,
and started anew. GATEWAY_CLAIMS=20000 is the long form, GATEWAY_CLAIMS_KILLS how often it dies. All records of a claim
have one identity (`ce_id`), by which the journal keeps it once, and one key (`ce_dedupekey`), by which the inbox lets
it through once. A restart publishes the file from its start again (decision 0023), so a claim is on Kafka at most once
more per kill.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from gateway.core.settings import Settings
from gateway.infra.postgres import SYSTEM, Database
from gateway.infra.processes import READY, role_command
from gateway.roles.demo_drop import NAME, demo_drop
from gateway.roles.node import apply_topics, prepared
from gateway.security.tokens import Tokens
from gateway.stack import Addresses, Stack, StackSettings
from gateway.stack.ports import Ports
from gateway.stack.progress import Silent
from gateway.store.cases import SQL as CASES
from gateway.store.migrations import upgrade
from tests.e2e.running import ROOT, lifeline, wait_for
from tests.e2e.test_protocols import dropped_claims

CLAIMS = int(os.environ.get("GATEWAY_CLAIMS", "2000"))
KILLS = int(os.environ.get("GATEWAY_CLAIMS_KILLS", "2"))
TOPIC = "intake.claim.v1"
PATIENCE = 60.0 + CLAIMS * 0.03
"""Seconds; 400 claims a second are usual, a busy machine has a tenth of that."""


@dataclass
class Role:
    """The SFTP role as a process that can be killed and started again, and what it works on."""

    addresses: Addresses
    popen: dict[str, Any]
    drop: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(role_command("sftp"), cwd=ROOT, stdout=log, stderr=log, **self.popen)

    def kill(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


@pytest.fixture
def role(tmp_path: Path) -> Iterator[Role]:
    """Servers, the demonstration's drop, and the role, running."""
    state = tmp_path / "state"
    settings = Settings(profile="demo", state=state, http="127.0.0.1:0", mllp="127.0.0.1:0")
    with (
        Stack(StackSettings(state=state), {"kafka", "postgres"}, Silent()).up() as addresses,
        demo_drop(state, settings.tenant) as (drop, partners),
    ):
        upgrade(addresses.postgres)
        asyncio.run(apply_topics(settings, addresses.kafka))
        settings = settings.model_copy(update={"partners": partners})
        environment = prepared(settings, addresses, state, Ports(state / "ports.json"))
        with lifeline(environment | {READY: str(tmp_path), "PYTHONPATH": str(ROOT)}) as popen:
            made = Role(addresses, popen, drop, tmp_path / "sftp.log")
            made.start()
            yield made
            made.kill()


@dataclass
class Seen:
    """The headers of each record on the topic, in the order they were read."""

    headers: list[dict[str, str]] = field(default_factory=list)

    def keys(self) -> list[str]:
        return [one["ce_dedupekey"] for one in self.headers]


async def follow(role: Role, seen: Seen) -> None:
    """Read the topic until cancelled."""
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=role.addresses.kafka, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        while True:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                seen.headers += [{name: value.decode() for name, value in record.headers} for record in records]
    finally:
        await consumer.stop()


async def through_the_inbox(role: Role, seen: Seen) -> int:
    """How many records the starters' inbox lets through."""
    database = Database(role.addresses.postgres, size=1)
    await database.open()
    try:
        passed = 0
        async with database.transaction(SYSTEM) as connection:
            for one in seen.headers:
                row = (one["ce_dedupekey"], one["ce_bodysha256"], uuid.UUID(one["ce_id"]), None, datetime.now(UTC))
                known = await connection.fetchval(CASES.receive, one["ce_tenant"], one["ce_source"], *row)
                passed += known is not None
        return passed
    finally:
        await database.close()


async def until(what: str, follower: asyncio.Task[None], check: Callable[[], bool]) -> None:
    waiting = asyncio.create_task(asyncio.to_thread(wait_for, what, PATIENCE, check))
    await asyncio.wait({waiting, follower}, return_when=asyncio.FIRST_COMPLETED)
    if follower.done():
        follower.result()
    await waiting


async def storm(role: Role, text: str, name: str) -> tuple[Seen, float]:
    """Drop the file, kill the role at several points of its way, and wait for the end: (records, seconds)."""
    seen = Seen()
    follower = asyncio.create_task(follow(role, seen))
    (role.drop / "inbound" / f".{name}").write_text(text)
    began = time.monotonic()
    (role.drop / "inbound" / f".{name}").rename(role.drop / "inbound" / name)
    for number in range(1, KILLS + 1):
        share = CLAIMS * number // (KILLS + 1)
        await until(f"{share} claims are published", follower, lambda share=share: len(set(seen.keys())) >= share)
        role.kill()
        assert len(set(seen.keys())) < CLAIMS, "the file was done before the kill"
        role.start()
    archive = role.drop / "archive"
    await until("the file is archived", follower, lambda: any(path.name.startswith(name) for path in archive.iterdir()))
    seconds = time.monotonic() - began
    await until("every claim is read", follower, lambda: len(set(seen.keys())) >= CLAIMS)
    await asyncio.sleep(2)
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)
    return seen, seconds


@pytest.mark.timeout(900)
def test_every_claim_of_a_large_file_counts_once_after_kills(role: Role) -> None:
    text, prefix = dropped_claims(CLAIMS)
    number = text[90:99]
    seen, seconds = asyncio.run(storm(role, text, f"{prefix}.x12"))
    token = Tokens.load(role.popen["env"]["GATEWAY_TOKEN_KEY"])
    place = (
        f"sftp/{NAME}",
        "x12",
        "CLEARHOUSE",
        "GATEWAY",
        number,
        str(int(text.split("GS*")[1].split("*")[5])),
        "0001",
    )
    tenant = seen.headers[0]["ce_tenant"]
    wanted = {token(tenant, "dedupe", (*place, str(ordinal))) for ordinal in range(1, CLAIMS + 1)}
    assert set(seen.keys()) == wanted, "each claim by its own identity: nothing lost, nothing else"
    repeats = len(seen.keys()) - CLAIMS
    print(f"{CLAIMS} claims, {KILLS} kills: {repeats} repeated records, {seconds:.1f} s from the drop to the archive")
    assert max(Counter(seen.keys()).values()) <= KILLS + 1
    assert len({one["ce_id"] for one in seen.headers}) == CLAIMS, "a claim published again is the same event"
    assert asyncio.run(through_the_inbox(role, seen)) == CLAIMS
    answers = [path.read_text() for path in (role.drop / "outbound").glob("*.x12")]
    assert [("ST*999*" in answer, "ST*277*" in answer) for answer in sorted(answers, key=len)] == [
        (True, False),
        (False, True),
    ]
    assert max(answers, key=len).count(f"TRN*2*{prefix}") == CLAIMS
