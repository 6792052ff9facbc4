"""A payer that is asked by us: a CAQH CORE server and an SFTP drop of the test, both scripted and both recording."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from adapters.soap.wire import KINDS, parse_envelope, read_message, render_answer, render_fault
from adapters.soap.wire.envelope import Fault
from adapters.x12.wire import Envelope, Loop, Transaction, guide, read, write
from adapters.x12.wire.acknowledge import AckPolicy, acknowledge
from adapters.x12.wire.reader import Options
from adapters.x12.wire.reports import InterchangeReport
from adapters.x12.wire.tree import Segment
from gateway.core.ports import Decision, ItemDecision
from mappings.decision_to_x12_278 import response
from mappings.x12_codec import DerivedNumbers
from mappings.x12_trace import freeze

US = "GATEWAY"
"""Our identifier in interchanges and envelopes."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One request as it came over the line."""

    at: float
    payload_id: str
    data: bytes
    tree: Loop
    interchange: str
    sender: str
    receiver: str
    traces: tuple[str, ...]

    @property
    def event(self) -> Loop:
        return next(self.tree.descendants("2000E"))


Answer = Callable[[Submission], bytes | int | Fault | None]
"""X12, an HTTP status, a SOAP fault, or None: no answer at all."""


def submission(data: bytes, payload_id: str = "") -> Submission:
    """Read a 278 request; it must follow its guide."""
    found = [event for event in read([data]) if isinstance(event, Transaction)]
    assert found
    assert found[0].report.outcome == "accepted", found[0].report.as_json()
    event = next(found[0].tree.descendants("2000E"))
    return Submission(
        at=time.monotonic(),
        payload_id=payload_id,
        data=data,
        tree=found[0].tree,
        interchange=found[0].header.control_number,
        sender=found[0].header.sender,
        receiver=found[0].header.receiver,
        traces=tuple(segment.get(2) for segment in event.segments("TRN")),
    )


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """A 275 as it came over the line."""

    payload_id: str
    payload_type: str
    data: bytes

    @property
    def documents(self) -> list[tuple[str, str, dict[str, Any]]]:
        """TRN01, TRN02 and the FHIR resource of each document; it must follow its guide."""
        return documents(self.data)


def documents(data: bytes) -> list[tuple[str, str, dict[str, Any]]]:
    """TRN01, TRN02 and the FHIR resource of each document of a 275."""
    (one,) = [event for event in read([data]) if isinstance(event, Transaction)]
    assert one.report.outcome == "accepted", one.report.as_json()
    found = []
    for loop in one.tree.loops("2000A"):
        segment = next(loop.loops("2110B")).segment("BDS")
        assert segment is not None
        found.append((loop.get("TRN", 1), loop.get("TRN", 2), json.loads(base64.b64decode(segment.binary()))))
    return found


def control_number_of(data: bytes) -> str:
    """ISA13."""
    return next(event.header.control_number for event in read([data]) if isinstance(event, Transaction))


_numbers = iter(range(1, 1_000_000))
_first = int(time.time()) % 900_000_000
"""Control numbers of this payer: never twice, in whatever run of the tests."""


def envelope(asked: Submission) -> Envelope:
    number = _first + next(_numbers)
    return Envelope(
        sender=asked.receiver,
        receiver=asked.sender,
        time=datetime.now(UTC),
        interchange_number=number,
        group_number=number,
        usage="T",
        line_ends=True,
    )


def decided(asked: Submission, *actions: str, number: str = "AUTH77", **more: Any) -> bytes:
    """A 278 response: one action for each line, the last one for all that follow; or `errors`."""
    lines = list(asked.event.loops("2000F"))
    items = [
        ItemDecision(
            sequence=at,
            action=actions[min(at, len(actions)) - 1],
            reasons=("0V",) if actions[min(at, len(actions)) - 1] == "A3" else (),
            authorization_number=number if actions[min(at, len(actions)) - 1] in ("A1", "A2", "A6") else "",
        )
        for at in range(1, max(len(lines), 1) + 1)
        if actions
    ]
    kinds = {item.action for item in items}
    decision = Decision(
        case_id="c",
        version=1,
        decided_at=datetime.now(UTC),
        action=next(iter(kinds)) if len(kinds) == 1 else "A2" if kinds else "",
        items=items,
        authorization_number=number if kinds & {"A1", "A2", "A6"} else "",
        administrative_reference="REF1" if "A4" in kinds else "",
        **more,
    )
    return write(guide("278_response"), response(freeze(asked.tree), decision), envelope(asked))


def wanting(asked: Submission, loinc: str, number: str) -> bytes:
    """A pended 278 response that asks for a kind of document (HI LOI) under a control number (PWK06)."""
    (tree,) = [one.tree for one in read([decided(asked, "A4")]) if isinstance(one, Transaction)]
    event = next(tree.descendants("2000E"))
    own = [item for item in event.items if isinstance(item, Segment)]
    told = next((item for item in own if item.id == "HI"), None)
    parts = [tuple(told.components(at)) for at in range(1, len(told.fields))] if told is not None else []
    added = [
        Segment.build("HI", *parts, ("LOI", loinc)),
        Segment.build("PWK", "OZ", "EL", "", "", "AC", number),
        *(item for item in own if item.id == "MSG"),
    ]
    kept = [item for item in own if item.id not in ("HI", "MSG")]
    event.items[:] = [*kept, *added, *(item for item in event.items if not isinstance(item, Segment))]
    return write(guide("278_response"), tree, envelope(asked))


def rejected(asked: Submission, code: str, follow_up: str, location: str = "2000A") -> bytes:
    """A 278 response with one AAA."""
    return decided(asked, errors=[{"code": code, "followUp": follow_up, "location": location}])


def acknowledged(asked: Submission | bytes) -> bytes:
    """A 999 that accepts."""
    return _acknowledged(asked, lambda report: None)


def refused_999(asked: Submission | bytes) -> bytes:
    """A 999 that refuses the transaction set."""
    return _acknowledged(asked, lambda report: report.groups[0].transactions[0].codes.append("5"))


def refused_ta1(asked: Submission | bytes) -> bytes:
    """A TA1 that refuses the interchange."""
    return _acknowledged(asked, lambda report: report.refuse("022", "ISA", 1, 13))


def _acknowledged(asked: Submission | bytes, spoil: Callable[[InterchangeReport], object]) -> bytes:
    data = asked if isinstance(asked, bytes) else asked.data
    (report,) = [one for one in read([data], Options(mode="judge")) if isinstance(one, InterchangeReport)]
    spoil(report)
    report.settle()
    told = acknowledge(report, AckPolicy(), DerivedNumbers(_first + next(_numbers)), datetime.now(UTC))
    assert told is not None
    return told


@dataclass
class Payer:
    """The CORE server. `script` answers; what came twice with one PayloadID is answered as the first time."""

    script: Answer
    submissions: list[Submission] = field(default_factory=list)
    on_documents: Callable[[Delivered], bytes | int | Fault | None] = lambda one: acknowledged(one.data)
    """Answers 275s."""
    delivered: list[Delivered] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    """When each HTTP request arrived, whatever became of it."""
    answered: dict[str, bytes] = field(default_factory=dict)
    port: int = 0
    server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen, on the port of the last time."""
        payer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                payer.calls.append(time.monotonic())
                body = self.rfile.read(int(self.headers["content-length"]))
                payer.answer(self, body)

            def log_message(self, *_: object) -> None:
                return

        ThreadingHTTPServer.allow_reuse_address = True
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Refuse connections."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Read the envelope, do what the script says."""
        message = read_message(parse_envelope(body).body)
        assert message.payload is not None
        known = self.answered.get(message.payload_id)
        told: bytes | int | Fault | None
        if b"ST*275*" in message.payload:
            sent = Delivered(
                payload_id=message.payload_id, payload_type=message.fields["PayloadType"], data=message.payload
            )
            self.delivered.append(sent)
            told = self.on_documents(sent)
        else:
            asked = submission(message.payload, message.payload_id)
            self.submissions.append(asked)
            told = known or self.script(asked)
        if told is None:
            handler.close_connection = True
            return
        if isinstance(told, bytes):
            if told.endswith((b"~", b"~\n")):
                self.answered[message.payload_id] = told
            self._send(handler, 200, _core(message.payload_id, told))
        elif isinstance(told, Fault):
            self._send(handler, 500, render_fault(told))
        else:
            self._send(handler, told, b"try later")

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        try:
            handler.send_response(status)
            handler.send_header("content-type", "application/soap+xml; charset=utf-8")
            handler.send_header("content-length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        except OSError:
            return  # the caller has given up

    def of(self, trace: str) -> list[Submission]:
        """Submissions of one request, by its TRN02."""
        return [one for one in self.submissions if trace in one.traces]


def _core(payload_id: str, data: bytes) -> bytes:
    kind = next(kind for kind in KINDS.values() if kind.mode == "RealTime")
    fields = {
        "PayloadType": "X12_278_Response_005010X217E1_2",
        "ProcessingMode": "RealTime",
        "PayloadID": payload_id,
        "TimeStamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "SenderID": "PLAN",
        "ReceiverID": US,
        "CORERuleVersion": "2.2.0",
        "ErrorCode": "Success",
        "ErrorMessage": "None",
    }
    return render_answer(kind, fields, data)
