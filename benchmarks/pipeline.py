"""Cases per second and the time of a synchronous answer through the whole path, beside the limits on the same servers.

    python benchmarks/pipeline.py [--seconds 15] [--rounds 3]

Whole path: `Claim/$submit` over HTTP → validate, map, produce acks=all → open the case in PostgreSQL → Temporal
update-with-start → rules → event → the PAS Response Bundle. Beside it, in turn, on the same Kafka and Temporal:

(a) a bare Temporal workflow with two activities, started and awaited from one process (the limit of durable work);
(b) a bare acknowledged Kafka produce of a record of the same size (the limit of "accepted means durable").

Beside each round of the whole path: what a case costs in processor time, role by role (benchmarks/processor.py).
Then the synchronous answer's p50 and p99 at half of the measured maximum rate. Ratios are what counts: the machine is
shared and noisy.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import processor
from gateway import samples
from tests.e2e.running import Gateway, running

LANES = 16
"""Callers that wait at once."""
CATCH_UP = 2.0
"""Seconds for journal and relay to do what the last cases left them: it belongs to the price of these."""
QUEUE = "bare"
TOPIC = "benchmark.v1"
"""Nobody consumes it: what a journal does with ten thousand records would be measured with the next round."""


@activity.defn
async def nothing(text: str) -> str:
    """An activity that does nothing."""
    return text


@workflow.defn
class Bare:
    """Two activities, one after the other."""

    @workflow.run
    async def run(self, text: str) -> str:
        """Run both."""
        for _ in range(2):
            text = await workflow.execute_activity(nothing, text, start_to_close_timeout=timedelta(seconds=30))
        return text


async def flat_out(
    seconds: float, once: Callable[[], Awaitable[None]], lanes: int = LANES
) -> tuple[float, list[float]]:
    """(completions per second, seconds of each) with `lanes` callers in a closed loop."""
    end, taken = time.monotonic() + seconds, []

    async def lane() -> None:
        while time.monotonic() < end:
            began = time.monotonic()
            await once()
            taken.append(time.monotonic() - began)

    began = time.monotonic()
    await asyncio.gather(*(lane() for _ in range(lanes)))
    return len(taken) / (time.monotonic() - began), taken


async def at_rate(rate: float, seconds: float, once: Callable[[], Awaitable[None]]) -> list[float]:
    """Seconds of each call, begun at a steady rate whatever the answers do (open loop)."""
    taken: list[float] = []

    async def one() -> None:
        began = time.monotonic()
        await once()
        taken.append(time.monotonic() - began)

    began, tasks = time.monotonic(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    return taken


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] * 1000


async def create_topic(kafka: str) -> None:
    """The topic of the bare produces."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    await admin.close()


async def measure(gateway: Gateway, seconds: float, rounds: int) -> None:
    """All rounds, then the answer at half rate."""
    bundle = samples.pas_submit("X1001", datetime.now(UTC)).data
    client = await Client.connect(gateway.temporal(), namespace="gateway")
    producer = AIOKafkaProducer(bootstrap_servers=gateway.kafka, acks="all", enable_idempotence=True)
    await producer.start()
    await create_topic(gateway.kafka)
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(timeout=60, limits=limits) as http:

        async def whole() -> None:
            data = samples.pas_submit("X1001", datetime.now(UTC)).data
            answer = await http.post(
                f"{gateway.http}/fhir/pas/2.2.1/Claim/$submit", content=data, headers=gateway.headers
            )
            if answer.status_code != 200 or b'"A1"' not in answer.content:
                raise RuntimeError(f"HTTP {answer.status_code}, or not decided in time")

        async def bare() -> None:
            await client.execute_workflow(Bare.run, "x", id=f"bare-{time.monotonic_ns()}", task_queue=QUEUE)

        async def produce() -> None:
            await producer.send_and_wait(TOPIC, bundle, key=b"bench")

        await flat_out(3, whole)
        found: dict[str, list[float]] = {"whole path": [], "bare workflow": [], "bare produce": []}
        waits: list[float] = []
        for number in range(rounds):
            before = processor.seconds(gateway)
            rate, taken = await flat_out(seconds, whole)
            await asyncio.sleep(CATCH_UP)
            print(processor.line(processor.per_case(before, processor.seconds(gateway), len(taken))))
            found["whole path"].append(rate)
            waits += taken
            async with Worker(
                client,
                task_queue=QUEUE,
                workflows=[Bare],
                activities=[nothing],
                workflow_runner=UnsandboxedWorkflowRunner(),
            ):
                found["bare workflow"].append((await flat_out(seconds, bare))[0])
            found["bare produce"].append((await flat_out(min(seconds, 5), produce))[0])
            print(f"round {number + 1}: " + ", ".join(f"{name} {rates[-1]:.1f}/s" for name, rates in found.items()))
        best = statistics.median(found["whole path"])
        half = await at_rate(best / 2, seconds, whole)
    await producer.stop()
    report(found, waits, half, best)


def report(found: dict[str, list[float]], waits: list[float], half: list[float], best: float) -> None:
    """Medians and ratios."""
    ratios = [a / b for a, b in zip(found["whole path"], found["bare workflow"], strict=True)]
    for name, rates in found.items():
        print(f"{name:14} median {statistics.median(rates):9.1f}/s   (min {min(rates):.1f}, max {max(rates):.1f})")
    print(f"whole path / bare two-activity workflow, round by round: median {statistics.median(ratios):.2f}")
    print(f"whole path / bare produce: {best / statistics.median(found['bare produce']):.3f}")
    full = f"p50 {percentile(waits, 0.5):.0f} ms, p99 {percentile(waits, 0.99):.0f} ms"
    print(f"answer at the maximum rate ({LANES} callers): {full}")
    calm = f"p50 {percentile(half, 0.5):.0f} ms, p99 {percentile(half, 0.99):.0f} ms"
    print(f"answer at half of it ({best / 2:.1f}/s): {calm}")


def main() -> None:
    """Start a gateway of its own, measure, stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="how often the three are measured in turn")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "state") as gateway:
        asyncio.run(measure(gateway, arguments.seconds, arguments.rounds))


if __name__ == "__main__":
    main()
