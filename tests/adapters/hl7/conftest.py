"""Fixtures of the HL7 v2 tests. Outside data comes by GATEWAY_OUTSIDE_DATA and is never copied here."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from adapters.hl7.inbound import Listener
from adapters.hl7.settings import ListenerSettings
from adapters.hl7.wire import Message, Segment, parse, read_header
from adapters.hl7.wire.acknowledgement import acknowledge, refuse
from adapters.hl7.wire.batch import split
from adapters.hl7.wire.mllp import Commit, Event, Frame, Framer, frame
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import GatewayError, InvalidMessage, Issue, UnsupportedMessage
from gateway.core.ports import Accept, Reading
from gateway.testing import FixedClock


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test with sockets runs on both loops: edges use uvloop, tools often do not."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def outside() -> Path:
    """The folder of HL7 v2 messages others published."""
    root = os.environ.get("GATEWAY_OUTSIDE_DATA")
    if not root or not (Path(root) / "hl7v2").is_dir():
        pytest.skip("GATEWAY_OUTSIDE_DATA is not set: no messages of others to test with")
    return Path(root) / "hl7v2"


@pytest.fixture(scope="session")
def corpus(outside: Path) -> dict[str, bytes]:
    """Every message file by its path in the folder."""
    files = [path for path in sorted(outside.rglob("*")) if path.suffix in {".hl7", ".txt"}]
    assert len(files) > 60
    return {str(path.relative_to(outside)): path.read_bytes() for path in files}


class WireCodec:
    """A codec of the wire alone: any ADT or ORU of release 2.x is good, PID-3 is required. No mapping."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)

    def identify(self) -> str:
        return f"ACK{next(self.numbers):04d}"

    def read(self, raw: Raw, reception: Reception) -> Reading:
        header: Segment | None = None
        failure: GatewayError | None = None
        intakes: list[Intake] = []
        messages: list[Message] = []
        try:
            header = read_header(raw.data or b"")
            messages = [parse(part) for part in split(raw.data or b"").messages]
            for message in messages:
                self.check(message)
                intakes.append(self.intake(message))
        except GatewayError as error:
            failure = error

        def answer(error: GatewayError | None) -> bytes | None:
            problem = error or failure
            at = reception.received_at
            if header is None or not messages:
                return refuse(problem or GatewayError(), identify=self.identify, at=at)
            answers = [
                acknowledge(message.header, problem, identify=self.identify, at=at, answered=message.first("MSA"))
                for message in messages
            ]
            return b"".join(both for each in answers if (both := each.together())) or None

        issues = [Issue(note, "MSH", note, "information") for message in messages for note in message.notes]
        return Reading(intakes=() if failure else intakes, answer=answer, refused=failure is not None, issues=issues)

    def check(self, message: Message) -> None:
        if message.code not in ("ADT", "ORU", "ACK"):
            raise UnsupportedMessage(location="MSH-9")
        if not message.version.startswith("2."):
            raise UnsupportedMessage(location="MSH-12")
        if message.code == "ADT" and not message.get("PID-3"):
            raise InvalidMessage(issues=(Issue("101", "PID[1]-3[1].1", "patient identifier missing"),))

    def intake(self, message: Message) -> Intake:
        return Intake(
            type="clinical.adt",
            format="hl7v2",
            natural_key=(message.control_id,),
            case_key=(),
            ordering_key=("facility",),
            lane=() if message.trigger == "A40" else (message.get("PID-3"),),
            raw=Raw.of(message.raw, "application/hl7-v2"),
        )


@pytest.fixture
def codec() -> WireCodec:
    """A codec that needs no mapping."""
    return WireCodec()


@dataclass
class Seen:
    """What a listener or sender told its observer."""

    events: list[tuple[str, dict[str, str | int]]] = field(default_factory=list)

    def __call__(self, name: str, fields: Mapping[str, str | int]) -> None:
        self.events.append((name, dict(fields)))

    def named(self, name: str) -> list[dict[str, str | int]]:
        return [fields for event, fields in self.events if event == name]


@pytest.fixture
def seen() -> Seen:
    """An observer that remembers."""
    return Seen()


Listen = Callable[..., Awaitable[Listener]]


@pytest.fixture
async def listen(codec: WireCodec, seen: Seen) -> AsyncIterator[Listen]:
    """Start a listener on a free port: `await listen(accept, settings…)`. All stop with the test."""
    started: list[Listener] = []

    async def start(accept: Accept, **settings: Any) -> Listener:
        used = settings.pop("codec", codec)
        more = {"respond": settings.pop("respond")} if "respond" in settings else {}
        base: dict[str, Any] = {"name": "test", "tenant": "t1", "port": 0, "unknown_partners": True, "drain_timeout": 5}
        listener = Listener(
            ListenerSettings(**{**base, **settings}),
            codec=used,
            accept=accept,
            clock=FixedClock(),
            identify=codec.identify,
            observe=seen,
            **more,
        )
        await listener.start()
        started.append(listener)
        return listener

    yield start
    for listener in started:
        await listener.stop()


class Client:
    """A sender that sends what it is told and reads frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.framer = Framer()
        self.events: list[Event] = []

    async def send(self, *payloads: bytes) -> None:
        self.writer.write(b"".join(frame(payload) for payload in payloads))
        await self.writer.drain()

    async def answer(self) -> bytes:
        """The next frame's payload; empty when the other side closed."""
        while not self.events:
            data = await asyncio.wait_for(self.reader.read(65536), 30)
            if not data:
                return b""
            self.events += self.framer.feed(data)
        event = self.events.pop(0)
        if isinstance(event, Commit):
            return b"\x06" if event.positive else b"\x15"
        assert isinstance(event, Frame)
        return event.payload

    async def code(self) -> str:
        """MSA-1 and MSA-2 of the next answer, joined by a blank; empty when closed."""
        payload = await self.answer()
        message = parse(payload) if payload else None
        return f"{message.get('MSA-1')} {message.get('MSA-2')}" if message else ""

    async def closed(self) -> bool:
        """Whether the other side closed or reset the connection without another byte."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 30) == b""
        except ConnectionError:
            return True

    async def ask(self, payload: bytes) -> str:
        await self.send(payload)
        return await self.code()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Open a connection: `await connect(listener)`."""
    clients: list[Client] = []

    async def dial(listener: Listener, **options: Any) -> Client:
        place = {} if "sock" in options else {"host": "127.0.0.1", "port": listener.port}
        client = Client(*await asyncio.open_connection(**place, **options))
        clients.append(client)
        return client

    yield dial
    for client in clients:
        client.writer.close()
        with contextlib.suppress(OSError):
            await client.writer.wait_closed()


@pytest.fixture
def adt() -> Callable[..., bytes]:
    """A message: `adt("C1", patient="P1", …)`."""

    def build(
        control_id: str,
        *,
        patient: str = "P1",
        kind: str = "ADT^A01^ADT_A01",
        sender: str = "EHR|HOSP",
        version: str = "2.5.1",
        accept: str = "",
        application: str = "",
        extra: str = "",
    ) -> bytes:
        head = f"MSH|^~\\&|{sender}|GW|PAYER|20260301101500||{kind}|{control_id}|P|{version}|||{accept}|{application}"
        return f"{head}\rPID|1||{patient}^^^HOSP||DOE^JANE\r{extra}".encode()

    return build
