"""TLS: who may connect, and that a certificate speaks only for the names it is bound to."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from adapters.hl7.inbound import Listener
from adapters.hl7.settings import ListenerSettings, TlsSettings
from gateway.core.errors import ConfigurationError
from gateway.testing import MemoryAccept

NOW = dt.datetime.now(dt.UTC)


@dataclass
class Authority:
    """A certificate authority that lives for one test session."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        self.certificate = (
            self._builder(subject, subject, self.key.public_key(), 10)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.path = self._write(f"{self.name}.pem", self.certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, issuer: x509.Name, key: Any, days: int) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - dt.timedelta(days=30))
            .not_valid_after(NOW + dt.timedelta(days=days))
        )

    def _write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def issue(self, name: str, *alternatives: str, days: int = 10) -> TlsSettings:
        """A certificate for a name; `days` below 0 is expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, self.certificate.subject, key.public_key(), days)
        names = x509.SubjectAlternativeName([x509.DNSName(other) for other in (alternatives or (name,))])
        certificate = builder.add_extension(names, critical=False).sign(self.key, hashes.SHA256())
        stem = f"{self.name}-{name}-{days}"
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return TlsSettings(
            certificate=self._write(f"{stem}.pem", certificate.public_bytes(serialization.Encoding.PEM)),
            key=self._write(f"{stem}.key", secret),
            authorities=self.path,
            server_name="gateway.test",
        )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "trusted")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


PARTNERS = [
    {"name": "hosp", "applications": ["EHR|HOSP"], "certificate_names": ["ehr.hosp.test"]},
    {"name": "lab", "applications": ["LAB|*"], "certificate_names": ["lab.test"]},
]


@pytest.fixture
async def secured(listen: Any, authority: Authority) -> tuple[Listener, MemoryAccept]:
    accept = MemoryAccept()
    tls = authority.issue("gateway.test")
    return await listen(accept, tls=tls, partners=PARTNERS, unknown_partners=False, handshake_timeout=0.5), accept


@pytest.fixture
def dial(connect: Any) -> Callable[..., Any]:
    async def open_with(listener: Listener, tls: TlsSettings) -> Any:
        return await connect(listener, ssl=tls.sender_context(), server_hostname="gateway.test")

    return open_with


async def silent(client: Any, message: bytes) -> bool:
    """Whether the listener gave nothing back: TLS 1.3 tells a refused client only when it reads."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await client.send(message)
        return await client.answer() == b""
    return True


async def test_a_bound_certificate_speaks_for_its_own_names_only(
    secured: Any, dial: Any, adt: Any, authority: Authority, seen: Any
) -> None:
    listener, accept = secured
    client = await dial(listener, authority.issue("ehr.hosp.test"))
    assert await client.ask(adt("C1")) == "AA C1"
    assert await client.ask(adt("C2", sender="LAB|X")) == "AR C2"
    assert await client.ask(adt("C3", sender="EHR|OTHER")) == "AR C3"
    assert [reception.client for _, reception in accept.accepted] == ["hosp"]
    assert [fields["reason"] for fields in seen.named("hl7.security")] == ["sender-not-bound"] * 2


async def test_alternative_names_count(secured: Any, dial: Any, adt: Any, authority: Authority) -> None:
    client = await dial(secured[0], authority.issue("anything", "other.test", "lab.test"))
    assert await client.ask(adt("C1", sender="LAB|X")) == "AA C1"


@pytest.mark.parametrize("case", ["wrong name", "expired", "unknown authority", "none"])
async def test_others_are_refused_with_a_security_event(
    case: str, secured: Any, dial: Any, adt: Any, authority: Authority, stranger: Authority, seen: Any
) -> None:
    listener, accept = secured
    tls = {
        "wrong name": authority.issue("evil.test"),
        "expired": authority.issue("ehr.hosp.test", days=-1),
        "unknown authority": stranger.issue("ehr.hosp.test").model_copy(update={"authorities": authority.path}),
        "none": TlsSettings(authorities=authority.path),
    }[case]
    client = None
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        client = await dial(listener, tls)
    assert client is None or await silent(client, adt("C1"))
    assert accept.accepted == []
    (event,) = seen.named("hl7.security")
    assert event["reason"] == ("certificate-not-bound" if case == "wrong name" else "tls")
    if case == "expired":
        assert event["error"] == "certificate-10"  # X509_V_ERR_CERT_HAS_EXPIRED
    assert "hosp" not in str(seen.events)
    good = await dial(listener, authority.issue("ehr.hosp.test"))
    assert await good.ask(adt("C2")) == "AA C2"


async def test_a_plain_client_is_refused(secured: Any, connect: Any, adt: Any, seen: Any) -> None:
    listener, accept = secured
    client = await connect(listener)
    await client.send(adt("C1"))
    data = await asyncio.wait_for(client.reader.read(), 10)
    assert b"MSA" not in data
    assert accept.accepted == []
    assert seen.named("hl7.security")[0]["reason"] == "tls"


async def test_a_client_that_never_shakes_hands_is_cut(secured: Any, connect: Any, seen: Any) -> None:
    client = await connect(secured[0])
    assert await client.closed()
    assert seen.named("hl7.security")[0]["reason"] == "tls"


async def test_stopping_answers_over_tls_first(secured: Any, dial: Any, adt: Any, authority: Authority) -> None:
    listener, _ = secured
    client = await dial(listener, authority.issue("ehr.hosp.test"))
    assert await client.ask(adt("C1")) == "AA C1"
    await client.send(adt("C2"))
    stopping = asyncio.create_task(listener.stop())
    with contextlib.suppress(ConnectionError):
        await client.code()
    await asyncio.wait_for(stopping, 5)
    assert listener.connections == 0


def test_settings_refuse_what_is_not_safe(authority: Authority, tmp_path: Path) -> None:
    base = {"name": "x", "tenant": "t", "unknown_partners": True}
    for wrong in (
        {"host": "0.0.0.0"},
        {"unknown_partners": False},
        {"partners": [PARTNERS[0]]},
        {"partners": [{"name": "a", "applications": ["EHR"]}]},
        {"partners": [{"name": "a", "applications": ["*|*"]}] * 2},
        {"partners": [{"name": "a", "applications": ["*|*"], "charset": "klingon"}]},
        {"partners": [{"name": "a", "applications": ["*|*"], "charset": "utf-16"}]},
        {"partners": [{"name": "a", "applications": ["*|*"], "charset": "cp037"}]},
        {"partners": [{"name": "a", "applications": ["*|*"], "charset": "base64"}]},
        {"unknown": 1},
    ):
        with pytest.raises(ValidationError):
            ListenerSettings(**{**base, **wrong})
    assert ListenerSettings(**base, host="0.0.0.0", plain=True).plain
    with pytest.raises(ConfigurationError):
        TlsSettings().listener_context()
    with pytest.raises(ConfigurationError):
        TlsSettings(certificate=tmp_path / "none.pem").listener_context()
