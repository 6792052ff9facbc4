"""What a caller of the CORE edge gets: golden cases, idempotency, failures of ours, hostile XML."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from gateway.core.errors import Issue, Unavailable
from tests.adapters.soap.bench import ACKNOWLEDGEMENT, ANSWER, RESULTS, Bench

CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())
DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "")) / "soap"
needs_data = pytest.mark.skipif(
    not DATA.is_dir() or not os.environ.get("GATEWAY_OUTSIDE_DATA"), reason="GATEWAY_OUTSIDE_DATA is not set"
)
GOOD = (Path(__file__).parent / "cases/realtime-raw/request.xml").read_bytes()
SOAP = {"content-type": "application/soap+xml"}


def field(body: bytes, name: str) -> str:
    element = next(etree.fromstring(body).iter(f"{{*}}{name}"), None)
    return "" if element is None else element.text or ""


def fault(body: bytes) -> str:
    root = etree.fromstring(body)
    value = next(root.iter("{*}Value", "faultcode"), None)
    return "" if value is None else (value.text or "").partition(":")[2]


def load(case: Path) -> tuple[dict[str, Any], bytes]:
    """Expectation and input of a golden case."""
    return json.loads((case / "expected.json").read_text()), next(case.glob("request.*")).read_bytes()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_golden(case: Path, bench: Bench) -> None:
    expected, data = load(case)
    async with bench.http() as http:
        response = await http.post(expected["path"], content=data, headers={"content-type": expected["contentType"]})
    assert response.status_code == expected["status"]
    if "errorCode" in expected:
        assert field(response.content, "ErrorCode") == expected["errorCode"]
    if "fault" in expected:
        assert fault(response.content) == expected["fault"]
    if "payloadType" in expected:
        assert field(response.content, "PayloadType") == expected["payloadType"]
    if expected.get("payload"):
        assert field(response.content, "Payload").encode() == ANSWER
        assert field(response.content, "PayloadType") == "X12_278_Response_005010X217"
    is_good = expected.get("errorCode") == "Success"
    assert len(bench.accept.accepted) == int(is_good)
    assert "CLINIC8" not in response.text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_answers_follow_the_served_schema(case: Path, bench: Bench) -> None:
    expected, data = load(case)
    if "errorCode" not in expected:
        return
    async with bench.http() as http:
        response = await http.post(expected["path"], content=data, headers={"content-type": expected["contentType"]})
        schema = etree.XMLSchema(etree.fromstring((await http.get("/core/core.xsd")).content))
    answer = etree.fromstring(response.content).find("{*}Body")[0]
    schema.assertValid(answer)


async def test_resend_gets_the_same_bytes_and_has_no_second_effect(bench: Bench) -> None:
    async with bench.http() as http:
        first = await http.post("/core/realtime", content=GOOD, headers=SOAP)
        again = await http.post("/core/realtime", content=GOOD, headers=SOAP)
        other = await http.post("/core/realtime", content=GOOD.replace(b"TESTTRACE1", b"TESTTRACE2"), headers=SOAP)
    assert first.content == again.content
    assert len(bench.accept.accepted) == 1
    assert field(other.content, "ErrorCode") == "PayloadIDIllegal"


async def test_no_success_without_durability(bench: Bench) -> None:
    bench.accept.failure = Unavailable()
    async with bench.http() as http:
        refused = await http.post("/core/realtime", content=GOOD, headers=SOAP)
        bench.accept.failure = None
        accepted = await http.post("/core/realtime", content=GOOD, headers=SOAP)
    assert (refused.status_code, fault(refused.content)) == (500, "Receiver")
    assert field(accepted.content, "ErrorCode") == "Success"


async def test_refused_x12_is_a_successful_exchange_that_publishes_nothing(bench: Bench) -> None:
    bench.codec.is_refusing = True
    async with bench.http() as http:
        response = await http.post("/core/realtime", content=GOOD, headers=SOAP)
    assert field(response.content, "ErrorCode") == "Success"
    assert field(response.content, "Payload").encode() == ACKNOWLEDGEMENT
    assert field(response.content, "PayloadType") == "X12_999_Response_005010X231A1"
    assert bench.accept.accepted == []


async def test_acknowledgement_when_no_decision_came(bench: Bench) -> None:
    bench.answer = None
    async with bench.http() as http:
        response = await http.post("/core/realtime", content=GOOD, headers=SOAP)
    assert field(response.content, "Payload").encode() == ACKNOWLEDGEMENT


BATCH = (Path(__file__).parent / "cases/batch-inline/request.xml").read_bytes()


PAYLOAD_ID = field(BATCH, "PayloadID").lower()


def retrieval(kind: str) -> bytes:
    """The golden batch submission as a retrieval under its PayloadID."""
    renamed = BATCH.replace(b"BatchSubmission ", kind.encode() + b" ").replace(
        b"BatchSubmission>", kind.encode() + b">"
    )
    return re.sub(rb"\s*<(PayloadLength|CheckSum|Payload)>.*?</\1>", b"", renamed)


@pytest.mark.parametrize(
    ("kind", "wanted", "name"),
    [
        ("BatchSubmissionAckRetrievalRequest", ACKNOWLEDGEMENT, "X12_999_Response_005010X231A1"),
        ("BatchResultsRetrievalRequest", RESULTS, "X12_277CA_Response_005010X214"),
    ],
)
async def test_what_is_said_of_a_batch_is_kept_for_retrieval(bench: Bench, kind: str, wanted: bytes, name: str) -> None:
    async with bench.http() as http:
        early = await http.post("/core/batch", content=retrieval(kind), headers=SOAP)
        await http.post("/core/batch", content=BATCH, headers=SOAP)
        fetched = await http.post("/core/batch", content=retrieval(kind), headers=SOAP)
        schema = etree.XMLSchema(etree.fromstring((await http.get("/core/core.xsd")).content))
    assert field(early.content, "ErrorCode") == "PayloadIDNotUnderstood"
    assert field(fetched.content, "ErrorCode") == "Success"
    assert field(fetched.content, "PayloadType") == name
    assert base64.b64decode(field(fetched.content, "Payload")) == wanted
    schema.assertValid(etree.fromstring(fetched.content).find("{*}Body")[0])


async def test_a_batch_of_which_nothing_more_is_said_has_no_results(bench: Bench) -> None:
    bench.results = None
    async with bench.http() as http:
        await http.post("/core/batch", content=BATCH, headers=SOAP)
        fetched = await http.post("/core/batch", content=retrieval("BatchResultsRetrievalRequest"), headers=SOAP)
    assert field(fetched.content, "ErrorCode") == "PayloadIDNotUnderstood"


async def test_results_are_all_that_was_said_so_far(bench: Bench) -> None:
    """Answers kept with the submission, and what was decided since; the acknowledgement stays the 999."""
    retrieve = retrieval("BatchResultsRetrievalRequest")
    async with bench.http() as http:
        await http.post("/core/batch", content=BATCH, headers=SOAP)
        bench.later["default", "clinic", PAYLOAD_ID] = ANSWER
        both = await http.post("/core/batch", content=retrieve, headers=SOAP)
        bench.client_name = "another"
        foreign = await http.post("/core/batch", content=retrieve, headers=SOAP)
        bench.client_name = "clinic"
        acknowledged = await http.post(
            "/core/batch", content=retrieval("BatchSubmissionAckRetrievalRequest"), headers=SOAP
        )
    assert base64.b64decode(field(both.content, "Payload")) == RESULTS + ANSWER
    assert field(foreign.content, "ErrorCode") == "PayloadIDNotUnderstood"
    assert base64.b64decode(field(acknowledged.content, "Payload")) == ACKNOWLEDGEMENT


async def test_what_was_decided_later_needs_no_batch_before_it(bench: Bench) -> None:
    bench.later["default", "clinic", PAYLOAD_ID] = ANSWER
    async with bench.http() as http:
        told = await http.post("/core/batch", content=retrieval("BatchResultsRetrievalRequest"), headers=SOAP)
    assert base64.b64decode(field(told.content, "Payload")) == ANSWER
    assert field(told.content, "PayloadType") == "X12_278_Response_005010X217"


async def test_a_question_is_answered_and_not_accepted(bench: Bench) -> None:
    bench.told, bench.answer, bench.results = ANSWER, None, None
    other = b"<PayloadID>11111111-1111-4111-8111-111111111111</PayloadID>"
    question = re.sub(rb"<PayloadID>.*?</PayloadID>", other, GOOD)
    async with bench.http() as http:
        told = await http.post("/core/realtime", content=question, headers=SOAP)
        await http.post("/core/batch", content=BATCH, headers=SOAP)
        fetched = await http.post("/core/batch", content=retrieval("BatchResultsRetrievalRequest"), headers=SOAP)
    assert field(told.content, "Payload").encode() == ANSWER
    assert base64.b64decode(field(fetched.content, "Payload")) == ANSWER
    assert bench.accept.accepted == []


@pytest.mark.parametrize(("path", "content"), [("realtime", GOOD), ("batch", BATCH)])
async def test_who_speaks_for_somebody_else_is_refused_and_put_on_record(
    bench: Bench, path: str, content: bytes
) -> None:
    bench.codec.issues = (Issue("unauthorized", "byte 0", "this sender may not send here"),)
    async with bench.http() as http:
        refused = await http.post(f"/core/{path}", content=content, headers=SOAP)
        assert bench.accept.accepted == []
        assert [codes for _, codes in bench.refused] == [["unauthorized"]]
        assert bench.refused[0][0].startswith(b"ISA")
        bench.codec.issues = ()
        again = await http.post(f"/core/{path}", content=content, headers=SOAP)
    assert field(refused.content, "ErrorCode") == "UnAuthorized"
    assert field(refused.content, "PayloadType") == "CoreEnvelopeError"
    assert field(again.content, "ErrorCode") == "Success"


async def test_unauthorized(bench: Bench) -> None:
    bench.client_name = None
    async with bench.http() as http:
        response = await http.post("/core/realtime", content=GOOD, headers=SOAP)
    assert field(response.content, "ErrorCode") == "UnAuthorized"
    assert bench.accept.accepted == []


async def test_too_large(bench: Bench) -> None:
    async with bench.http() as http:
        response = await http.post("/core/realtime", content=b"x" * ((16 << 20) + 1), headers=SOAP)
    assert response.status_code == 413


async def test_strict_endpoint_refuses_qualified_children(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"strict": True})
    data = (Path(__file__).parent / "cases/realtime-qualified-children/request.xml").read_bytes()
    async with bench.http() as http:
        response = await http.post("/core/realtime", content=data, headers=SOAP)
    assert field(response.content, "ErrorCode") == "Sender"


@needs_data
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("realtime_278_request.xml", "Success"),
        ("realtime_278_request_qualified_children_invalid.xml", "Success"),
        ("realtime_missing_SenderID.xml", "SenderIDRequired"),
        ("realtime_version_unknown.xml", "VersionMismatch"),
        ("batch_278_submission_inline_base64.xml", "Success"),
        ("batch_278_submission_mtom.mime", "Success"),
        ("batch_278_submission_bad_checksum.xml", "ChecksumMismatched"),
        ("batch_278_submission_bad_length.xml", "PayloadLengthIllegal"),
    ],
)
async def test_outside_messages(name: str, code: str, bench: Bench) -> None:
    data = (DATA / "constructed" / name).read_bytes()
    headers = dict(SOAP)
    if name.endswith(".mime"):
        headers["content-type"] = BytesHeaderParser().parsebytes(data)["content-type"]
        data = data.partition(b"\r\n\r\n")[2]
    async with bench.http() as http:
        response = await http.post(
            "/core/batch" if "batch" in name else "/core/realtime", content=data, headers=headers
        )
    assert field(response.content, "ErrorCode") == code
    if name.endswith(".mime"):
        inline = (DATA / "constructed/batch_278_submission_inline_base64.xml").read_bytes()
        async with bench.http() as http:
            await http.post("/core/batch", content=inline, headers=SOAP)
        assert bench.codec.seen[0].data == bench.codec.seen[1].data


HOSTILE = {
    "file-entity": '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
    "network-entity": '<!DOCTYPE r [<!ENTITY x SYSTEM "http://127.0.0.1:{port}/x">]>',
    "parameter-entity": '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1:{port}/p"> %p;]>',
    "external-dtd": '<!DOCTYPE r SYSTEM "http://127.0.0.1:{port}/x.dtd">',
    "laughs": '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
async def test_hostile_xml_opens_no_socket_and_repeats_nothing(name: str, encoding: str, bench: Bench) -> None:
    canary = socket.create_server(("127.0.0.1", 0))
    canary.setblocking(False)
    doctype = HOSTILE[name].replace("{port}", str(canary.getsockname()[1]))
    text = GOOD.decode().partition("?>")[2].replace("<SenderID>CLINIC7", "<SenderID>&x;&b;")
    declaration = f'<?xml version="1.0" encoding="{encoding}"?>'
    async with bench.http() as http:
        response = await http.post(
            "/core/realtime", content=(declaration + doctype + text).encode(encoding), headers=SOAP
        )
    assert (response.status_code, fault(response.content)) == (400, "Sender")
    assert socket.gethostname() not in response.text
    with canary, pytest.raises(BlockingIOError):
        canary.accept()


@needs_data
@pytest.mark.parametrize("path", sorted(DATA.glob("hostile/*")), ids=lambda path: path.name)
async def test_outside_hostile_files(path: Path, bench: Bench) -> None:
    async with bench.http() as http:
        response = await http.post("/core/realtime", content=path.read_bytes(), headers=SOAP)  # noqa: ASYNC240 - a small file
    assert (response.status_code, fault(response.content)) == (400, "Sender")
    assert bench.codec.seen == []


async def test_deep_and_wide_documents(bench: Bench) -> None:
    deep = b'<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body>' + b"<a>" * 5000
    wide = GOOD.replace(b"<PayloadType>", b"<PayloadType" + b"".join(b' a%d="1"' % n for n in range(50_000)) + b">")
    many = GOOD.replace(b"<PayloadType>", b"<x/>" * 5000 + b"<PayloadType>")
    async with bench.http() as http:
        for data in (deep, many):
            response = await http.post("/core/realtime", content=data, headers=SOAP)
            assert fault(response.content) == "Sender"
        assert (await http.post("/core/realtime", content=wide, headers=SOAP)).status_code in (200, 400)
