"""The sender against endpoints that lie, mumble and hang up: a message is sent only when its own answer says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from adapters.hl7.outbound import MllpSender
from adapters.hl7.settings import SenderSettings
from adapters.hl7.wire import parse
from adapters.hl7.wire.mllp import NEGATIVE, POSITIVE, Frame, Framer, frame
from gateway.core.errors import DeliveryError, EndpointRefused, EndpointUnavailable
from gateway.core.ports import Outbound
from gateway.testing import MemoryAccept

Script = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def ack(control_id: str, code: str = "AA", *, kind: str = "ACK", extra: str = "", accept: str = "") -> bytes:
    head = f"MSH|^~\\&|GW|PAYER|EHR|HOSP|20260301||{kind}|R{control_id}|P|2.5.1|||{accept}|"
    return f"{head}\rMSA|{code}|{control_id}\r{extra}".encode()


def control_id(payload: bytes) -> str:
    return parse(payload).control_id


def outbound(data: bytes) -> Outbound:
    return Outbound(endpoint="e", data=data, media_type="application/hl7-v2", idempotency_key="k")


class Endpoint:
    """A server that answers each frame by a script, and remembers what it got."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.received: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        framer = Framer()
        try:
            while data := await reader.read(65536):
                for event in framer.feed(data):
                    if isinstance(event, Frame):
                        self.received.append(event.payload)
                        await self.script(event.payload, writer)
        except ConnectionError:
            pass


@pytest.fixture
async def endpoint() -> AsyncIterator[Callable[[Script], Awaitable[Endpoint]]]:
    started: list[Endpoint] = []

    async def start(script: Script) -> Endpoint:
        server = Endpoint(script)
        await server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        await server.stop()


@pytest.fixture
async def sender(seen: Any) -> AsyncIterator[Callable[..., MllpSender]]:
    built: list[MllpSender] = []

    def build(port: int, **settings: Any) -> MllpSender:
        base: dict[str, Any] = {"name": "e", "host": "127.0.0.1", "port": port, "response_timeout": 0.3}
        built.append(MllpSender(SenderSettings(**{**base, **settings}), identify=lambda: "OURS1", observe=seen))
        return built[-1]

    yield build
    for each in built:
        await each.close()


async def write(writer: asyncio.StreamWriter, *payloads: bytes) -> None:
    writer.write(b"".join(frame(payload) for payload in payloads))
    await writer.drain()


async def says_yes(payload: bytes, writer: asyncio.StreamWriter) -> None:
    await write(writer, ack(control_id(payload)))


async def test_one_connection_carries_many_messages_in_turn(endpoint: Any, sender: Any, adt: Any) -> None:
    server = await endpoint(says_yes)
    one = sender(server.port)
    receipts = await asyncio.gather(*[one.send(outbound(adt(f"C{n}"))) for n in range(20)])
    assert [receipt.reference for receipt in receipts] == [f"C{n}" for n in range(20)]
    assert all(receipt.accepted and control_id(receipt.data).startswith("R") for receipt in receipts)
    assert server.connections == 1
    assert server.received == [adt(f"C{n}") for n in range(20)]


@pytest.mark.parametrize(
    ("code", "actions", "outcome"),
    [
        ("AA", {}, None),
        ("CA", {}, None),
        ("AE", {}, EndpointRefused),
        ("CE", {}, EndpointRefused),
        ("AR", {}, EndpointUnavailable),
        ("CR", {}, EndpointUnavailable),
        ("", {}, EndpointUnavailable),
        ("XX", {}, EndpointUnavailable),
        ("AE", {"AE": "retry"}, EndpointUnavailable),
        ("AR", {"AR": "fail"}, EndpointRefused),
        ("AE", {"AE": "complete"}, None),
        ("", {"": "fail"}, EndpointRefused),
    ],
)
async def test_partners_say_what_a_code_means(
    endpoint: Any, sender: Any, adt: Any, code: str, actions: dict[str, str], outcome: type[DeliveryError] | None
) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        await write(writer, ack(control_id(payload), code, extra="ERR|||207^x^HL70357|E\r"))

    server = await endpoint(script)
    one = sender(server.port, actions=actions)
    for _ in range(2):
        if outcome is None:
            assert (await one.send(outbound(adt("C1")))).accepted
            continue
        with pytest.raises(outcome) as caught:
            await one.send(outbound(adt("C1")))
        if outcome is EndpointRefused:
            assert [issue.code for issue in caught.value.issues] == ["207"]
    assert server.connections == 1  # an answer is an answer: the connection stays in order


async def test_a_late_answer_never_meets_the_next_message(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        if control_id(payload) == "SLOW":
            await asyncio.sleep(0.5)
        await write(writer, ack(control_id(payload)))

    server = await endpoint(script)
    one = sender(server.port)
    with pytest.raises(EndpointUnavailable, match="no answer in time"):
        await one.send(outbound(adt("SLOW")))
    assert (await one.send(outbound(adt("C2")))).reference == "C2"
    await asyncio.sleep(0.3)
    assert (await one.send(outbound(adt("C3")))).reference == "C3"
    assert server.connections == 2


async def test_stale_foreign_and_doubled_answers_are_dropped_and_counted(
    endpoint: Any, sender: Any, adt: Any, seen: Any
) -> None:
    earlier: list[bytes] = []

    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        # All earlier answers again, then somebody else's, then no answer at all, then ours twice.
        mine = ack(control_id(payload))
        await write(writer, *earlier, ack("OTHER", "AE"), adt("NEWS"), b"nonsense", mine, mine)
        earlier.append(mine)

    server = await endpoint(script)
    one = sender(server.port)
    for n in range(5):
        assert (await one.send(outbound(adt(f"C{n}")))).reference == f"C{n}"
        await asyncio.sleep(0.02)
    reasons = [fields["reason"] for fields in seen.named("hl7.answer-dropped")]
    assert set(reasons) == {"other-message", "no-acknowledgement", "no-header", "unasked"}
    assert reasons.count("unasked") == 5


async def test_only_a_foreign_answer_is_no_answer(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        for _ in range(10):
            await write(writer, ack("OTHER"))
            await asyncio.sleep(0.05)

    one = sender((await endpoint(script)).port)
    with pytest.raises(EndpointUnavailable, match="no answer in time"):
        await one.send(outbound(adt("C1")))


async def test_an_unframed_answer_is_named(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(ack(control_id(payload)))
        await writer.drain()

    one = sender((await endpoint(script)).port)
    with pytest.raises(EndpointUnavailable, match="without a frame"):
        await one.send(outbound(adt("C1")))


async def test_an_answer_without_control_id_counts_only_where_allowed(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        await write(writer, ack(""))

    server = await endpoint(script)
    with pytest.raises(EndpointUnavailable):
        await sender(server.port).send(outbound(adt("C1")))
    assert (await sender(server.port, match_control_id=False).send(outbound(adt("C1")))).accepted


async def test_an_endpoint_that_closes_after_each_message(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        await write(writer, ack(control_id(payload)))
        writer.close()

    server = await endpoint(script)
    one = sender(server.port)
    for n in range(5):
        assert (await one.send(outbound(adt(f"C{n}")))).reference == f"C{n}"
        await asyncio.sleep(0.02)
    assert server.connections == 5


async def test_a_connection_for_each_message_loses_nothing(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(_payload: bytes, _writer: asyncio.StreamWriter) -> None:
        return

    server = await endpoint(script)
    one = sender(server.port, persistent=False)
    big = "NTE|1||" + "x" * 2_000_000
    for n in range(3):
        await one.send(outbound(adt(f"C{n}", accept="NE", application="NE", extra=big)))
    for _ in range(200):
        if len(server.received) == 3:
            break
        await asyncio.sleep(0.01)
    assert sorted(map(control_id, server.received)) == ["C0", "C1", "C2"]
    assert server.connections == 3


async def test_a_connection_closed_before_the_answer(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        if control_id(payload) == "C1":
            writer.close()
        else:
            await write(writer, ack(control_id(payload)))

    one = sender((await endpoint(script)).port)
    with pytest.raises(EndpointUnavailable, match="closed before the answer"):
        await one.send(outbound(adt("C1")))
    assert (await one.send(outbound(adt("C2")))).accepted


async def test_a_flood_of_answers_is_cut(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(ack("OTHER")) * 5_000)

    one = sender((await endpoint(script)).port, response_timeout=10)
    with pytest.raises(EndpointUnavailable):
        await one.send(outbound(adt("C1")))


async def test_an_answer_over_the_limit_closes(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        await write(writer, ack(control_id(payload), extra="NTE|" + "x" * 5_000))

    one = sender((await endpoint(script)).port, frame=2_000)
    with pytest.raises(EndpointUnavailable):
        await one.send(outbound(adt("C1")))


async def test_nobody_listens(sender: Any, adt: Any) -> None:
    with pytest.raises(EndpointUnavailable, match="no connection"):
        await sender(1).send(outbound(adt("C1")))


async def test_what_is_no_message_is_not_sent(sender: Any) -> None:
    with pytest.raises(EndpointRefused):
        await sender(1).send(outbound(b"hello"))
    with pytest.raises(EndpointRefused):
        await sender(1).send(outbound(b"MSH|^~\\&|A\rNTE|\x1c\r"))


async def test_a_cancelled_send_leaves_no_answer_behind(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await write(writer, ack(control_id(payload)))

    server = await endpoint(script)
    one = sender(server.port)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(one.send(outbound(adt("C1"))), 0.05)
    assert (await one.send(outbound(adt("C1")))).reference == "C1"
    assert server.connections == 2


@pytest.mark.parametrize(
    ("asked", "answers", "outcome"),
    [
        (("AL", "NE"), ["CA"], "CA"),
        (("AL", "AL"), ["CA", "AA"], "AA"),
        (("AL", "AL"), ["CA", "CA", "AA"], "AA"),
        (("AL", "AL"), ["AA"], "AA"),
        (("AL", "AL"), ["CA"], EndpointUnavailable),
        (("AL", "AL"), ["CA", "AE"], EndpointRefused),
        (("AL", "AL"), ["CE"], EndpointRefused),
        (("NE", "AL"), ["AA"], "AA"),
        (("NE", "NE"), [], ""),
        (("ER", "NE"), [], ""),
        (("ER", "NE"), ["CE"], EndpointRefused),
        (("", ""), ["AA"], "AA"),
        (("", ""), ["CA"], "CA"),
    ],
)
async def test_enhanced_mode_waits_for_what_was_asked(
    endpoint: Any, sender: Any, adt: Any, asked: tuple[str, str], answers: list[str], outcome: Any
) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        await write(writer, *[ack(control_id(payload), code) for code in answers])

    one = sender((await endpoint(script)).port)
    message = outbound(adt("C1", accept=asked[0], application=asked[1]))
    if isinstance(outcome, str):
        receipt = await one.send(message)
        assert receipt.accepted
        assert (parse(receipt.data).get("MSA-1") if receipt.data else "") == outcome
    else:
        with pytest.raises(outcome):
            await one.send(message)


async def test_an_application_answer_is_accepted_if_it_asks(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        if parse(payload).first("MSA") is None:
            await write(writer, ack(control_id(payload), kind="RPA^I08", accept="AL"))

    server = await endpoint(script)
    receipt = await sender(server.port).send(outbound(adt("C1")))
    assert parse(receipt.data).code == "RPA"
    for _ in range(100):
        if len(server.received) == 2:
            break
        await asyncio.sleep(0.01)
    answer = parse(server.received[1])
    assert (answer.get("MSA-1"), answer.get("MSA-2"), answer.control_id) == ("CA", "RC1", "OURS1")


async def test_the_application_answer_may_come_on_another_connection(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        await write(writer, ack(control_id(payload), "CA"))

    one = sender((await endpoint(script)).port, wait_for_application=False)
    assert (await one.send(outbound(adt("C1", accept="AL", application="AL")))).accepted


async def test_release_2_waits_for_the_commit(endpoint: Any, sender: Any, adt: Any) -> None:
    async def script(payload: bytes, writer: asyncio.StreamWriter) -> None:
        bad = control_id(payload) == "BAD"
        await write(writer, NEGATIVE if bad else POSITIVE, ack(control_id(payload)))

    one = sender((await endpoint(script)).port, release=2)
    assert (await one.send(outbound(adt("C1")))).accepted
    with pytest.raises(EndpointUnavailable, match="commit"):
        await one.send(outbound(adt("BAD")))
    assert (await one.send(outbound(adt("C2")))).reference == "C2"


async def test_our_sender_and_our_listener_agree(listen: Any, sender: Any, adt: Any) -> None:
    accept = MemoryAccept()
    for release in (1, 2):
        listener = await listen(accept, release=release)
        one = sender(listener.port, release=release)
        for asked in (("", ""), ("AL", "NE"), ("AL", "AL"), ("NE", "AL"), ("NE", "NE")):
            name = f"{release}{''.join(asked)}"
            assert (await one.send(outbound(adt(name, accept=asked[0], application=asked[1])))).reference == name
        with pytest.raises(EndpointRefused):
            await one.send(outbound(adt("BAD", patient="")))
    await asyncio.sleep(0.1)  # those that asked for no answer
    assert len(accept.accepted) == 10


async def test_an_answer_of_ours_waits_for_its_accept_acknowledgement_only(endpoint: Any, sender: Any) -> None:
    async def accepts(payload: bytes, writer: asyncio.StreamWriter) -> None:
        await write(writer, ack(control_id(payload), "CA"))

    server = await endpoint(accepts)
    decision = "MSH|^~\\&|GW|PAYER|EHR|HOSP|20260301||RPA^I08^RPA_I08|P1|P|2.5.1|||AL|AL\rMSA|AA|R1\r"
    receipt = await sender(server.port).send(outbound(decision.encode()))
    assert receipt.accepted
    assert len(server.received) == 1
