"""A pended request: the client is told now, a person decides later, and the client's subscription hears of it once."""

from __future__ import annotations

import json
import threading
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


def _parameter(bundle: dict[str, Any], name: str) -> str:
    status = bundle["entry"][0]["resource"]
    return next(str(row.get("valueCode")) for row in status["parameter"] if row["name"] == name)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def subscription(url: str) -> dict[str, Any]:
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "decisions on pended requests",
        "criteria": TOPIC,
        "_criteria": {
            "extension": [{"url": f"{BACKPORT}/backport-filter-criteria", "valueString": "org-identifier=PROVIDERID"}]
        },
        "channel": {
            "type": "rest-hook",
            "endpoint": url,
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": f"{BACKPORT}/backport-payload-content", "valueCode": "full-resource"}]},
            "header": ["Authorization: Bearer receiver-token"],
        },
    }


def tasks_of(gateway: Gateway, trace: str) -> list[str]:
    """Open tasks of the case with this trace number."""
    token = Tokens.load(f"file:{gateway.state / 'secrets' / 'token.key'}")("demo", "trace", (trace,))
    statement = (
        "SELECT DISTINCT t.task_id FROM workflow.human_tasks t JOIN workflow.case_keys k ON k.case_id = t.case_id "
        "WHERE t.state = 'open' AND k.token = $1"
    )
    return [str(row["task_id"]) for row in rows(gateway, statement, token)]


def test_a_clinicians_decision_reaches_the_subscriber_once(gateway: Gateway, receiver: Receiver) -> None:
    base = f"{gateway.http}/fhir/pas/2.2.1"
    made = httpx.post(f"{base}/Subscription", json=subscription(receiver.url), headers=gateway.headers, timeout=30)
    assert made.status_code == 201, made.text
    assert made.json()["status"] == "requested"
    where = f"{base}/Subscription/{made.json()['id']}"
    wait_for(
        "the subscription is active",
        60,
        lambda: httpx.get(where, headers=gateway.headers).json()["status"] == "active",
    )
    assert receiver.kinds() == ["handshake"]
    try:
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
        again = command(gateway, "tasks", "decide", task, "--action", "A1", "--reviewer", "dr-7")
        assert again.returncode == 1
        assert receiver.kinds().count("event-notification") == 1
    finally:
        assert httpx.delete(where, headers=gateway.headers).status_code == 204
