"""Settings of the FHIR edge. Every field is described; unknown fields are refused."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
