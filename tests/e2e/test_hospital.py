"""A hospital that is two files of configuration: its own codes, decisions on its line, answers on ours, and no message
of it lost or said twice."""

from __future__ import annotations

import asyncio
import os
import signal
import socketserver
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.hl7.wire import Message, parse
from adapters.hl7.wire.mllp import Frame, Framer, frame
from gateway.app import App
from gateway.cli.send import mllp_exchange
from gateway.core.settings import Settings
from tests.e2e.running import Gateway, running, wait_for
from tests.e2e.test_protocols import command, rows

PROFILE = """
name: north
per_second: 50
hl7:
  name: north-his
  applications: ["NORTHHIS|NORTH"]
  application_answer: own-connection
hl7_mapping: mappings/north.yaml
mllp: {{name: north, host: 127.0.0.1, port: {port}, response_timeout: 5}}
"""
MAPPING = """
codes: {AdministrativeSex: {W: F}}
segments: {ZIN-Coverage: {1: {to: identifier+, as: plain-identifier}}}
"""


class Hospital(socketserver.ThreadingTCPServer):
    """Its receiving side: keeps what comes and accepts it, the first `refusals` times not."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.refusals = 0
        super().__init__(("127.0.0.1", 0), _Reader)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def about(self, control_id: str) -> list[Message]:
        """What came in answer to a message."""
        return [message for message in list(self.received) if message.get("MSA-2") == control_id]

    def answer(self, message: Message) -> bytes:
        """CA, where an accept acknowledgement is asked; else AA."""
        if self.refusals:
            self.refusals -= 1
            return b""
        self.received.append(message)
        if message.header.get(15) == "NE" or message.first("MSA") is None:
            return b""
        code = "CA" if message.header.get(15) else "AA"
        text = f"MSH|^~\\&|NORTHHIS|NORTH|GW|PAYER|20260301||ACK|{uuid.uuid4().hex[:10]}|P|2.5.1\r"
        return frame(f"{text}MSA|{code}|{message.control_id}\r".encode())


class _Reader(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        framer = Framer()
        while data := self.request.recv(65536):
            for event in framer.feed(data):
                if not isinstance(event, Frame):
                    continue
                assert isinstance(self.server, Hospital)
                if answer := self.server.answer(parse(event.payload)):
                    self.request.sendall(answer)


@pytest.fixture(scope="module")
def hospital() -> Iterator[Hospital]:
    with Hospital() as found:
        yield found
        found.shutdown()


@pytest.fixture(scope="module")
def north(tmp_path_factory: pytest.TempPathFactory, hospital: Hospital) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("partners")
    (folder / "mappings").mkdir()
    (folder / "north.yaml").write_text(PROFILE.format(port=hospital.port), "utf-8")
    (folder / "mappings" / "north.yaml").write_text(MAPPING, "utf-8")
    environment = {"GATEWAY_PARTNERS": str(folder), "GATEWAY_FAST_LANE_SECONDS": "8"}
    with running(tmp_path_factory.mktemp("gateway") / "state", environment) as found:
        yield found


def request(control: str, service: str, ask: str = "", *, event: str = "I08", referral: str = "") -> bytes:
    """RQA for one service; `ask` is MSH-15 and MSH-16."""
    lines = (
        f"MSH|^~\\&|NORTHHIS|NORTH|GW|PAYER|20260301101500||RQA^{event}^RQA_I08|{control}|P|2.5.1|||{ask or '|'}",
        f"RF1|P^Pending^HL70283|R^Routine^HL70280|MED||O|{referral or 'R' + control}^NORTH|20260301",
        "PRD|RP^Referring^HL70286|LOPEZ^EVA^M^^DR|||||1234567893^NPI",
        f"PID|1||P{control}^^^NORTH^MR||SAMPLE^PERSON||19700101|W",
        "IN1|1|PPO|ACME|Acme||||||||||||||||||||||||||||||||M7",
        "ZIN|OWN-7",
        f"PR1|1||{service}^Service^C4||20260305",
        "AUT|PPO^Plan^L|ACME^Acme^L|Acme|20260305|20260405|||2",
    )
    return "".join(f"{line}\r" for line in lines).encode()


def exchange(gateway: Gateway, data: bytes) -> Message:
    """The first answer on the line."""
    return parse(asyncio.run(mllp_exchange(gateway.mllp, data)).replace("\n", "\r").encode())


def control() -> str:
    return uuid.uuid4().hex[:16]


def test_a_sender_that_waits_gets_the_decision_on_its_line(north: Gateway, hospital: Hospital) -> None:
    number = control()
    answer = exchange(north, request(number, "X1001"))
    assert (answer.code, answer.get("MSA-1"), answer.get("MSA-2")) == ("RPA", "AA", number)
    assert answer.get("RF1-1") == "A"
    assert answer.get("AUT-6")
    assert exchange(north, request(number, "X1001")).raw == answer.raw, "the same bytes get the same answer"
    changed = exchange(north, request(number, "X1001", event="I09", referral=f"R{number}").replace(b"X1001", b"X1004"))
    assert changed.get("ERR-3") == "205", "the same control id with another body"
    time.sleep(3)
    assert hospital.about(number) == [], "who heard it on the line does not hear it again"


def test_an_update_on_the_line_gets_its_own_decision(north: Gateway) -> None:
    first, second = control(), control()
    assert exchange(north, request(first, "X1001")).get("RF1-1") == "A"
    changed = exchange(north, request(second, "X1004", event="I09", referral=f"R{first}"))
    assert (changed.get("MSA-2"), changed.get("RF1-1")) == (second, "R")


def test_a_persons_decision_follows_on_our_connection(north: Gateway, hospital: Hospital) -> None:
    number = control()
    answer = exchange(north, request(number, "X1005"))
    assert (answer.code, answer.get("RF1-1")) == ("RPA", "P")
    open_tasks = "SELECT task_id FROM workflow.human_tasks WHERE state = 'open' ORDER BY created_at DESC LIMIT 1"
    wait_for("a task", 60, lambda: rows(north, open_tasks))
    task = str(rows(north, open_tasks)[0]["task_id"])
    decided = command(north, "tasks", "decide", task, "--action", "A1", "--reviewer", "dr-7")
    assert decided.returncode == 0, decided.stderr
    wait_for("the RPA", 60, lambda: hospital.about(number))
    (told,) = hospital.about(number)
    assert (told.code, told.get("RF1-1")) == ("RPA", "A")


def test_both_acknowledgements_asked_the_decision_comes_by_delivery_once(north: Gateway, hospital: Hospital) -> None:
    number = control()
    answer = exchange(north, request(number, "X1001", "AL|AL"))
    assert (answer.code, answer.get("MSA-1")) == ("ACK", "CA")
    wait_for("the RPA", 60, lambda: hospital.about(number))
    time.sleep(7)
    (told,) = hospital.about(number)
    assert (told.code, told.get("MSA-1"), told.get("RF1-1")) == ("RPA", "AA", "A")


def test_the_second_phase_of_an_admission_comes_on_our_connection(north: Gateway, hospital: Hospital) -> None:
    number = control()
    lines = (
        f"MSH|^~\\&|NORTHHIS|NORTH|GW|PAYER|20260301101500||ADT^A01^ADT_A01|{number}|P|2.5.1|||AL|AL",
        f"PID|1||P{number}^^^NORTH^MR||SAMPLE^PERSON||19700101|W",
        "PV1|1|I",
    )
    data = "".join(f"{line}\r" for line in lines).encode()
    assert exchange(north, data).get("MSA-1") == "CA"
    wait_for("the application acknowledgement", 60, lambda: hospital.about(number))
    exchange(north, data)
    time.sleep(3)
    (told,) = hospital.about(number)
    assert (told.code, told.get("MSA-1")) == ("ACK", "AA")


def test_a_cancellation_ends_the_pended_case(north: Gateway) -> None:
    first, second = control(), control()
    assert exchange(north, request(first, "X1005")).get("RF1-1") == "P"
    cancelled = exchange(north, request(second, "X1005", event="I11", referral=f"R{first}"))
    assert (cancelled.trigger, cancelled.get("MSA-1"), cancelled.get("RF1-1")) == ("I11", "AA", "A")
    ended = "SELECT status, action FROM workflow.workflow_instances ORDER BY created_at DESC LIMIT 1"
    wait_for("the end of the case", 60, lambda: rows(north, ended) == [{"status": "completed", "action": "C"}])


def test_a_restarted_edge_gives_the_same_answer_and_starts_nothing(north: Gateway) -> None:
    number = control()
    answer = exchange(north, request(number, "X1001"))
    cases = "SELECT count(*) AS n FROM workflow.workflow_instances"
    before = rows(north, cases)
    killed = north.pids()["edge"]
    os.kill(killed, signal.SIGKILL)
    wait_for("the edge is back", 120, lambda: north.pids().get("edge") not in (killed, None) and north.is_ready("edge"))
    assert exchange(north, request(number, "X1004")).get("ERR-3") == "205", "another body under its control id"
    wait_for("the conflict is parked with an alert", 60, lambda: '"reason": "conflict"' in north.logs())
    assert exchange(north, request(number, "X1001")).raw == answer.raw
    assert rows(north, cases) == before


def test_its_own_codes_and_segments_are_mapped(north: Gateway) -> None:
    number = control()
    exchange(north, request(number, "X1001"))
    newest = (
        "SELECT body FROM workflow.message_journal WHERE type = 'authorization.request' "
        "AND received_at > now() - interval '1 minute' ORDER BY received_at DESC LIMIT 1"
    )
    wait_for("the journal", 60, lambda: number.encode() in b"".join(opened(north, row) for row in rows(north, newest)))
    body = opened(north, rows(north, newest)[0])
    assert b'"gender":"female"' in body
    assert b'"OWN-7"' in body


def opened(gateway: Gateway, row: dict[str, object]) -> bytes:
    """The body of a journaled message."""
    settings = Settings(cipher_key=f"file:{gateway.state / 'secrets' / 'cipher.key'}")
    sealed = row["body"]
    assert isinstance(sealed, bytes)
    return App(settings).cipher.decrypt("demo", sealed)
