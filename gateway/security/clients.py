"""The client registry: who may connect, per tenant, as a validated YAML document.

    clients:
      - id: ehr-a                      # client_id; unique over all tenants
        tenant: acme
        jwks_uri: https://ehr-a.example/jwks.json      # preferred; or `jwks: {keys: […]}`
        scopes: [system/Claim.crus, system/Subscription.crud]
        organizations: ["1234567893"]  # what it may subscribe for
        certificates: ["sha256:…"]     # SPKI SHA-256 (hexadecimal) of client certificates, for mTLS
        lenient: false

Credentials are public keys and fingerprints: there is no secret in this file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gateway.core.errors import ConfigurationError
from gateway.security.jwks import KeySet
from gateway.security.principal import SCOPE, Principal

FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}\Z")


class Client(BaseModel):
    """One registered client."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True)

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}$", description="client_id")
    tenant: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="the tenant it belongs to")
    name: str = Field("", description="for people")
    jwks_uri: str = Field("", description="where its public keys are; also the only `jku` it may name")
    jwks: dict[str, Any] | None = Field(None, description="its public keys, where it has no URL")
    scopes: tuple[str, ...] = Field(default=(), description="the most it may ask for")
    organizations: frozenset[str] = Field(default=frozenset(), description="sending systems it speaks for")
    certificates: frozenset[str] = Field(default=frozenset(), description="SPKI fingerprints of its certificates")
    lenient: bool = Field(default=False, description="profile rules are warnings for its messages, not errors")

    @field_validator("scopes")
    @classmethod
    def _known_scopes(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [scope for scope in scopes if not SCOPE.match(scope)]:
            raise ValueError(f"not system scopes: {', '.join(wrong)}")
        return scopes

    @field_validator("certificates")
    @classmethod
    def _fingerprints(cls, prints: frozenset[str]) -> frozenset[str]:
        if not all(FINGERPRINT.match(entry) for entry in prints):
            raise ValueError("a certificate is named by sha256: and 64 hexadecimal digits of its SPKI's digest")
        return prints

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        if self.jwks is not None and self.jwks_uri:
            raise ValueError("jwks and jwks_uri exclude each other")
        if self.jwks is not None:
            KeySet.parse(self.jwks)
        return self

    def principal(self, scopes: Iterable[str], method: str) -> Principal:
        """This client, acting under the given scopes."""
        return Principal(
            tenant=self.tenant,
            client=self.id,
            scopes=frozenset(scopes),
            organizations=self.organizations,
            lenient=self.lenient,
            method=method,
        )


@dataclass(frozen=True, slots=True)
class ClientRegistry:
    """Registered clients by id and by certificate."""

    by_id: Mapping[str, Client]
    by_certificate: Mapping[str, Client]

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> ClientRegistry:
        """Read the registry's document. Raises ConfigurationError that names the faulty entry."""
        by_id: dict[str, Client] = {}
        by_certificate: dict[str, Client] = {}
        for number, entry in enumerate(document.get("clients", ())):
            try:
                client = Client.model_validate(entry)
            except (ValidationError, ConfigurationError) as error:
                said = "; ".join(e["msg"] for e in error.errors()) if isinstance(error, ValidationError) else str(error)
                raise ConfigurationError(said, location=f"clients[{number}]") from None
            if client.id in by_id:
                raise ConfigurationError("client id given twice", location=f"clients[{number}]")
            by_id[client.id] = client
            for fingerprint in client.certificates:
                if fingerprint in by_certificate:
                    raise ConfigurationError("certificate given to two clients", location=f"clients[{number}]")
                by_certificate[fingerprint] = client
        return cls(by_id, by_certificate)

    def get(self, client_id: str) -> Client | None:
        """The client of that id."""
        return self.by_id.get(client_id)

    def shown(self, certificate: str) -> Client | None:
        """The client a verified PEM certificate belongs to: by its public key, never by a name in it."""
        return self.by_certificate.get(fingerprint(certificate))


def fingerprint(certificate: str) -> str:
    """`sha256:` and the digest of a PEM certificate's SubjectPublicKeyInfo; stable over renewals with the same key."""
    public = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return "sha256:" + digest.finalize().hex()
