"""A gateway with payers that it asks: by CORE in real time (patiently, and impatiently), and by files in a drop."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import paramiko
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.fhir import wire
from gateway.security.tokens import Tokens
from gateway.stack.sftp_drop import SftpDrop
from tests.conformance import traversal
from tests.e2e.pas import Element, request, response
from tests.e2e.payer import US, Answer, Payer
from tests.e2e.running import Gateway, running, wait_for
from tests.e2e.test_protocols import PAS, rows

PATIENT, HASTY, FILES = "patient-plan", "hasty-plan", "file-plan"
"""Asked by CORE with a long and a short deadline; asked by files. The first has a drop, too."""
X12_IDS = {PATIENT: "PATIENTPLAN", HASTY: "HASTYPLAN", FILES: "FILEPLAN"}
PER_SECOND = 5.0
FOLDERS = ("inbound", "outbound", "processing", "archive", "error")


@dataclass
class Asking:
    """The gateway and everybody it asks."""

    gateway: Gateway
    payers: dict[str, Payer]
    drops: dict[str, Path]

    def post(self, bundle: Element) -> tuple[Element, float]:
        """(answer, seconds it took); an outside suite has nothing against it."""
        sent = wire.serialize(bundle)
        begun = time.monotonic()
        answer = httpx.post(self.gateway.http + PAS, content=sent, headers=self.gateway.headers, timeout=30)
        took = time.monotonic() - begun
        assert answer.status_code == 200, answer.text
        assert list(traversal.problems(traversal.read(sent), traversal.read(answer.content))) == []
        return wire.parse(answer.content, "json"), took

    def events(self, trace: str, kind: str = "") -> list[dict[str, Any]]:
        """What happened in the case of this trace number: (type, data) of its events."""
        token = Tokens.load(f"file:{self.gateway.state / 'secrets' / 'token.key'}")("demo", "trace", (trace,))
        statement = (
            "SELECT e.event_type AS type, e.event_data AS data FROM workflow.workflow_events e "
            "WHERE e.workflow_id IN (SELECT case_id FROM workflow.case_keys WHERE kind = 'trace' AND token = $1) "
            "ORDER BY e.version"
        )
        return [dict(row) for row in rows(self.gateway, statement, token) if kind in ("", row["type"])]

    def case_id(self, trace: str) -> str:
        """The case of this trace number."""
        token = Tokens.load(f"file:{self.gateway.state / 'secrets' / 'token.key'}")("demo", "trace", (trace,))
        found = rows(self.gateway, "SELECT case_id FROM workflow.case_keys WHERE kind = 'trace' AND token = $1", token)
        return str(found[0]["case_id"])

    def decided(self, trace: str) -> list[str]:
        """Actions of the decisions on a case, in their order."""
        return [row["data"]["action"] for row in self.events(trace, "DecisionMade")]

    def leave(self, partner: str, name: str, data: bytes) -> None:
        """A file of the partner's in its drop."""
        folder = self.drops[partner] / "inbound"
        (folder / f"{name}.tmp").write_bytes(data)
        (folder / f"{name}.tmp").rename(folder / name)

    def left(self, partner: str) -> list[bytes]:
        """What lies in the partner's drop for it."""
        return [path.read_bytes() for path in sorted((self.drops[partner] / "outbound").glob("*.x12"))]


def asked_of(plan: str, *codes: str, scheme: str = "urn") -> tuple[Element, str]:
    """(request to a plan's payer, its trace number)."""
    bundle = request(scheme, *codes)
    for entry in bundle["entry"]:
        for row in entry["resource"].get("identifier", []):
            if isinstance(row, dict) and row.get("value") == "PAYER1":
                row["value"] = X12_IDS[plan]
    return bundle, str(response(bundle)["identifier"][0]["value"])


def denied_or(answer: Element) -> str:
    """The review actions of an answer, as one text."""
    return json.dumps(answer, default=str)


@contextlib.contextmanager
def asking(folder: Path) -> Iterator[Asking]:
    """Payers, their profiles and the gateway, running."""
    payers = {PATIENT: Payer(_silent), HASTY: Payer(_silent)}
    drops = {name: folder / name for name in (PATIENT, FILES)}
    with contextlib.ExitStack() as stack:
        key_path, key = drop_key(folder / "drop.key")
        keys: dict[str, dict[str, Any]] = {}
        for name, root in drops.items():
            for each in FOLDERS:
                (root / each).mkdir(parents=True)
            drop = stack.enter_context(SftpDrop(root, {"gateway": key}))
            keys[name] = {
                "name": name, "tenant": "demo", "host": "127.0.0.1", "port": drop.port, "user": "gateway",
                "host_keys": [drop.host_key], "private_key": f"file:{key_path}", "ready": "rename",
                "poll_seconds": 0.5,
            }  # fmt: skip
        for payer in payers.values():
            payer.start()
            stack.callback(payer.stop)
        partners = folder / "partners"
        partners.mkdir()
        for name in X12_IDS:
            profile = _profile(name, payers.get(name), keys.get(name))
            (partners / f"{name}.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
        gateway = stack.enter_context(running(folder / "state", {"GATEWAY_PARTNERS": str(partners)}))
        yield Asking(gateway, payers, drops)


def _profile(name: str, payer: Payer | None, drop: dict[str, Any] | None) -> dict[str, Any]:
    profile: dict[str, Any] = {
        "name": name,
        "per_second": PER_SECOND,
        "x12": {"name": name, "sender": X12_IDS[name], "receiver": US, "usage": "T"},
        "ask": {"payers": [X12_IDS[name]], "by": "core" if payer else "sftp", "trace_assigner": "9012345678"},
    }
    if payer is not None:
        profile["core"] = {
            "name": name, "url": f"http://127.0.0.1:{payer.port}/core", "sender_id": US, "receiver_id": X12_IDS[name],
            "timeout": 30 if name == PATIENT else 1.5, "repeat_seconds": 2,
        }  # fmt: skip
    return profile | ({"sftp": drop} if drop else {})


def drop_key(path: Path) -> tuple[Path, str]:
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    path.write_bytes(text)
    path.chmod(0o600)
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(text.decode("ascii")))
    return path, f"{key.get_name()} {key.get_base64()}"


def _silent(_: Any) -> None:
    return None


def scripted(*answers: Answer) -> Answer:
    """Each call is answered by the next one; the last one goes on."""
    rest = list(answers)

    def script(asked: Any) -> Any:
        return (rest.pop(0) if len(rest) > 1 else rest[0])(asked)

    return script


__all__ = ["FILES", "HASTY", "PATIENT", "PER_SECOND", "Asking", "asked_of", "asking", "scripted", "wait_for"]
