"""Peers nobody here wrote: python-hl7's client, its command and its server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7.client import MLLPClient
from hl7.mllp import start_hl7_server

from adapters.hl7.outbound import MllpSender
from adapters.hl7.settings import SenderSettings
from adapters.hl7.wire import parse
from gateway.core.errors import EndpointUnavailable
from gateway.core.ports import Outbound
from gateway.testing import MemoryAccept


async def test_python_hl7_sends_to_our_listener(listen: Any, adt: Any) -> None:
    accept = MemoryAccept()
    listener = await listen(accept)

    def send() -> list[bytes]:
        with MLLPClient("127.0.0.1", listener.port) as client:
            return [client.send_message(adt(f"C{n}").decode()) for n in range(20)]

    answers = await asyncio.to_thread(send)
    assert [parse(answer.strip(b"\x0b\x1c\r")).get("MSA-2") for answer in answers] == [f"C{n}" for n in range(20)]
    assert len(accept.accepted) == 20


async def test_mllp_send_sends_a_file_to_our_listener(listen: Any, adt: Any, tmp_path: Path) -> None:
    accept = MemoryAccept()
    listener = await listen(accept)
    file = tmp_path / "messages.hl7"
    file.write_bytes(b"".join(b"\x0b" + adt(f"C{n}") + b"\x1c\r" for n in range(5)))
    command = [
        str(Path(sys.executable).parent / "mllp_send"),
        "--file",
        str(file),
        "-p",
        str(listener.port),
        "127.0.0.1",
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert output.count(b"MSA|AA|") == 5
    assert len(accept.accepted) == 5


async def test_our_sender_sends_to_python_hl7(adt: Any) -> None:
    received: list[str] = []

    async def serve(reader: Any, writer: Any) -> None:
        # Its reader gives up on a lost connection by an exception of its own.
        try:
            while not writer.is_closing():
                message = await reader.readmessage()
                received.append(str(message))
                writer.writemessage(message.create_ack())
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    server = await start_hl7_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = SenderSettings(name="e", host="127.0.0.1", port=port, response_timeout=5)
    async with MllpSender(settings, identify=lambda: "X") as sender:
        for n in range(10):
            message = Outbound(endpoint="e", data=adt(f"C{n}"), media_type="application/hl7-v2", idempotency_key="k")
            receipt = await sender.send(message)
            assert parse(receipt.data).get("MSA-1") == "AA"
    server.close()
    assert [str(hl7.parse(text).segment("MSH")[10]) for text in received] == [f"C{n}" for n in range(10)]


async def test_a_peer_that_speaks_something_else(adt: Any) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    settings = SenderSettings(name="e", host="127.0.0.1", port=server.sockets[0].getsockname()[1], response_timeout=1)
    async with MllpSender(settings, identify=lambda: "X") as sender:
        with pytest.raises(EndpointUnavailable):
            await sender.send(
                Outbound(endpoint="e", data=adt("C1"), media_type="application/hl7-v2", idempotency_key="k")
            )
    server.close()
