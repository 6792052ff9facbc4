"""A pended request: the client is told now, a person decides later, and the client's subscription hears of it once."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from gateway import samples
from gateway.security.tokens import Tokens
from tests.e2e.running import Gateway, wait_for
from tests.e2e.test_protocols import action, command, rows, submit
from tests.mappings.fhir import samples as samples_of

TOPIC = "http://hl7.org/fhir/us/davinci-pas/SubscriptionTopic/PASSubscriptionTopic"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"


class Receiver:
    """A rest-hook endpoint."""

    def __init__(self) -> None:
        received: list[tuple[dict[str, str], dict[str, Any]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received.append(({name.lower(): value for name, value in self.headers.items()}, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.received = received
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_port}/hook"

    def kinds(self) -> list[str]:
        """Types of the notifications received."""
        return [_parameter(bundle, "type") for _, bundle in self.received]

    def counts(self, kind: str) -> list[str]:
        """How many events the notifications of a type told of, in their order."""
        wanted = [bundle for _, bundle in self.received if _parameter(bundle, "type") == kind]
        return [_parameter(bundle, "events-since-subscription-start") for bundle in wanted]


def _parameter(bundle: dict[str, Any], name: str) -> str:
    status = bundle["entry"][0]["resource"]
    row = next(row for row in status["parameter"] if row["name"] == name)
    return str(row.get("valueCode") or row.get("valueString"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def subscription(url: str, heartbeat: int = 0) -> dict[str, Any]:
    beat = [{"url": f"{BACKPORT}/backport-heartbeat-period", "valueUnsignedInt": heartbeat}]
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "decisions on pended requests",
        "criteria": TOPIC,
        "_criteria": {
            "extension": [{"url": f"{BACKPORT}/backport-filter-criteria", "valueString": "org-identifier=PROVIDERID"}]
        },
        "channel": {
            **({"extension": beat} if heartbeat else {}),
            "type": "rest-hook",
            "endpoint": url,
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": f"{BACKPORT}/backport-payload-content", "valueCode": "full-resource"}]},
            "header": ["Authorization: Bearer receiver-token"],
        },
    }


@contextlib.contextmanager
def subscribed(gateway: Gateway, receiver: Receiver, heartbeat: int = 0) -> Iterator[str]:
    """An active subscription; its address."""
    base = f"{gateway.http}/fhir/pas/2.2.1"
    wanted = subscription(receiver.url, heartbeat)
    made = httpx.post(f"{base}/Subscription", json=wanted, headers=gateway.headers, timeout=30)
    assert made.status_code == 201, made.text
    assert made.json()["status"] == "requested"
    where = f"{base}/Subscription/{made.json()['id']}"
    try:
        wait_for(
            "the subscription is active",
            60,
            lambda: httpx.get(where, headers=gateway.headers).json()["status"] == "active",
        )
        assert receiver.kinds() == ["handshake"]
        yield where
    finally:
        assert httpx.delete(where, headers=gateway.headers).status_code == 204


def tasks_of(gateway: Gateway, trace: str) -> list[str]:
    """Open tasks of the case with this trace number."""
    token = Tokens.load(f"file:{gateway.state / 'secrets' / 'token.key'}")("demo", "trace", (trace,))
    statement = (
        "SELECT DISTINCT t.task_id FROM workflow.human_tasks t JOIN workflow.case_keys k ON k.case_id = t.case_id "
        "WHERE t.state = 'open' AND k.token = $1"
    )
    return [str(row["task_id"]) for row in rows(gateway, statement, token)]


def test_a_clinicians_decision_reaches_the_subscriber_once(gateway: Gateway, receiver: Receiver) -> None:
    with subscribed(gateway, receiver) as where:
        sample = samples.pas_submit("X1005", datetime.now(UTC))
        assert action(submit(gateway, sample.data)) == "A4"
        wait_for("a task for a clinician", 30, lambda: tasks_of(gateway, sample.trace))
        (task,) = tasks_of(gateway, sample.trace)
        refused = command(gateway, "tasks", "decide", task, "--action", "A3", "--reviewer", "dr-7")
        assert refused.returncode == 1
        assert "denial needs" in refused.stderr
        decided = command(
            gateway, "tasks", "decide", task, "--action", "A3", "--reviewer", "dr-7", "--reason", "0V",
            "--note", "The criteria are not met.",
        )  # fmt: skip
        assert decided.returncode == 0, decided.stderr
        wait_for("the notification", 60, lambda: receiver.kinds().count("event-notification") >= 1)
        headers, bundle = receiver.received[-1]
        assert headers["authorization"] == "Bearer receiver-token"
        response = bundle["entry"][1]["resource"]["entry"][0]["resource"]
        assert response["resourceType"] == "ClaimResponse"
        assert '"A3"' in json.dumps(response)
        # What was told can be read again: by the address of its focus, and as the first event of the subscription.
        focus = bundle["entry"][1]["fullUrl"].partition("/fhir/")[2]
        read = httpx.get(f"{gateway.http}/fhir/{focus}", headers=gateway.headers, timeout=30)
        assert read.json()["entry"] == bundle["entry"][1]["resource"]["entry"]
        events = httpx.get(f"{where}/$events", headers=gateway.headers, timeout=30).json()
        assert _parameter(events, "type") == "query-event"
        assert events["entry"][1:] == bundle["entry"][1:]
        again = command(gateway, "tasks", "decide", task, "--action", "A1", "--reviewer", "dr-7")
        assert again.returncode == 1
        assert receiver.kinds().count("event-notification") == 1


def attachment(tracking: str, member: str, *, final: bool) -> dict[str, Any]:
    """A CDex `$submit-attachment` with the operative report that X1009 asks for."""
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": samples_of.concept("http://loinc.org", "11504-8"),
        "content": [{"attachment": {"contentType": "text/plain", "data": "cmVwb3J0"}}],
    }
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "TrackingId", "valueIdentifier": {"value": tracking}},
            {"name": "AttachTo", "valueCode": "preauthorization"},
            {"name": "PayerId", "valueIdentifier": {"value": "PAYER1"}},
            {"name": "OrganizationId", "valueIdentifier": {"value": "1111111112"}},
            {"name": "ProviderId", "valueIdentifier": {"value": "2222222228"}},
            {"name": "MemberId", "valueIdentifier": {"value": member}},
            {
                "name": "Attachment",
                "part": [
                    {"name": "LineItem", "valueString": "1"},
                    {"name": "Code", "valueCodeableConcept": samples_of.concept("http://loinc.org", "11504-8")},
                    {"name": "Content", "resource": document},
                ],
            },
            {"name": "Final", "valueBoolean": final},
        ],
    }


def test_a_report_that_was_asked_for_brings_the_decision_and_heartbeats_count_it(
    gateway: Gateway, receiver: Receiver
) -> None:
    with subscribed(gateway, receiver, heartbeat=5) as where:
        wait_for("a heartbeat", 60, lambda: receiver.counts("heartbeat") == ["0"])
        answer = submit(gateway, samples.pas_submit("X1009", datetime.now(UTC)).data).json()
        asked = [e["resource"] for e in answer["entry"] if e["resource"]["resourceType"] == "CommunicationRequest"]
        (tracking,) = [row["identifier"][0]["value"] for row in asked]
        path = f"{gateway.http}/fhir/pas/2.2.1/$submit-attachment"
        unknown = httpx.post(path, json=attachment("NOBODY", "MEMBER77", final=True), headers=gateway.headers)
        assert unknown.status_code == 422
        sent = httpx.post(path, json=attachment(tracking, "MEMBER77", final=True), headers=gateway.headers, timeout=30)
        assert sent.status_code == 200, sent.text
        wait_for("the decision", 60, lambda: receiver.kinds().count("event-notification") == 1)
        told = next(b for _, b in receiver.received if _parameter(b, "type") == "event-notification")
        assert '"A1"' in json.dumps(told["entry"][1]["resource"]["entry"][0]["resource"])
        wait_for("a heartbeat that counts it", 60, lambda: "1" in receiver.counts("heartbeat"))
        assert receiver.counts("heartbeat") == sorted(receiver.counts("heartbeat"))
        assert receiver.counts("event-notification") == ["1"]
        status = httpx.get(f"{where}/$status", headers=gateway.headers).json()
        assert _parameter(status, "events-since-subscription-start") == "1"
        assert _parameter(status, "status") == "active"
    beats = len(receiver.counts("heartbeat"))
    time.sleep(7)
    assert len(receiver.counts("heartbeat")) == beats


def test_an_extended_clock_is_told_with_its_reason_and_counted(gateway: Gateway, receiver: Receiver) -> None:
    with subscribed(gateway, receiver):
        sample = samples.pas_submit("X1005", datetime.now(UTC))
        assert action(submit(gateway, sample.data)) == "A4"
        wait_for("a task for a clinician", 30, lambda: tasks_of(gateway, sample.trace))
        (task,) = tasks_of(gateway, sample.trace)
        wish = ("case", "extend", task, "--requested-by", "plan", "--reason", "The study is outstanding.", "--by", "d7")
        extended = command(gateway, *wish, "--days", "10", "--json")
        assert extended.returncode == 0, extended.stderr
        due = json.loads(extended.stdout)["dueAt"]
        # The sample is urgent (UM06 U): seventy-two hours, and ten days more.
        hours = (datetime.fromisoformat(due) - datetime.now(UTC)).total_seconds() / 3600
        assert 72 + 239 < hours < 72 + 240
        wait_for("word of it", 60, lambda: receiver.kinds().count("event-notification") == 1)
        response = receiver.received[-1][1]["entry"][1]["resource"]["entry"][0]["resource"]
        assert '"A4"' in json.dumps(response)
        assert response["processNote"][-1]["text"].endswith(f"extended to {due[:10]}. The study is outstanding.")
        shown = json.loads(command(gateway, "tasks", "list", "--json").stdout)
        (row,) = [row for row in shown if row["task_id"] == task]
        assert row["due_at"][:10] > due[:10]
        refused = command(gateway, *wish, "--days", "5")
        assert (refused.returncode, "at most 4 more" in refused.stderr) == (1, True)
        decided = command(gateway, "tasks", "decide", task, "--action", "A1", "--reviewer", "dr-7")
        assert decided.returncode == 0, decided.stderr
        wait_for("the decision", 60, lambda: receiver.kinds().count("event-notification") == 2)
        assert receiver.counts("event-notification") == ["1", "2"]
        late = command(gateway, *wish)
        assert (late.returncode, "its clock has stopped" in late.stderr) == (1, True)
    (found,) = json.loads(command(gateway, "metrics", "pas", "--year", str(datetime.now(UTC).year), "--json").stdout)
    assert found["counts"]["extended_approved"] == 1
    assert found["counts"]["expedited_late"] == 0
