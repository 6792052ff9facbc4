"""The embedded default for real: three servers, kept data, crashes, two side by side."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError

from gateway.core.errors import ConfigurationError
from gateway.stack import NAMESPACE, Addresses, Stack, StackSettings, addresses_of, postgres, temporal
from gateway.stack.process import born, read_json
from gateway.stack.progress import Silent

pytestmark = [pytest.mark.connected, pytest.mark.timeout(600)]  # the first run may have to build Temporal


def pids(state: Path) -> dict[str, int]:
    """Process ids of servers and guards by run file."""
    records = {path.stem: read_json(path) for path in (state / "run").glob("*.json") if path.stem != "stack"}
    return {name: record["pid"] for name, record in records.items()} | {
        f"{name} guard": record["guard"] for name, record in records.items()
    }


def descendants(pid: int) -> set[int]:
    """All processes below one."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, queue = set(), [pid]
    while queue:
        for child in children.get(queue.pop(), []):
            found.add(child)
            queue.append(child)
    return found


def wait_gone(processes: set[int], patience: float = 40.0) -> set[int]:
    """Wait for processes to end; those that do not."""
    deadline = time.monotonic() + patience
    while (left := {pid for pid in processes if born(pid)}) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


async def produce(address: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all", enable_idempotence=True)
    await producer.start()
    await producer.send_and_wait(topic, value, key=b"k")
    await producer.stop()


async def consume(address: str, topic: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=address, group_id="reader", auto_offset_reset="earliest")
    await consumer.start()
    try:
        record = await asyncio.wait_for(consumer.getone(), 20)
        return [record.value or b""]
    finally:
        await consumer.stop()


async def create_topic(address: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 2, 1)])
    await admin.close()


async def leave_traces(found: Addresses) -> None:
    await create_topic(found.kafka, "kept.records.v1")
    await produce(found.kafka, "kept.records.v1", b"kept")
    connection = await asyncpg.connect(found.postgres)
    await connection.execute("create table kept (word text); insert into kept values ('kept')")
    await connection.close()
    client = await Client.connect(found.temporal, namespace=NAMESPACE)
    await client.start_workflow("Nobody", id="kept", task_queue="nobody", execution_timeout=timedelta(days=1))


async def find_traces(found: Addresses) -> None:
    assert await consume(found.kafka, "kept.records.v1") == [b"kept"]
    connection = await asyncpg.connect(found.postgres)
    assert await connection.fetchval("select word from kept") == "kept"
    await connection.close()
    client = await Client.connect(found.temporal, namespace=NAMESPACE)
    description = await client.get_workflow_handle("kept").describe()
    assert description.workflow_type == "Nobody"


async def check_settings(found: Addresses) -> None:
    """What the design asks of the servers."""
    admin = AIOKafkaAdminClient(bootstrap_servers=found.kafka)
    await admin.start()
    before = set(await admin.list_topics())
    await asyncio.sleep(0)
    await admin.describe_topics(["never.declared.v1"])
    assert set(await admin.list_topics()) == before
    await admin.close()
    client = await Client.connect(found.temporal, namespace=NAMESPACE)
    answer = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=NAMESPACE))
    registered = {
        name: IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").title()
        for name, kind in answer.custom_attributes.items()
    }
    assert temporal.SEARCH_ATTRIBUTES.items() <= registered.items()


def secrets_are_kept(state: Path, found: Addresses) -> None:
    """The password is in a file only we can read, and on no command line."""
    password = postgres.password(state)
    assert password in found.postgres
    assert (state / "secrets" / "postgres").stat().st_mode & 0o777 == 0o600
    for pid in descendants(os.getpid()):
        assert password.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert [path for path in (state / "logs").iterdir() if password in path.read_text(errors="replace")] == []


def test_up_restart_keeps_data_and_ports(tmp_path: Path) -> None:
    others = descendants(os.getpid())  # servers of other tests of this session
    settings = StackSettings(state=tmp_path / "state")
    with Stack(settings, progress=Silent()).up() as first:
        asyncio.run(check_settings(first))
        asyncio.run(leave_traces(first))
        secrets_are_kept(tmp_path / "state", first)
        assert addresses_of(tmp_path / "state") == first
        with pytest.raises(ConfigurationError, match="in use by process"):
            Stack(settings, progress=Silent()).up()
        servers = (set(pids(tmp_path / "state").values()) | descendants(os.getpid())) - others
    assert {pid for pid in servers if born(pid)} == set()
    assert addresses_of(tmp_path / "state") is None
    with Stack(settings, progress=Silent()).up() as second:
        assert second == first
        asyncio.run(find_traces(second))


PARENT = """
import sys, time
from pathlib import Path
from gateway.stack import Stack, StackSettings
with Stack(StackSettings(state=Path(sys.argv[1]))).up():
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a stack."""
    child = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "state")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    yield child
    child.kill()
    child.communicate()


def test_killing_the_parent_leaves_no_orphan_and_no_data_is_lost(tmp_path: Path, parent: subprocess.Popen[str]) -> None:
    state = tmp_path / "state"
    found = addresses_of(state)
    assert found is not None
    asyncio.run(leave_traces(found))
    processes = descendants(parent.pid)
    assert len(processes) >= 6  # three guards, three servers, PostgreSQL's own
    parent.kill()
    parent.wait()
    assert addresses_of(state) is None
    # at once: it waits until the killed one's servers are gone
    with Stack(StackSettings(state=state), progress=Silent()).up() as again:
        assert wait_gone(processes) == set()
        assert again == found
        asyncio.run(find_traces(again))


def test_killing_everything_at_once_is_recovered_from(tmp_path: Path, parent: subprocess.Popen[str]) -> None:
    state = tmp_path / "state"
    found = addresses_of(state)
    assert found is not None
    asyncio.run(leave_traces(found))
    processes = {*descendants(parent.pid), parent.pid}
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):  # one of PostgreSQL's own may just have ended
            os.kill(pid, signal.SIGKILL)
    assert wait_gone(processes - {parent.pid}) == set()
    (state / "data" / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{state}\n")  # a number used again
    with Stack(StackSettings(state=state), progress=Silent()).up() as again:
        asyncio.run(find_traces(again))


def test_two_side_by_side(tmp_path: Path) -> None:
    one = Stack(StackSettings(state=tmp_path / "one"), {"postgres", "temporal"}, Silent())
    two = Stack(StackSettings(state=tmp_path / "two", temporal_ui=False), {"postgres", "temporal"}, Silent())
    with one.up() as first, two.up() as second:
        assert first.kafka == ""
        assert second.temporal_ui == ""
        assert first.postgres.rpartition("@")[2] != second.postgres.rpartition("@")[2]
        assert first.temporal != second.temporal


def test_a_part_that_fails_takes_the_others_down(tmp_path: Path) -> None:
    others = descendants(os.getpid())
    stack = Stack(StackSettings(state=tmp_path, temporal="127.0.0.1:1"), {"postgres", "temporal"}, Silent())
    with pytest.raises(ConfigurationError, match="Temporal address"):
        stack.up()
    assert descendants(os.getpid()) <= others


async def wrong_password(found: Addresses) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(found.postgres.replace(":", ":x", 2).replace("postgresql:x//", "postgresql://"))


@pytest.mark.parametrize("installed", [False, True])
def test_postgresql_in_a_home_of_mode_700(tmp_path: Path, installed: bool) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with Stack(StackSettings(state=home / "state", installed=installed), {"postgres"}, Silent()).up() as found:
        assert postgres.attempt(found.postgres) == "connected"
        asyncio.run(wrong_password(found))
        server = Path(f"/proc/{pids(home / 'state')['postgres']}/status").read_text()
        assert "Uid:\t0\t" not in server
    assert home.stat().st_mode & 0o777 == 0o700


def test_an_initdb_cut_off_is_begun_again(tmp_path: Path) -> None:
    for name in ("postgres", "postgres.new"):
        half = tmp_path / "data" / name
        half.mkdir(parents=True)
        (half / "postgresql.conf").touch()
    with Stack(StackSettings(state=tmp_path), {"postgres"}, Silent()).up() as found:
        assert postgres.attempt(found.postgres) == "connected"


def test_secrets_that_do_not_match_the_data_are_said_at_once(tmp_path: Path) -> None:
    settings = StackSettings(state=tmp_path)
    Stack(settings, {"postgres"}, Silent()).up().down()
    (tmp_path / "secrets" / "postgres").write_text("another")
    with pytest.raises(ConfigurationError, match="do not match"):
        Stack(settings, {"postgres"}, Silent()).up()


def test_a_stack_can_be_started_again(tmp_path: Path) -> None:
    stack = Stack(StackSettings(state=tmp_path), {"postgres"}, Silent())
    for _ in range(2):
        with stack.up() as found:
            assert postgres.attempt(found.postgres) == "connected"
        assert postgres.attempt(found.postgres) == "not yet"


async def unknown_namespace(found: Addresses) -> None:
    with pytest.raises(RPCError):
        await (await Client.connect(found.temporal, namespace="other")).start_workflow("X", id="x", task_queue="x")


def test_the_command_line(tmp_path: Path) -> None:
    def gateway(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", "stack", *arguments, "--state", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert gateway("status").returncode == 1
    command = [sys.executable, "-m", "gateway", "stack", "up", "temporal", "--json", "--state", str(tmp_path)]
    up = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert up.stdout is not None
        shown = json.loads(up.stdout.readline())
        status = gateway("status", "--json")
        assert status.returncode == 0
        assert json.loads(status.stdout)["addresses"] == shown
        asyncio.run(unknown_namespace(Addresses(temporal=shown["temporal"])))
        assert gateway("reset", "--yes").returncode == 1
        assert gateway("stop").returncode == 0
        _, said = up.communicate(timeout=30)
    finally:
        up.kill()
    assert up.returncode == 0
    assert "temporal: starting" in said
    assert "Traceback" not in said
    assert gateway("logs", "temporal").returncode == 0
    assert gateway("logs", "kafka").returncode == 1
    assert gateway("logs", "oracle").returncode == 2
    assert gateway("reset", "--yes").returncode == 0
    assert not (tmp_path / "data").exists()
