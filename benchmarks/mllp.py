"""Acknowledged HL7 v2 messages a second over MLLP into Kafka (acks=all): ours beside Apache Camel and a bare limit.

    python benchmarks/mllp.py                         everything, on a Kafka of its own
    python benchmarks/mllp.py --kafka host:9092 --connections 1 10 --seconds 5 --processes 2

One generator sends an 856-byte ADT on each connection and waits for its answer before the next, for every system in
turn, on the same Kafka in the same run. What to look at are the ratios; absolute figures are the machine's.

    limit        a uvloop protocol that cuts frames, produces and answers, nothing else
    aiokafka     the same with aiokafka's producer
    bare         our listener: header, binding, duplicates, order, acknowledgement; the bytes go to Kafka as they came
    full         our listener with the real codec and accept stage: parse, FHIR, facts, ledger, envelope
    camel        camel-mllp → camel-kafka
    camel-hapi   the same with HAPI parsing and encoding
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from gateway.stack import Stack, StackSettings

HERE = Path(__file__).parent
OURS = ("limit", "aiokafka", "bare", "full")
SYSTEMS = (*OURS, "camel", "camel-hapi")
TOPIC = "benchmark.mllp"


async def serve(kind: str, port: int, kafka: str) -> None:
    """Serve one of ours until killed."""
    from aiokafka import AIOKafkaProducer

    from gateway.infra.kafka import BATCH_BYTES, KafkaPublisher

    publisher = KafkaPublisher(kafka)
    if kind == "aiokafka":
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES
        )
        await producer.start()
        await _serve_limit(lambda payload: producer.send_and_wait(TOPIC, payload), port)
        return
    await publisher.open()
    if kind == "limit":
        await _serve_limit(lambda payload: publisher.publish(TOPIC, key="", headers={}, value=payload), port)
    await _serve_listener(kind, publisher, port)


async def create_topics(kafka: str) -> None:
    """The topics written to. One partition each: keys spread ours over partitions and Camel's not, and each partition
    of a request costs, so more of them would measure the keys."""
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic
    from aiokafka.errors import TopicAlreadyExistsError

    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    for name in (TOPIC, "intake.clinical.v1", "intake.parked.v1"):
        try:
            await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
        except TopicAlreadyExistsError:
            continue
    await admin.close()


async def _serve_limit(publish: Callable[[bytes], Awaitable[object]], port: int) -> None:
    class Bare(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.buffer = transport, b""

        def data_received(self, data: bytes) -> None:
            self.buffer += data
            if self.buffer.endswith(b"\x1c\r"):
                payload, self.buffer = self.buffer[1:-2], b""
                asyncio.get_running_loop().create_task(self.produce(payload))

        async def produce(self, payload: bytes) -> None:
            await publish(payload)
            control_id = payload.split(b"|", 10)[9]
            self.transport.write(
                b"\x0bMSH|^~\\&|GW|PAYER|EHR|HOSP|1||ACK|1|P|2.5.1\rMSA|AA|" + control_id + b"\r\x1c\r"
            )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Bare, "127.0.0.1", port, reuse_port=True)
    await server.serve_forever()


async def _serve_listener(kind: str, publisher: Any, port: int) -> None:
    from adapters.hl7.inbound import Listener
    from adapters.hl7.settings import ListenerSettings
    from gateway.roles.process import spare_collector

    numbers = itertools.count(1)
    settings = ListenerSettings(
        name="main",
        tenant="benchmark",
        port=port,
        reuse_port=True,
        partners=({"name": "hosp", "applications": ("EHR|HOSP",)},),  # type: ignore[arg-type]
    )
    codec, accept = _full(publisher) if kind == "full" else _bare(publisher)
    listener = Listener(settings, codec=codec, accept=accept, clock=_now, identify=lambda: f"A{next(numbers)}")
    async with listener:
        spare_collector()  # as each role of the gateway does
        await asyncio.get_running_loop().create_future()


def _full(publisher: Any) -> tuple[Any, Any]:
    """The real codec and accept stage; sealing is off, as in the demo profile."""
    from gateway.registry import PARKED, TOPICS
    from gateway.security.cipher import IdentityCipher
    from gateway.security.tokens import Tokens
    from gateway.stages.accept import AcceptStage
    from mappings.hl7_codec import Hl7Codec

    stage = AcceptStage(
        publisher=publisher,
        blobs=None,  # type: ignore[arg-type]  # no message here is large enough
        cipher=IdentityCipher(),
        token=Tokens(b"benchmark-benchmark-benchmark-key"),
        routes=TOPICS,
        parked_topic=PARKED,
    )
    return Hl7Codec(), stage


def _bare(publisher: Any) -> tuple[Any, Any]:
    """No mapping: the bytes as the value; everything the listener itself does."""
    from adapters.hl7.wire import read_header
    from adapters.hl7.wire.acknowledgement import acknowledge
    from gateway.core.envelope import Intake
    from gateway.core.ports import Reading

    class Codec:
        def read(self, raw: Any, reception: Any) -> Reading:
            header = read_header(raw.data)
            intake = Intake(
                type="clinical.adt",
                format="hl7v2",
                natural_key=(header.get(10),),
                case_key=(),
                ordering_key=(),
                raw=raw,
            )
            at = reception.received_at
            return Reading(
                intakes=(intake,),
                answer=lambda error: acknowledge(header, error, identify=lambda: "A1", at=at).together(),
            )

    async def accept(intake: Any, _reception: Any) -> Any:
        return await publisher.publish(TOPIC, key="", headers={}, value=intake.raw.data)

    return Codec(), accept


def _now() -> datetime:
    return datetime.now(UTC)


def free_port() -> int:
    """A port nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def camel_libraries() -> Path:
    """Camel's jars by Maven, once, in the user's cache folder."""
    folder = Path.home() / ".cache" / "authorization-gateway" / "camel-mllp"
    if not (folder / "libs").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "camel_mllp" / "pom.xml", folder)
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "libs"


@contextmanager
def running(system: str, kafka: str, processes: int) -> Iterator[tuple[int, list[int]]]:
    """One system on a free port: the port, and the ids of its processes."""
    port = free_port()
    if system in OURS:
        program = [sys.executable, __file__, "--serve", system, "--port", str(port), "--kafka", kafka]
        commands = [program] * processes
    else:
        libraries = f"{camel_libraries()}/*"
        kind = "parse" if system == "camel-hapi" else "plain"
        source = str(HERE / "camel_mllp" / "CamelMllp.java")
        commands = [["java", "-Xmx512m", "-cp", libraries, source, str(port), kafka, TOPIC, kind]]
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        started = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
        try:
            _await(port, started[0])
            yield port, [process.pid for process in started]
        finally:
            for process in started:
                process.kill()
            for process in started:
                process.wait()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit("a system ended before it served")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.1)
        else:
            time.sleep(1.5)  # the other processes of a shared port
            return
    raise SystemExit("a system did not serve within a minute")


def cpu(process: int) -> float:
    """Seconds of processor time a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def brokers_of(parent: int) -> list[int]:
    """Processes below this one that are Kafka; none when `--kafka` names one of others."""
    found, ours = [], {parent}
    for folder in sorted((path for path in Path("/proc").iterdir() if path.name.isdigit()), key=lambda p: int(p.name)):
        try:
            above = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if above in ours:
                ours.add(int(folder.name))
                if b"kafka.Kafka" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        except OSError:
            continue
    return found


def load(port: int, connections: int, seconds: float) -> dict[str, Any]:
    """Run the generator."""
    command = [
        sys.executable,
        str(HERE / "mllp_load.py"),
        str(port),
        str(connections),
        str(seconds),
    ]
    result = subprocess.run(command, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def compare(kafka: str, options: argparse.Namespace) -> dict[str, dict[int, dict[str, Any]]]:
    """Measure each system at each number of connections: the median of some rounds, in which all take turns, so that
    what else the machine does meets all alike. Those whose turn it is not are idle."""
    results: dict[str, dict[int, dict[str, Any]]] = {system: {} for system in options.systems}
    brokers = brokers_of(os.getpid())
    with ExitStack() as stack:
        served = {system: stack.enter_context(running(system, kafka, options.processes)) for system in options.systems}
        for port, _ in served.values():
            load(port, 8, options.warm)
        for connections in options.connections:
            rounds: dict[str, list[dict[str, Any]]] = {system: [] for system in served}
            for _ in range(options.rounds):
                for system, (port, ids) in served.items():
                    rounds[system].append(measure(port, connections, options.seconds, ids, brokers))
            for system, found in rounds.items():
                results[system][connections] = middle = median(found)
                print(
                    f"{system:12} {connections:3} {middle['rate']:7}/s  p50 {middle['p50']} p99 {middle['p99']} ms  µs "
                    f"of processor time each: {middle['cpu']}, broker {middle['broker']}, load {middle['load']}; "
                    f"rounds {middle['rounds']}",
                    flush=True,
                )
                if middle["faults"]:
                    print(f"   {middle['faults']} faults, e.g. {middle['fault']}", flush=True)
    return results


def measure(port: int, connections: int, seconds: float, ids: list[int], brokers: list[int]) -> dict[str, Any]:
    """One round of one system: what the generator saw, and what each message cost."""
    before, broker_before = sum(map(cpu, ids)), sum(map(cpu, brokers))
    found = load(port, connections, seconds)
    found["cpu"] = round((sum(map(cpu, ids)) - before) / max(found["count"], 1) * 1e6)
    found["broker"] = round((sum(map(cpu, brokers)) - broker_before) / max(found["count"], 1) * 1e6)
    return found


def median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Each figure's median; all faults; the rates of all rounds."""
    names = ("rate", "p50", "p99", "cpu", "broker", "load")
    middle: dict[str, Any] = {name: statistics.median_low([found[name] or 0 for found in rounds]) for name in names}
    faults = [fault for found in rounds for fault in found["fault"]]
    total = sum(found["faults"] for found in rounds)
    return middle | {"faults": total, "fault": faults[:1], "rounds": [found["rate"] for found in rounds]}


def ratios(results: dict[str, dict[int, dict[str, Any]]]) -> None:
    """The comparison that matters."""
    for ours, other in (("bare", "camel"), ("full", "camel-hapi"), ("bare", "limit"), ("limit", "aiokafka")):
        if ours in results and other in results:
            for what, over in (("rate", False), ("cpu", True)):
                pairs = [(n, results[ours][n][what], results[other][n][what]) for n in results[ours]]
                told = ", ".join(
                    f"{n} connections {(b / max(a, 1) if over else a / max(b, 1)):.2f}" for n, a, b in pairs
                )
                print(f"{ours} / {other}, by {'processor time' if over else 'rate'}: {told}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", help="host:port; default: one of its own")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", type=float, default=4)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="of ours, sharing the port")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve, options.port, options.kafka))
    else:
        with ExitStack() as stack:
            kafka = options.kafka
            if not kafka:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                kafka = stack.enter_context(Stack(StackSettings(state=Path(folder)), ["kafka"]).up()).kafka
            uvloop.run(create_topics(kafka))
            results = compare(kafka, options)
        ratios(results)
        if options.json:
            options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
