"""Settings of MLLP listeners, senders and the partners behind them. All times are seconds, all sizes bytes."""

from __future__ import annotations

import codecs
import ipaddress
import ssl
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, IPvAnyNetwork, model_validator

from adapters.hl7.wire.reply import Action
from gateway.core.errors import ConfigurationError


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _known_codec(name: str) -> str:
    """The codec's own name. Delimiters must be the bytes everybody knows: no UTF-16, no EBCDIC."""
    try:
        if _PROBE.encode("ascii").decode(name) != _PROBE:
            raise ValueError("a character set in which MSH|^~\\& is written in ASCII bytes")
        return codecs.lookup(name).name
    except LookupError as error:
        raise ValueError("not a character set this Python knows") from error


_PROBE = "MSH|^~\\&"


Charset = Annotated[str, AfterValidator(_known_codec)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
ReplyCode = Literal["AA", "AE", "AR", "CA", "CE", "CR", ""]


class TlsSettings(_Closed):
    """Certificates of one side. TLS 1.2 at least."""

    certificate: Path | None = Field(None, description="PEM file with our certificate chain; a listener needs it")
    key: Path | None = Field(None, description="PEM file with its private key")
    authorities: Path | None = Field(
        None, description="PEM file of authorities trusted for the other side; on a listener it demands certificates"
    )
    server_name: str = Field("", description="name expected in the server's certificate, when it is not the host")

    def listener_context(self) -> ssl.SSLContext:
        """The server side. Raises ConfigurationError when files are missing or do not fit."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self.certificate is None:
            raise ConfigurationError("a TLS listener needs a certificate", location="tls.certificate")
        self._load(context)
        if self.authorities is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def sender_context(self) -> ssl.SSLContext:
        """The client side; without `authorities` the system's are trusted."""
        context = ssl.create_default_context()
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
            if self.authorities is not None:
                context.load_verify_locations(self.authorities)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"certificate files: {type(error).__name__}", location="tls") from error


class PartnerSettings(_Closed):
    """One sending organization: how it proves who it is, and its habits."""

    name: str = Field(description="partner id: part of the message source and of duplicate keys", min_length=1)
    applications: tuple[str, ...] = Field(
        description="allowed senders as `MSH-3|MSH-4` (first components); `*` stands for any", min_length=1
    )
    certificate_names: frozenset[str] = Field(
        frozenset(), description="subject CN or alternative names of its client certificate; empty: not bound to one"
    )
    networks: tuple[IPvAnyNetwork, ...] = Field(
        (), description="addresses it may connect from (CIDR); empty: from anywhere"
    )
    charset: Charset | None = Field(None, description="character set where MSH-18 is empty; default UTF-8")
    duplicates: Literal["control-id", "control-id-and-time", "off"] = Field(
        "control-id", description="what makes a resend: MSH-10, MSH-10 with MSH-7 (ids reused daily), or no check"
    )
    on_failure: Literal["answer", "silent"] = Field(
        "answer", description="when we cannot store: answer AE/CE, or stay silent so that the sender repeats"
    )
    application_answer: Literal["same-connection", "own-connection"] = Field(
        "same-connection", description="enhanced mode, both acknowledgements asked: where the second phase goes"
    )

    @model_validator(mode="after")
    def _applications_have_two_parts(self) -> PartnerSettings:
        if any(application.count("|") != 1 for application in self.applications):
            raise ValueError("applications are written MSH-3|MSH-4")
        return self

    def allows(self, application: str, facility: str) -> bool:
        """Whether a message with these first components of MSH-3 and MSH-4 may come from this partner."""
        for allowed in self.applications:
            wanted, _, place = allowed.partition("|")
            if wanted in ("*", application) and place in ("*", facility):
                return True
        return False


class ListenerSettings(_Closed):
    """One MLLP port."""

    name: str = Field(description="listener id, part of the message source", min_length=1)
    tenant: str = Field(description="tenant all its messages belong to", min_length=1)
    host: str = Field("127.0.0.1", description="address to bind")
    port: int = Field(2575, description="port to bind; 0 takes a free one", ge=0, le=65_535)
    tls: TlsSettings | None = Field(None, description="TLS; required unless the address is loopback or `plain` is set")
    plain: bool = Field(False, description="allow an address beyond loopback without TLS (VPN, stunnel in front)")
    partners: tuple[PartnerSettings, ...] = Field((), description="who may send")
    unknown_partners: bool = Field(False, description="accept senders that match no partner (trial set-ups)")
    networks: tuple[IPvAnyNetwork, ...] = Field((), description="addresses that may connect (CIDR); empty: any")
    release: Literal[1, 2] = Field(1, description="MLLP release; 2 adds commit acknowledgements 0x06 and 0x15")
    reuse_port: bool = Field(False, description="SO_REUSEPORT: several processes share the port, one loop per core")
    backlog: int = Field(128, description="connections the kernel queues", ge=1)
    connections: int = Field(1_000, description="open connections at most", ge=1)
    connections_per_peer: int = Field(100, description="open connections of one address at most", ge=1)
    pipeline: int = Field(
        64,
        description="messages of one connection being worked on; beyond it reading stops until one is answered",
        ge=1,
    )
    in_flight: int = Field(
        4_096, description="messages of all connections being worked on; beyond it new ones get AR (busy)", ge=1
    )
    buffered: int = Field(
        256 * 1024 * 1024,
        description="bytes of all connections' frames, unfinished or being worked on; beyond it AR",
        ge=65_536,
    )
    frame: int = Field(16 * 1024 * 1024, description="bytes of one message", ge=1_024)
    accept_timeout: Seconds = Field(
        4.5, description="deadline for the durable store; then AE/CE, so that a sender hears within 5 s"
    )
    idle_timeout: Seconds = Field(3_600, description="silence after which a connection closes; feeds idle at night")
    frame_timeout: Seconds = Field(30, description="time one frame may take from its first to its last byte")
    slow_peer_timeout: Seconds = Field(30, description="time a peer may leave its answers unread")
    handshake_timeout: Seconds = Field(10, description="time a TLS handshake may take")
    drain_timeout: Seconds = Field(20, description="time to finish what was received when stopping")
    keepalive: tuple[int, int, int] = Field(
        (60, 10, 6), description="TCP keepalive: idle seconds, interval seconds, probes"
    )
    duplicate_window: Seconds = Field(600, description="how long a control id is remembered at the edge")
    duplicate_entries: int = Field(50_000, description="control ids remembered at most (about 1 kB each)", ge=1)

    @model_validator(mode="after")
    def _safe(self) -> ListenerSettings:
        if self.tls is None and not self.plain and not _loopback(self.host):
            raise ValueError("an address beyond loopback needs tls, or plain: true behind a VPN")
        if not self.partners and not self.unknown_partners:
            raise ValueError("no partners: name them, or set unknown_partners")
        names = [partner.name for partner in self.partners]
        if len(set(names)) != len(names):
            raise ValueError("partner names must differ")
        mutual = self.tls is not None and self.tls.authorities is not None
        if not mutual and any(partner.certificate_names for partner in self.partners):
            raise ValueError("certificate_names need tls.authorities")
        return self


class SenderSettings(_Closed):
    """One endpoint we send to over MLLP."""

    name: str = Field(description="endpoint id", min_length=1)
    host: str = Field(description="host to dial")
    port: int = Field(description="port to dial", ge=1, le=65_535)
    tls: TlsSettings | None = Field(None, description="TLS; None sends in plain")
    release: Literal[1, 2] = Field(1, description="MLLP release; 2 waits for the commit acknowledgement first")
    connect_timeout: Seconds = Field(10, description="time to connect, handshake included")
    response_timeout: Seconds = Field(30, description="time to wait for each answer; then the connection is closed")
    persistent: bool = Field(True, description="keep the connection between messages")
    match_control_id: bool = Field(
        True, description="an answer counts only when MSA-2 names the message; False for receivers that leave it empty"
    )
    wait_for_application: bool = Field(
        True, description="enhanced mode: wait on this connection for the application answer too, if MSH-16 asks for it"
    )
    actions: dict[ReplyCode, Action] = Field(
        default_factory=dict,
        description="what MSA-1 means here: complete, fail or retry; default AA CA complete, AE CE fail, others retry",
    )
    charset: Charset | None = Field(None, description="character set of answers where MSH-18 is empty")
    frame: int = Field(16 * 1024 * 1024, description="bytes of one answer", ge=1_024)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
