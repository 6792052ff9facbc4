"""The producer on a cluster of three brokers, two of which must have each record: a leader that is killed, and too few.

A topic here has replication factor 3 and min.insync.replicas 2, as production has (topics.yaml). What is confirmed
must outlive the broker that confirmed it, once and in order, and what only one broker could have is never confirmed.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import subprocess
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from gateway.core.errors import Unavailable
from gateway.infra.kafka import KafkaPublisher
from gateway.stack import kafka as program
from gateway.stack.cache import cache_folder
from gateway.stack.java import java
from gateway.stack.ports import HOST, Ports
from tests.gateway.cluster.test_publisher import put, stored

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

KEYS = tuple(f"k{number}" for number in range(18))
PARTITIONS = 3


@dataclass(slots=True)
class Cluster:
    """Three brokers, each a controller, too; one process each."""

    folder: Path
    libraries: Path
    ports: list[tuple[int, int]]
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def addresses(self) -> str:
        return ",".join(f"{HOST}:{port}" for port, _ in self.ports)

    def format(self) -> None:
        identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").lstrip("-")
        for node in range(1, 4):
            self._settings(node)
            tool = ["kafka.tools.StorageTool", "format", "--cluster-id", identity]
            subprocess.run(
                [*self._java(node), *tool, "--config", str(self._file(node))], check=True, capture_output=True
            )

    def start(self, *nodes: int) -> None:
        for node in nodes:
            with (self.folder / f"log{node}").open("ab") as log:
                command = [*self._java(node), "kafka.Kafka", str(self._file(node))]
                self.running[node] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, *nodes: int) -> None:
        for node in nodes:
            process = self.running.pop(node)
            process.kill()
            process.wait()

    async def serving(self) -> None:
        """Wait until each broker that runs is known to the cluster."""
        async with asyncio.timeout(90):
            while True:
                try:
                    admin = AIOKafkaAdminClient(bootstrap_servers=self.addresses, request_timeout_ms=3_000)
                    await admin.start()
                    found = await admin.describe_cluster()
                    await admin.close()
                    if {row["node_id"] for row in found["brokers"]} == set(self.running):
                        return
                except (KafkaError, OSError):
                    pass
                await asyncio.sleep(0.3)

    async def leader(self, name: str, partition: int) -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.addresses)
        await admin.start()
        try:
            (found,) = await admin.describe_topics([name])
            return next(int(row["leader"]) for row in found["partitions"] if row["partition"] == partition)
        finally:
            await admin.close()

    async def topic(self, name: str) -> str:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.addresses)
        await admin.start()
        settings = {"min.insync.replicas": "2"}
        await admin.create_topics([NewTopic(name, PARTITIONS, 3, topic_configs=settings)])
        await admin.close()
        return name

    def _file(self, node: int) -> Path:
        return self.folder / f"{node}.properties"

    def _java(self, node: int) -> list[str]:
        logging = self.folder / "log4j2.properties"
        logging.write_text(program.LOGGING)
        memory = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dnode={node}"]
        configuration = f"-Dlog4j2.configurationFile={logging.as_uri()}"
        return [str(java()), *memory, configuration, "-cp", f"{self.libraries}/*"]

    def _settings(self, node: int) -> None:
        port, controller = self.ports[node - 1]
        text = program.PROPERTIES.format(host=HOST, port=port, controller=controller, data=self.folder / f"data{node}")
        voters = ",".join(f"{number}@{HOST}:{each}" for number, (_, each) in enumerate(self.ports, 1))
        own = {
            "node.id": str(node),
            "controller.quorum.voters": voters,
            "offsets.topic.replication.factor": "3",
            "default.replication.factor": "3",
        }
        lines = [line for line in text.splitlines() if line.partition("=")[0] not in own]
        self._file(node).write_text("\n".join([*lines, *(f"{name}={value}" for name, value in own.items())]) + "\n")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("three")
    ports = Ports(folder / "ports.json")
    numbers = [(ports.choose(f"broker{node}"), ports.choose(f"controller{node}")) for node in range(1, 4)]
    made = Cluster(folder, program.program(cache_folder(), lambda _: None, use_installed=True), numbers)
    made.format()
    try:
        yield made
    finally:
        made.kill(*list(made.running))
        ports.release()


@pytest.fixture
async def cluster(machine: Cluster) -> Cluster:
    machine.start(*({1, 2, 3} - set(machine.running)))
    await machine.serving()
    return machine


@dataclass(slots=True)
class Speakers:
    """Callers that each put one record after the other, and what they heard."""

    confirmed: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    running: bool = True

    async def speak(self, port: KafkaPublisher, name: str, key: str) -> None:
        for number in itertools.count():
            if not self.running:
                return
            try:
                await put(port, name, key, b"%d" % number)
                self.confirmed[key].append(number)
            except Unavailable:
                self.refused[key].append(number)

    async def all_get_on(self, seconds: float = 60) -> None:
        """Wait until each has been confirmed twenty records more."""
        before = {key: len(self.confirmed[key]) for key in KEYS}
        async with asyncio.timeout(seconds):
            while any(len(self.confirmed[key]) < count + 20 for key, count in before.items()):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def agree(self, cluster: Cluster, name: str) -> None:
        """Stored: all that was confirmed, once and in order, and nothing that was not at least tried."""
        found: dict[str, list[int]] = defaultdict(list)
        for records in (await stored(cluster.addresses, name, PARTITIONS)).values():
            for key, _, value in records:
                found[key].append(int(value))
        for key, numbers in self.confirmed.items():
            assert found[key] == sorted(set(found[key])), "once, and in order"
            assert set(numbers) <= set(found[key]), "confirmed is stored"
            assert set(found[key]) <= {*numbers, *self.refused[key]}


@asynccontextmanager
async def speaking(cluster: Cluster, name: str) -> AsyncIterator[Speakers]:
    port = KafkaPublisher(cluster.addresses)
    await port.open()
    speakers = Speakers()
    tasks = [asyncio.create_task(speakers.speak(port, name, key)) for key in KEYS]
    await speakers.all_get_on()
    try:
        yield speakers
    finally:
        speakers.running = False
        await asyncio.gather(*tasks)
        await port.close()


async def test_a_leader_that_is_killed_loses_nothing(cluster: Cluster) -> None:
    """Twice: the second leader has what the first one confirmed, and the first one is back by then."""
    name = await cluster.topic("three.leader")
    async with speaking(cluster, name) as speakers:
        for _ in range(2):
            gone = await cluster.leader(name, 0)
            cluster.kill(gone)
            await speakers.all_get_on()
            cluster.start(gone)
            await cluster.serving()
            await speakers.all_get_on()
    await speakers.agree(cluster, name)


async def test_what_one_broker_alone_could_have_is_not_confirmed(cluster: Cluster) -> None:
    name = await cluster.topic("three.few")
    async with speaking(cluster, name) as speakers:
        gone = [node for node in (1, 2, 3) if node != await cluster.leader(name, 0)]
        cluster.kill(*gone)
        await asyncio.sleep(1)
        before = {key: len(numbers) for key, numbers in speakers.confirmed.items()}
        await asyncio.sleep(10)
        assert {key: len(numbers) for key, numbers in speakers.confirmed.items()} == before
        assert all(speakers.refused[key] for key in before), "each caller is told in time"
        cluster.start(*gone)
        await cluster.serving()
        await speakers.all_get_on()
    await speakers.agree(cluster, name)
