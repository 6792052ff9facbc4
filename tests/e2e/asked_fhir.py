"""Payers that are asked over FHIR: our own gateway in the payer's place, and a hostile server; and who asks them.

Beside them the server of an EHR that is written to; what it does, `tests/e2e/ehr.py` says."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from adapters.fhir import wire
from gateway.stack.sftp_drop import SftpDrop
from tests.e2e.asked import FOLDERS, Asking, drop_key
from tests.e2e.pas import Element, request, response
from tests.e2e.running import Gateway, running, wait_for
from tests.e2e.test_pended import tasks_of
from tests.e2e.test_protocols import command, rows
from tests.gateway.security.keys import ec_key, jwk, pem

PLAN, ROUGH, SLOW, OLD, HOUSE = "fhir-plan", "rough-plan", "slow-plan", "old-plan", "clearinghouse"
"""Our gateway as payer by PAS 2.2.1; the hostile double with a short and a long deadline; our gateway by PAS 2.0.1; who
drops and fetches X12."""
PAYERS = {PLAN: ["FHIRPLAN", "PAYER01", "ACME"], ROUGH: ["ROUGHPLAN"], SLOW: ["SLOWPLAN"], OLD: ["OLDPLAN"]}
CLINIC = "clinic"
"""Who is written to. It signs us in by our key of this name."""
SENDER = "OURGATEWAY"
SCOPES = "system/Claim.crus system/Subscription.cruds system/ClaimResponse.r system/Bundle.r"


@dataclass(frozen=True)
class Call:
    """One request as the hostile payer got it."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def bundle(self) -> Element:
        return wire.parse(self.body, wire.FHIR_JSON)

    @property
    def traces(self) -> list[str]:
        return [row["value"] for row in self.bundle["entry"][0]["resource"].get("identifier", [])]


Told = tuple[int, dict[str, str], bytes]
Answer = Callable[[Call], Told | None]
"""(status, headers, body); None: the connection is cut without a word."""


@dataclass
class RoughPayer:
    """Answers as scripted, and remembers what it was asked."""

    script: Answer
    calls: list[Call] = field(default_factory=list)
    port: int = 0
    server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        payer = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                call = Call(time.monotonic(), self.command, self.path, headers, body)
                payer.calls.append(call)
                told = payer.script(call)
                with contextlib.suppress(OSError):
                    if told is None:
                        self.close_connection = True
                        return
                    status, extra, data = told
                    cut = extra.pop("x-cut", "")
                    self.send_response(status)
                    for name, value in extra.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(data) + (1000 if cut else 0)))
                    self.end_headers()
                    self.wfile.write(data)
                    self.close_connection = bool(cut)

            do_POST = do_GET = do_PUT = do_DELETE = _serve

            def log_message(self, *_: object) -> None:
                return

        ThreadingHTTPServer.allow_reuse_address = True
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def of(self, trace: str, path: str = "Claim/$submit") -> list[Call]:
        """Calls of one operation about one request."""
        return [one for one in self.calls if one.path.endswith(path) and trace.encode() in one.body]


def nothing(_: Call) -> Told:
    return 404, {}, b""


@dataclass
class FhirAsking(Asking):
    """Who asks, and the payers' side."""

    payer: Gateway
    rough: RoughPayer
    """The hostile double."""
    ehr: RoughPayer
    """The EHR of the client that posts to /fhir/r4."""

    def watch(self, plan: str) -> dict[str, Any]:
        """What we know of our subscription at a payer."""
        found = rows(self.gateway, "SELECT * FROM workflow.payer_watches WHERE partner = $1", plan)
        return dict(found[0]) if found else {"status": "none", "subscription": ""}

    def watched(self, plan: str) -> dict[str, Any]:
        """The same, once it is active."""
        wait_for("our subscription is active", 60, lambda: self.watch(plan)["status"] == "active")
        return self.watch(plan)

    def decide_at_payer(self, trace: str, action: str, *more: str) -> None:
        """A person at the payer decides."""
        wait_for("a task at the payer", 30, lambda: tasks_of(self.payer, trace))
        (task,) = tasks_of(self.payer, trace)
        done = command(self.payer, "tasks", "decide", task, "--action", action, "--reviewer", "dr-7", *more)
        assert done.returncode == 0, done.stderr

    def of_payer(self, trace: str, kind: str = "") -> list[dict[str, Any]]:
        """What happened at the payer, which is a gateway, too."""
        return Asking(self.payer, {}, {}).events(trace, kind)


def asked_of(plan: str, *codes: str, scheme: str = "urn") -> tuple[Element, str]:
    """(request to a plan's payer, its trace number)."""
    bundle = request(scheme, *codes)
    for entry in bundle["entry"]:
        for row in entry["resource"].get("identifier", []):
            if isinstance(row, dict) and row.get("value") == "PAYER1":
                row["value"] = PAYERS[plan][0]
    return bundle, str(response(bundle)["identifier"][0]["value"])


@contextlib.contextmanager
def asking_by_fhir(folder: Path) -> Iterator[FhirAsking]:
    """A payer, a hostile one, and the gateway that asks both."""
    rough, ehr = RoughPayer(nothing), RoughPayer(nothing)
    with contextlib.ExitStack() as stack:
        for double in (rough, ehr):
            double.start()
            stack.callback(double.stop)
        (folder / "payer").mkdir()
        payer = stack.enter_context(running(folder / "payer" / "state", _registered(folder)))
        token = f"file:{payer.state / 'secrets' / 'bearer.token'}"
        partners = folder / "partners"
        partners.mkdir()
        servers = {
            PLAN: {"base_url": f"{payer.http}/fhir/pas/2.2.1", "organization": SENDER, "look_seconds": 1,
                   "inquire_longest": 3600, "token_url": f"{payer.http}/fhir/token", "client_id": "asker",
                   "key_id": "k1", "key": f"file:{folder / 'asker.pem'}", "scope": SCOPES},
            OLD: {"base_url": f"{payer.http}/fhir/pas/2.0.1", "version": "2.0.1", "bearer": token,
                  "organization": f"{SENDER}-OLD", "look_seconds": 1},
            ROUGH: {"base_url": f"http://127.0.0.1:{rough.port}/fhir", "timeout": 2, "repeat_seconds": 2,
                    "organization": SENDER, "inquire_seconds": 3, "inquire_longest": 3, "look_seconds": 1},
            SLOW: {"base_url": f"http://127.0.0.1:{rough.port}/slow", "timeout": 40, "subscribe": False},
        }  # fmt: skip
        for name, server in servers.items():
            profile = {"name": name, "fhir": server, "ask": {"payers": PAYERS[name], "by": "fhir"}}
            (partners / f"{name}.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
        (partners / f"{CLINIC}.yaml").write_text(yaml.safe_dump(_clinic(folder, ehr.port)), encoding="utf-8")
        drop = _clearinghouse(folder, partners, stack)
        (folder / "asker").mkdir()
        gateway = stack.enter_context(running(folder / "asker" / "state", {"GATEWAY_PARTNERS": str(partners)}))
        yield FhirAsking(gateway, {}, {HOUSE: drop}, payer, rough, ehr)


def _registered(folder: Path) -> dict[str, str]:
    """Environment of the payer: we are a client of its, and it signs tokens."""
    key = ec_key("k1")
    (folder / "asker.pem").write_bytes(pem(key))
    (folder / "payer.pem").write_bytes(pem(ec_key("payer")))
    asker = {"id": "asker", "tenant": "demo", "jwks": {"keys": [jwk(key, "k1")]}, "scopes": SCOPES.split(),
             "organizations": [SENDER]}  # fmt: skip
    (folder / "clients.yaml").write_text(json.dumps({"clients": [asker]}), encoding="utf-8")
    return {"GATEWAY_CLIENTS": str(folder / "clients.yaml"), "GATEWAY_SIGNING_KEY": f"file:{folder / 'payer.pem'}"}


def _clinic(folder: Path, port: int) -> dict[str, Any]:
    """Who posts Claims with the demonstration's token, and is written what is decided on them."""
    (folder / "ehr.pem").write_bytes(pem(ec_key(CLINIC)))
    url = f"http://127.0.0.1:{port}"
    signs_in = {
        "token_url": f"{url}/token",
        "client_id": "gateway",
        "key_id": "k1",
        "key": f"file:{folder / 'ehr.pem'}",
    }
    return {"name": CLINIC, "ehr": {"base_url": f"{url}/fhir", "clients": ["demo"], "timeout": 2, **signs_in}}


def _clearinghouse(folder: Path, partners: Path, stack: contextlib.ExitStack) -> Path:
    """Somebody who drops 278 requests and fetches the answers."""
    root = folder / HOUSE
    for each in FOLDERS:
        (root / each).mkdir(parents=True)
    key_path, key = drop_key(folder / "drop.key")
    drop = stack.enter_context(SftpDrop(root, {"gateway": key}))
    profile = {
        "name": HOUSE,
        "x12": {"name": HOUSE, "sender": "CLEARHOUSE", "receiver": "GATEWAY", "usage": "T"},
        "sftp": {
            "name": HOUSE, "tenant": "demo", "host": "127.0.0.1", "port": drop.port, "user": "gateway",
            "host_keys": [drop.host_key], "private_key": f"file:{key_path}", "ready": "rename", "poll_seconds": 0.5,
        },
    }  # fmt: skip
    (partners / f"{HOUSE}.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    return root


def outcome(*codes: str) -> bytes:
    """An OperationOutcome with errors whose words name a person."""
    issues = [
        {"severity": "error", "code": code, "diagnostics": "JANE DOE", "expression": ["Bundle.entry[0].resource"]}
        for code in codes
    ]
    return json.dumps({"resourceType": "OperationOutcome", "issue": issues}).encode()
