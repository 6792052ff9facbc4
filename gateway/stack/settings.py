"""What the embedded default can be told, and what it tells: `StackSettings` in, `Addresses` out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Part = Literal["kafka", "postgres", "temporal"]
PARTS: tuple[Part, ...] = ("kafka", "postgres", "temporal")
NAMESPACE = "gateway"
"""The Temporal namespace of the gateway; it exists from the server's first start."""


class StackSettings(BaseModel):
    """Where the servers are or shall be. Everything may be left out: then all three run here, as child processes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Path = Field(Path(".gateway"), description="Folder of all state: data, logs, secrets, run files.")
    cache: Path | None = Field(
        None, description="Folder for downloaded and built programs; default: the user's cache folder."
    )
    kafka: str | None = Field(None, description="host:port[,host:port…] of a Kafka cluster to use instead of our own.")
    temporal: str | None = Field(None, description="host:port of a Temporal frontend to use instead of our own.")
    postgres: str | None = Field(None, description="URL of a PostgreSQL database to use instead of our own.")
    installed: bool = Field(True, description="Use programs already installed on this machine where they fit.")
    kafka_port: int | None = Field(None, ge=1, le=65535, description="Port of our Kafka; default: a free one, kept.")
    postgres_port: int | None = Field(
        None, ge=1, le=65535, description="Port of our PostgreSQL; default: a free one, kept."
    )
    temporal_port: int | None = Field(
        None, ge=1, le=65535, description="Port of our Temporal; default: a free one, kept."
    )
    temporal_ui_port: int | None = Field(
        None, ge=1, le=65535, description="Port of Temporal's web page; default: a free one, kept."
    )
    temporal_ui: bool = Field(True, description="Serve Temporal's web page.")
    kafka_heap_megabytes: int = Field(512, ge=256, description="Java heap of our Kafka, in MiB.")
    start_timeout: float = Field(90.0, gt=0, description="How long a server may take to answer, in seconds.")

    def given(self, part: Part) -> str | None:
        """The address set for a part, if any."""
        address: str | None = getattr(self, part)
        return address


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where to dial. A part that was not asked for is an empty string."""

    kafka: str = ""
    """`host:port[,host:port…]`."""
    temporal: str = ""
    """`host:port` of the frontend."""
    postgres: str = ""
    """URL with user and password: a secret; never log it (`without_password`)."""
    temporal_ui: str = ""
    """URL of Temporal's web page."""

    def as_json(self) -> dict[str, str]:
        """All addresses by name."""
        return asdict(self)

    @property
    def without_password(self) -> dict[str, str]:
        """The same, fit to be shown."""
        return {name: hide_password(value) for name, value in self.as_json().items()}


def hide_password(url: str) -> str:
    """A URL with its password replaced by three dots."""
    scheme, separator, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}:…@{host}" if at and colon else url
