"""Settings: typed, closed, documented. Sources, strongest first: environment (GATEWAY_…), the file, defaults.

`address` is what we bind, `endpoint` is what we dial. Secrets never stand here: a setting holds a reference,
`env:NAME` or `file:PATH` (gateway/security/secrets.py).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from gateway.core.errors import ConfigurationError

DEFAULT_FILE = "gateway.yaml"


class Settings(BaseSettings):
    """Everything a deployment can set."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="forbid", frozen=True, env_ignore_empty=True)

    profile: Literal["demo", "production"] = Field(
        "production",
        description="`demo`: keys made on the spot, a static bearer token, scripted decisions. Never for PHI.",
    )
    state: Path = Field(Path(".gateway"), description="Folder of the embedded servers, their data and generated keys.")
    tenant: str = Field("demo", description="Tenant of listeners that name none.")
    kafka: str | None = Field(None, description="Kafka bootstrap servers `host:port,…`; unset: the embedded one.")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Security protocol of the Kafka cluster."
    )
    kafka_username: str | None = Field(None, description="SASL user.")
    kafka_password: str | None = Field(None, description="Secret reference of the SASL password.")
    temporal: str | None = Field(None, description="Temporal front end `host:port`; unset: the embedded one.")
    temporal_namespace: str = Field("gateway", description="Temporal namespace.")
    postgres: str | None = Field(None, description="PostgreSQL URL; unset: the embedded one.")
    topics: Path = Field(Path("topics.yaml"), description="The topic catalogue.")
    partners: Path | None = Field(None, description="Folder of partner profiles (YAML); unset: the demo partners.")
    policies: Path | None = Field(None, description="Folder of rule releases; unset: those that ship.")
    lines: Path | None = Field(
        None, description="Lines of business whose clocks differ (YAML, gateway/stages/clock.py); unset: none do."
    )
    clients: Path | None = Field(None, description="The registry of FHIR clients (YAML); unset: none is registered.")
    signing_key: str | None = Field(None, description="Secret reference of the P-384 PEM key that signs access tokens.")
    public_url: str = Field("http://127.0.0.1:8080", description="How clients reach the HTTP edge: scheme, host, port.")
    strict: bool = Field(False, description="Refuse requests that break a profile rule, for every client.")
    http: str = Field("127.0.0.1:8080", description="Address of the HTTP edge (FHIR, SOAP, REST).")
    tls_certificate: Path | None = Field(
        None, description="PEM chain of the HTTP edge; unset: plaintext (loopback, proxy)."
    )
    tls_key: Path | None = Field(None, description="PEM key of that certificate; unset: in the same file.")
    tls_authorities: Path | None = Field(None, description="PEM authorities of client certificates (mutual TLS).")
    mllp: str = Field("127.0.0.1:2575", description="Address of the MLLP listener.")
    metrics: str | None = Field(None, description="Address of the Prometheus endpoint; unset: a free port per role.")
    node_name: str = Field("node-1", pattern=r"^[A-Za-z0-9-]{1,63}$", description="Name of this machine among several.")
    edge_processes: int = Field(1, ge=1, le=64, description="Edge processes sharing the addresses (SO_REUSEPORT).")
    worker_processes: int = Field(1, ge=1, le=64, description="Workflow worker processes.")
    starter_consumers: int = Field(2, ge=1, le=64, description="Consumers of the starter per intake topic.")
    fast_lane_seconds: float = Field(12.0, gt=0, le=14, description="Longest wait of a synchronous answer (design D6).")
    notifications_per_second: float = Field(20.0, gt=0, description="Rest-hook notifications per second, all together.")
    token_key: str | None = Field(None, description="Secret reference of the root key of tokens; demo makes its own.")
    cipher_key: str | None = Field(None, description="Secret reference of the root key of encryption at rest.")
    cipher_key_id: str = Field("k1", description="Id of that key; a rotation brings a new id.")
    bearer_token: str | None = Field(None, description="Secret reference of a static bearer token; demo profile only.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    otlp_endpoint: str | None = Field(None, description="OTLP/HTTP endpoint for traces; unset: none are exported.")

    @field_validator("http", "mllp", "metrics")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            host_port(value)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the file."""
        del dotenv_settings, file_secret_settings
        file = YamlConfigSettingsSource(settings_cls, Path(os.environ.get("GATEWAY_CONFIG", DEFAULT_FILE)))
        return (init_settings, env_settings, file)


def host_port(address: str) -> tuple[str, int]:
    """`127.0.0.1:8080` → ("127.0.0.1", 8080); IPv6 in brackets. Raises ValueError."""
    host, separator, port = address.rpartition(":")
    if not separator or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"not an address host:port: {address}")
    return host.strip("[]"), int(port)


def read_settings(**given: Any) -> Settings:
    """The settings, `given` before all sources. Raises ConfigurationError that names each one that cannot be used."""
    file = os.environ.get("GATEWAY_CONFIG")
    if file and not Path(file).is_file():
        raise ConfigurationError("GATEWAY_CONFIG names no file", location=file)
    try:
        return Settings(**given)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ConfigurationError("; ".join(wrong), location="settings") from error
    except (yaml.YAMLError, SettingsError, OSError, ValueError, TypeError) as error:
        raise ConfigurationError("the settings are no YAML mapping", location=file or DEFAULT_FILE) from error
