"""Bad input on each edge: the protocol's own negative answer, nothing on a business topic, the process unharmed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from gateway import registry, samples
from gateway.cli.send import core_answer, mllp_exchange
from gateway.core.settings import host_port
from tests.e2e.running import Gateway
from tests.e2e.test_protocols import PAS, left_in_drop, rows

NOISE = random.Random(7).randbytes(4096)
MARKER = b"ZZPLANTEDZZ"
"""Sent inside bad input; no answer may repeat it."""


def now() -> datetime:
    return datetime.now(UTC)


class Ends:
    """Counts the records per business topic; one connection for all tests of this file."""

    def __init__(self, kafka: str) -> None:
        self.kafka = kafka
        self.parts: list[TopicPartition] = []

    async def open(self) -> None:
        topics = sorted({*registry.TOPICS.values(), registry.PARKED})
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        self.consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka)
        await self.consumer.start()
        await admin.start()
        described = await admin.describe_topics(topics)
        await admin.close()
        self.parts = [
            TopicPartition(topic["topic"], part["partition"]) for topic in described for part in topic["partitions"]
        ]
        assert {part.topic for part in self.parts} == set(topics)

    async def count(self) -> dict[str, int]:
        counted = Counter[str]()
        for part, end in (await self.consumer.end_offsets(self.parts)).items():
            counted[part.topic] += end
        return dict(counted)


@pytest.fixture(scope="module")
def ends(gateway: Gateway) -> Iterator[Callable[[], dict[str, int]]]:
    """The records per business topic now."""
    counting = Ends(gateway.kafka)
    with asyncio.Runner() as runner:
        runner.run(counting.open())
        yield lambda: runner.run(counting.count())
        runner.run(counting.consumer.stop())


@pytest.fixture
def nothing_published(gateway: Gateway, ends: Callable[[], dict[str, int]]) -> Iterator[None]:
    """No record reaches a business topic, and no role process dies."""
    before, pids = ends(), gateway.pids()
    yield
    assert ends() == before
    assert gateway.pids() == pids


BUNDLE = samples.pas_submit("X1001", datetime(2026, 1, 15, tzinfo=UTC)).data
FHIR = {
    "empty": (b"", {400, 422}),
    "truncated": (BUNDLE[: len(BUNDLE) // 2] + MARKER, {400, 422}),
    "oversized": (b'{"resourceType":"Bundle","x":"' + b"a" * (17 << 20) + b'"}', {413}),
    "wrong type": (b'{"resourceType":"Patient","id":"ZZPLANTEDZZ"}', {400, 422}),
    "noise": (NOISE, {400, 422}),
    "deep": (b'{"a":' * 5000 + b"1" + b"}" * 5000, {400, 413, 422}),
}


@pytest.mark.parametrize("name", FHIR)
@pytest.mark.usefixtures("nothing_published")
def test_fhir_answers_with_one_operation_outcome(gateway: Gateway, name: str) -> None:
    body, expected = FHIR[name]
    answer = httpx.post(gateway.http + PAS, content=body, headers=gateway.headers, timeout=60)
    assert answer.status_code in expected, answer.text[:500]
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert MARKER not in answer.content


def resident(pid: int) -> int:
    """Highest resident memory of a process so far, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1024


@pytest.mark.usefixtures("nothing_published")
def test_bodies_of_twenty_megabytes_at_once_do_not_take_the_memory(gateway: Gateway) -> None:
    """Thirty at once are 600 MB; what is held of them is bounded (128 MiB), and the next request is served."""
    pid = next(pid for name, pid in gateway.pids().items() if name.startswith("edge"))
    before = resident(pid)
    bodies = [b'{"resourceType":"Bundle","x":"' + b"a" * 20_000_000, b"[" * 20_000_000, b'{"a":' * 4_000_000]

    def post(number: int) -> httpx.Response:
        return httpx.post(gateway.http + PAS, content=bodies[number % 3], headers=gateway.headers, timeout=60)

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(post, range(30)))
    assert {answer.status_code for answer in answers} <= {413, 503}
    assert {answer.json()["resourceType"] for answer in answers} == {"OperationOutcome"}
    assert resident(pid) - before < 300
    assert httpx.get(gateway.http + "/fhir/pas/2.2.1/metadata").status_code == 200


@pytest.mark.usefixtures("nothing_published")
def test_fhir_without_a_token_is_refused(gateway: Gateway) -> None:
    answer = httpx.post(gateway.http + PAS, content=BUNDLE, headers={"content-type": "application/fhir+json"})
    assert answer.status_code == 401


HL7 = {
    "unknown version": b"MSH|^~\\&|A|B|C|D|20260115||ADT^A01|X1|P|9.9\rPID|1||ZZPLANTEDZZ\r",
    "no control id": b"MSH|^~\\&|A|B|C|D|20260115||ADT^A01||P|2.5.1\rPID|1||ZZPLANTEDZZ\r",
}


@pytest.mark.parametrize("name", ["unknown version", "no control id"])
@pytest.mark.usefixtures("nothing_published")
def test_hl7_answers_negatively_and_names_the_place(gateway: Gateway, name: str) -> None:
    answer = asyncio.run(mllp_exchange(gateway.mllp, HL7[name]))
    msa = next(line for line in answer.split("\r") if line.startswith("MSA"))
    assert msa[4:6] in ("AE", "AR"), answer
    assert "ERR|" in answer
    assert "ZZPLANTEDZZ" not in answer


@pytest.mark.parametrize("data", [b"", NOISE, b"\x0bMSH|^~\\&|A|B", b"\x0b" + b"A" * 100_000])
@pytest.mark.usefixtures("nothing_published")
def test_mllp_noise_gets_no_positive_answer(gateway: Gateway, data: bytes) -> None:
    with socket.create_connection(host_port(gateway.mllp), timeout=10) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(OSError):
            while part := connection.recv(4096):
                received += part
    assert b"MSA|AA" not in received
    assert b"MSA|CA" not in received


SOAP = {
    "empty": b"",
    "truncated": samples.core_270(datetime(2026, 1, 15, tzinfo=UTC)).data[:300],
    "doctype": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "noise": NOISE,
    "old soap": b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body/></e:Envelope>',
}


@pytest.mark.parametrize("name", SOAP)
@pytest.mark.usefixtures("nothing_published")
def test_soap_answers_with_a_fault(gateway: Gateway, name: str) -> None:
    answer = httpx.post(
        gateway.http + "/core/realtime", content=SOAP[name], headers={"content-type": "application/soap+xml"}
    )
    assert answer.status_code >= 400
    assert "Fault" in answer.text
    assert "root:" not in answer.text


@pytest.mark.usefixtures("nothing_published")
def test_soap_with_a_broken_payload_answers_with_the_x12_acknowledgement(gateway: Gateway) -> None:
    broken = samples.core_270(now()).data.replace(b"SE*13*", b"SE*99*")
    answer = asyncio.run(core_answer(gateway.http, broken))
    assert "IK5*R*4" in answer.payload


@pytest.mark.usefixtures("nothing_published")
def test_x12_with_a_wrong_count_gets_a_999_that_rejects(gateway: Gateway) -> None:
    sample = samples.request_278("X1001", now())
    (answer,) = left_in_drop(gateway, sample.data.replace(b"SE*17*", b"SE*11*"), f"{sample.trace}.x12", 1)
    assert "IK5*R*4" in answer
    assert "ST*278*" not in answer


@pytest.mark.usefixtures("nothing_published")
def test_x12_noise_is_quarantined_without_an_answer(gateway: Gateway) -> None:
    before = rows(gateway, "SELECT count(*) AS n FROM workflow.refusals")[0]["n"]
    assert left_in_drop(gateway, NOISE, f"noise-{now():%H%M%S%f}.x12", 0) == []
    assert rows(gateway, "SELECT count(*) AS n FROM workflow.refusals")[0]["n"] == before + 1  # type: ignore[operator]
