"""Control numbers and stored answers on PostgreSQL: many workers, killed workers, a new process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from adapters.x12.inbound import Desk
from adapters.x12.outbound import render
from adapters.x12.settings import PartnerProfile
from adapters.x12.wire import guide
from gateway.infra.postgres import Database
from gateway.security.cipher import DerivedKeys, EnvelopeCipher
from gateway.store.x12_ledger import PostgresLedger, PostgresNumbers
from tests.adapters.x12.samples import NOW, claims, review_request
from tests.e2e.running import ROOT

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

CLINIC = PartnerProfile(name="clinic-1", sender="CLINIC01", receiver="PLAN01", usage="T")
CIPHER = EnvelopeCipher(DerivedKeys({"k1": b"1" * 32}, "k1"))
EACH = int(os.environ.get("GATEWAY_NUMBERS", "125"))
"""Interchanges per worker; 1000 is the long form."""

SENDER = """
import asyncio, sys
from gateway.infra.postgres import Database
from gateway.store.x12_ledger import PostgresNumbers

async def main():
    database = Database(sys.stdin.readline().strip(), size=1)
    await database.open()
    numbers = PostgresNumbers(database)
    while True:
        print(await numbers.allocate(sys.argv[1], "PLAN01", "CLINIC01", "interchange"), flush=True)

asyncio.run(main())
"""
"""Allocates for ever; what it prints is sent, what it allocated last may not be."""


def killed_sender(postgres: str, tenant: str) -> list[int]:
    """The numbers a process got before kill -9."""
    process = subprocess.Popen(
        [sys.executable, "-c", SENDER, tenant], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(postgres + "\n")
    process.stdin.flush()
    lines = [process.stdout.readline() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    lines += process.communicate(timeout=30)[0].splitlines()
    return [int(line) for line in lines if line.strip()]


async def test_eight_workers_never_send_one_number_twice(database: Database, tenant: str) -> None:
    async def worker() -> list[str]:
        numbers = PostgresNumbers(database)
        sent = []
        for _ in range(EACH):
            one = await render(guide("278_request"), review_request(), CLINIC, numbers, tenant=tenant, now=NOW)
            sent.append(one.idempotency_key)
        return sent

    sent = [key for keys in await asyncio.gather(*(worker() for _ in range(8))) for key in keys]
    assert len(set(sent)) == len(sent) == 8 * EACH


async def test_a_worker_killed_between_taking_and_sending_leaves_a_gap_and_no_repetition(
    postgres: str, database: Database, tenant: str
) -> None:
    used: list[int] = []
    for _ in range(3):
        used += await asyncio.to_thread(killed_sender, postgres, tenant)
        used.append(await PostgresNumbers(database).allocate(tenant, "PLAN01", "CLINIC01", "interchange"))
    assert len(set(used)) == len(used)
    assert used == sorted(used)


async def test_a_new_process_gives_the_stored_answers_again(postgres: str, database: Database, tenant: str) -> None:
    data = claims(2).encode()

    async def received(opened: Database) -> tuple[int, list[bytes]]:
        desk = Desk((CLINIC,), PostgresLedger(opened, CIPHER), PostgresNumbers(opened))
        verdict = await desk.judge(lambda: [data], tenant, NOW)
        published = sum(1 for _ in desk.accepted_units(lambda: [data], verdict))
        return published, [answer.data for answer in await desk.settle(lambda: [data], verdict, NOW)]

    published, answers = await received(database)
    assert (published, len(answers)) == (2, 2)
    again = Database(postgres, size=1)
    await again.open()
    try:
        assert await received(again) == (0, answers)
    finally:
        await again.close()
