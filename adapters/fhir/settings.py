"""Settings of the FHIR edge, of payers' servers that we ask and of EHRs that we write to. Every field is described;
unknown ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class FhirSettings(BaseModel):
    """One FHIR listener: addresses, limits, deadlines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(
        "http://127.0.0.1:8080", pattern=r"^https?://[^/\s]+$", description="public scheme, host and port, no path"
    )
    profile: Literal["production", "demo"] = Field(
        "production", description="demo: plaintext and loopback Subscription endpoints are allowed"
    )
    hosts: tuple[str, ...] = Field(
        (), description="Host header values that are served, with port where not the default; empty: any"
    )
    private_hosts: frozenset[str] = Field(
        frozenset(), description="names of Subscription endpoints that may resolve to private addresses"
    )
    strict: bool = Field(
        default=True, description="refuse what breaks a profile rule (but from partners registered as lenient)"
    )
    strict_scopes: bool = Field(
        default=False, description="a PAS operation needs the create scope; otherwise the read scopes suffice as well"
    )
    max_body: int = Field(16 * 1024 * 1024, gt=0, description="largest body in bytes; beyond it 413")
    max_held: int = Field(
        128 * 1024 * 1024, gt=0, description="bytes of all bodies held at once; beyond it 503 (parsed, they take more)"
    )
    body_seconds: float = Field(30, gt=0, description="longest time for a client to send its body; then 408")
    answer_seconds: float = Field(
        12, gt=0, description="longest time from receipt to the answer of $submit; then pended (PAS: 15 s door to door)"
    )
    hook_seconds: float = Field(4.5, gt=0, description="longest time for a CDS Hooks answer (CRD: 5 s door to door)")
    retry_after: int = Field(10, gt=0, description="seconds that 503 asks a client to wait")
    max_connections: int = Field(500, gt=0, description="requests worked on at once; beyond it 503 at once")
    payer: str = Field("Payer", description="the payer's name on cards and in metadata")


class FhirServer(BaseModel):
    """Somebody's FHIR server that we call: where it is, and how we sign in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(
        pattern=r"^https?://[^/\s?#]+(/[^\s?#]*[^/\s?#])?$",
        description="base address (PAS: with the version's path), no slash at the end; https outside of demo",
    )
    token_url: str = Field("", description="token endpoint of its authorization server (SMART Backend Services)")
    client_id: str = Field("", description="our client id there")
    scope: str = Field("", description="scopes asked for")
    key_id: str = Field("", description="`kid` of our key, as registered there")
    key: str = Field(
        "", description="secret reference of our private key (PEM: RSA of 2048 bits, or P-384)", repr=False
    )
    bearer: str = Field("", description="secret reference of a fixed token; demo only", repr=False)
    certificate: Path | None = Field(None, description="our client certificate (PEM), where it wants mutual TLS")
    certificate_key: Path | None = Field(None, description="its private key (PEM)")
    authority: Path | None = Field(None, description="certificate authority to trust (PEM); none: the system's")
    timeout: float = Field(20.0, gt=0, le=30, description="seconds for one whole call")

    @model_validator(mode="after")
    def _signs_in(self) -> Self:
        smart = (self.token_url, self.client_id, self.key_id, self.key)
        if any(smart) and not all(smart):
            raise ValueError("SMART Backend Services need token_url, client_id, key_id and key")
        if self.bearer and self.key:
            raise ValueError("either a key or a fixed token, not both")
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("certificate and certificate_key go together")
        return self


class EhrServer(FhirServer):
    """The server of an EHR that posts Claims to /fhir/r4: what is decided on them is written there."""

    clients: tuple[str, ...] = Field(
        min_length=1, description="FHIR clients whose Claims are answered there (ids of the client registry)"
    )
    scope: str = Field("system/ClaimResponse.cu", description="scopes asked for")


class PayerServer(FhirServer):
    """A payer's PAS server that we ask, and how its later decisions reach us."""

    version: Literal["2.2.1", "2.0.1"] = Field("2.2.1", description="PAS version spoken there")
    scope: str = Field(
        "system/Claim.crus system/ClaimResponse.r system/Bundle.r system/Subscription.cruds",
        description="scopes asked for",
    )
    timeout: float = Field(60.0, gt=0, le=120, description="seconds for one whole call")
    repeat_seconds: float = Field(
        90.0, ge=0, description="pause before the same is sent again where no answer came, though it may have arrived"
    )
    organization: str = Field(
        "", description="our sending system there (ISA06): in requests, and the filter of our subscription"
    )
    payer_organization: str = Field("", description="its receiving system (ISA08) in requests")
    subscribe: bool = Field(True, description="keep a subscription there for decisions that come later")
    look_seconds: float = Field(300.0, gt=0, description="seconds between looks at our subscription there ($status)")
    heartbeat: int = Field(
        0, ge=0, description="seconds between heartbeats we ask for; three that do not come: it is made anew; 0: none"
    )
    notifier_certificates: tuple[str, ...] = Field(
        (), description="client certificates it notifies with (`sha256:<SPKI digest>`), instead of the secret header"
    )
    inquire_seconds: float = Field(
        900.0, gt=0, description="pause before a pended request is inquired about where no subscription is active"
    )
    inquire_longest: float = Field(
        21600.0, gt=0, description="longest pause, doubled from the first; the first one under an active subscription"
    )

    @model_validator(mode="after")
    def _subscribes(self) -> Self:
        if self.subscribe and not self.organization:
            raise ValueError("a subscription needs `organization`, its filter; or `subscribe: false`")
        return self
