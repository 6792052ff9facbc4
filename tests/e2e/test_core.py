"""CAQH CORE over SOAP on the running gateway: inquiries answered in real time, claims of a batch told of one by one."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import uuid
from datetime import UTC, datetime
from html import escape, unescape

import httpx
import pytest

from adapters.x12.wire import InterchangeReport, Transaction, read
from gateway import samples as messages
from gateway.cli.send import CoreAnswer, core_answer
from tests.e2e.pas import request, response, submit
from tests.e2e.running import Gateway, wait_for
from tests.e2e.test_cross_rail import inquiry_278
from tests.e2e.test_pended import tasks_of
from tests.e2e.test_protocols import command, dropped_claims

CORE = "http://www.caqh.org/SOAP/WSDL/CORERule2.2.0.xsd"


def envelope(element: str, mode: str, kind: str, payload_id: str, payload: bytes = b"") -> bytes:
    """A CORE request of the demonstration's clearinghouse."""
    batch = mode == "Batch" and payload
    fields = {
        "PayloadType": kind,
        "ProcessingMode": mode,
        "PayloadID": payload_id,
        "PayloadLength": str(len(payload)) if batch else "",
        "TimeStamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "SenderID": messages.SENDER,
        "ReceiverID": messages.RECEIVER,
        "CORERuleVersion": "2.2.0",
        "CheckSum": hashlib.sha1(payload, usedforsecurity=False).hexdigest() if batch else "",
        "Payload": base64.b64encode(payload).decode() if batch else escape(payload.decode()),
    }
    body = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items() if value)
    return (
        '<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope"><soap:Body>'
        f'<core:{element} xmlns:core="{CORE}">{body}</core:{element}></soap:Body></soap:Envelope>'
    ).encode()


def in_real_time(
    gateway: Gateway, sample: bytes, kind: str = "X12_278_Request_005010X215", payload_id: str = ""
) -> CoreAnswer:
    data = envelope("COREEnvelopeRealTimeRequest", "RealTime", kind, payload_id or str(uuid.uuid4()), sample)
    return asyncio.run(core_answer(gateway.http, data))


def field(answer: str, name: str) -> str:
    return unescape(answer.partition(f"<{name}>")[2].partition(f"</{name}>")[0])


def retrieved(gateway: Gateway, kind: str, payload_id: str, sender: str = messages.SENDER) -> str:
    """The answer to a BatchResultsRetrieval, whatever it is."""
    data = envelope("COREEnvelopeBatchResultsRetrievalRequest", "Batch", kind, payload_id)
    return httpx.post(
        f"{gateway.http}/core/batch",
        content=data.replace(messages.SENDER.encode(), sender.encode()),
        headers={"content-type": "application/soap+xml; charset=utf-8"},
        timeout=30,
    ).text


def in_batch(gateway: Gateway, element: str, kind: str, payload_id: str, payload: bytes = b"") -> tuple[str, bytes]:
    """(PayloadType, payload) of the answer."""
    answer = httpx.post(
        f"{gateway.http}/core/batch",
        content=envelope(element, "Batch", kind, payload_id, payload),
        headers={"content-type": "application/soap+xml; charset=utf-8"},
        timeout=30,
    ).text

    assert field(answer, "ErrorCode") == "Success", answer
    return field(answer, "PayloadType"), base64.b64decode(field(answer, "Payload"))


def test_an_inquiry_in_real_time_is_answered_from_the_cases_there_are(gateway: Gateway) -> None:
    number = response(submit(gateway, request("http", "X1001", "X1004")))["preAuthRef"]
    sample = messages.request_278("X1001", datetime.now(UTC))
    told = in_real_time(gateway, inquiry_278(sample, number))
    assert told.error_code == "Success"
    (transaction,) = (event for event in read([told.payload.encode()]) if isinstance(event, Transaction))
    assert transaction.report.outcome == "accepted"
    assert transaction.guide.name
    for wanted in ("*005010X215", "BHT*0007*49*", f"TRN*2*{sample.trace}*", f"HCR*A2*{number}", "HCR*A3**0V"):
        assert wanted in told.payload
    other = messages.request_278("X1001", datetime.now(UTC))
    nothing = in_real_time(gateway, inquiry_278(other, number, member="SOMEONE")).payload
    assert "AAA*N**AA*C" in nothing
    assert "HCR*" not in nothing


@pytest.mark.parametrize("mode", ["RealTime", "Batch"])
def test_what_is_decided_later_is_picked_up_by_its_payload_id(gateway: Gateway, mode: str) -> None:
    sample, payload_id, kind = (
        messages.request_278("X1005", datetime.now(UTC)),
        str(uuid.uuid4()),
        "X12_278_Request_005010X217",
    )
    if mode == "RealTime":
        told = in_real_time(gateway, sample.data, kind, payload_id)
        assert "HCR*A4" in told.payload
    else:
        in_batch(gateway, "COREEnvelopeBatchSubmission", kind, payload_id, sample.data)
    wait_for("a task for a clinician", 30, lambda: tasks_of(gateway, sample.trace))
    (task,) = tasks_of(gateway, sample.trace)
    decided = command(
        gateway, "tasks", "decide", task, "--action", "A3", "--reviewer", "dr-7", "--reason", "0V",
        "--note", "The criteria are not met.",
    )  # fmt: skip
    assert decided.returncode == 0, decided.stderr

    def picked_up() -> str:
        answer = retrieved(gateway, kind, payload_id)
        return base64.b64decode(field(answer, "Payload")).decode() if field(answer, "ErrorCode") == "Success" else ""

    wait_for("the decision at our CORE edge", 60, lambda: "HCR*A3" in picked_up())
    reports = [event for event in read([picked_up().encode()]) if isinstance(event, InterchangeReport)]
    assert [report.outcome for report in reports] == ["accepted"] * (1 if mode == "RealTime" else 2)
    assert f"TRN*2*{sample.trace}*" in picked_up()
    assert picked_up() == picked_up()
    assert field(retrieved(gateway, kind, str(uuid.uuid4())), "ErrorCode") == "PayloadIDNotUnderstood"
    assert field(retrieved(gateway, kind, payload_id, "SOMEBODY"), "ErrorCode") == "PayloadIDNotUnderstood"


@pytest.mark.parametrize("bad", [False, True], ids=["good", "one unbalanced"])
def test_each_claim_of_a_batch_is_told_of(gateway: Gateway, bad: bool) -> None:
    text, prefix = dropped_claims(3)
    if bad:
        text = text.replace(f"{prefix}0000002*60*", f"{prefix}0000002*61*")
    payload_id = str(uuid.uuid4())
    kind = "X12_837_Request_005010X222A1"
    assert in_batch(gateway, "COREEnvelopeBatchSubmission", kind, payload_id, text.encode()) == (
        "X12_BatchReceiptConfirmation",
        b"",
    )
    name, implementation = in_batch(gateway, "COREEnvelopeBatchSubmissionAckRetrievalRequest", kind, payload_id)
    assert name == "X12_999_Response_005010X231A1"
    assert (b"IK5*E*5~" if bad else b"IK5*A~") in implementation
    name, of_claims = in_batch(gateway, "COREEnvelopeBatchResultsRetrievalRequest", kind, payload_id)
    assert name == "X12_277CA_Response_005010X214"
    (report,) = (event for event in read([of_claims]) if isinstance(event, InterchangeReport))
    assert report.outcome == "accepted"
    assert of_claims.count(b"STC*A2:20:PR*") == (2 if bad else 3)
    assert of_claims.count(b"STC*A7:178*") == int(bad)
