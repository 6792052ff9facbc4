"""The load of `mllp.py`: one message outstanding on each connection, its answer checked, for some seconds.

    python benchmarks/mllp_load.py PORT CONNECTIONS SECONDS        prints rate, percentiles and its own cost as JSON

It runs on the cores of what it measures, the same for every system, so it does as little as it can.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import lru_cache
from typing import Any

import uvloop

SIZE = 856


@lru_cache
def _template(length: int) -> tuple[bytes, bytes, bytes]:
    """An ADT^A01 of 856 bytes around a control id of this many characters and a patient's number of eight digits."""
    before = "MSH|^~\\&|EHR|HOSP|GW|PAYER|20260301101500||ADT^A01^ADT_A01|"
    between = "|P|2.5.1\rEVN||20260301101500\rPID|1||"
    after = (
        "^^^HOSP&1.2.3&ISO^MR||DOE^JANE^Q||19800215|F|||1 MAIN ST^^TOWN^IL^62701^USA^H||"
        "^PRN^PH^^^217^5550199\r"
        "PV1|1|I|W1^101^A^HOSP||||1234567893^REYES^MARIA^^^DR^^^NPI|||MED||||7|||||V1^^^HOSP^VN\r"
        "DG1|1||M54.16^Radiculopathy^I10||20260220|W\r"
        "IN1|1|PPO01^Gold^L|ACME01^^^NAIC|Acme Health Plan|PO BOX 9^^PEORIA^IL^61601|||GRP-42||||20260101|20261231\r"
        "NTE|1||"
    )
    fill = SIZE - len(before) - length - len(between) - 8 - len(after) - 1
    return before.encode(), between.encode(), f"{after}{'x' * fill}\r".encode()


def message(control_id: bytes, patient: int) -> bytes:
    """An ADT^A01 of 856 bytes. Cheap to make: the generator shares the two cores with what it measures."""
    before, between, after = _template(len(control_id))
    return b"%b%b%b%08d%b" % (before, control_id, between, patient, after)


class Caller(asyncio.Protocol):
    """One connection with one message outstanding."""

    def __init__(self, name: bytes, times: list[float], faults: list[str]) -> None:
        self.name, self.times, self.faults = name, times, faults
        self.number, self.sent, self.buffer, self.expected = 0, 0.0, b"", b""
        self.offset = int(name[-3:]) * 104_729
        self.done = asyncio.get_running_loop().create_future()
        self.stopping = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.next()

    def next(self) -> None:
        self.number += 1
        self.expected = b"MSA|AA|%b%07d" % (self.name, self.number)
        self.sent = time.perf_counter()
        payload = message(self.expected[7:], (self.number * 7_919 + self.offset) % 5_000)
        self.transport.write(b"\x0b%b\x1c\r" % payload)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self.buffer or not data.endswith(b"\x1c\r"):
            self.buffer = data = self.buffer + data
            if not data.endswith(b"\x1c\r"):
                return
            self.buffer = b""
        if self.expected not in data:
            self.faults.append(data[:200].decode("latin-1"))
        self.times.append(time.perf_counter() - self.sent)
        if self.stopping:
            self.transport.close()
        else:
            self.next()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio names it)
        if not self.stopping:
            self.faults.append("connection lost")
        self.done.set_result(None)


async def generate(port: int, connections: int, seconds: float) -> dict[str, Any]:
    """Load for some seconds; rate and percentiles of the answer time in milliseconds."""
    loop, times, faults = asyncio.get_running_loop(), [], []
    start = time.perf_counter()
    stamp = b"%07d" % (int(time.time() * 10) % 10**7)
    callers = [Caller(b"%b%03d" % (stamp, n), times, faults) for n in range(connections)]
    for caller in callers:
        await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", port)
    await asyncio.sleep(seconds)
    elapsed, count = time.perf_counter() - start, len(times)
    for caller in callers:
        caller.stopping = True
    await asyncio.wait_for(asyncio.gather(*(caller.done for caller in callers)), 20)
    times.sort()
    return {
        "rate": round(count / elapsed),
        "count": len(times),
        "load": round(time.process_time() / max(count, 1) * 1e6),
        "p50": round(times[len(times) // 2] * 1000, 2) if times else None,
        "p99": round(times[len(times) * 99 // 100] * 1000, 2) if times else None,
        "faults": len(faults),
        "fault": faults[:1],
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(generate(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))))
