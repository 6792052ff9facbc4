"""Settings of one partner's SFTP drop. Closed: an unknown name is an error."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class PgpSettings(BaseModel):
    """Files encrypted end to end, by the `gpg` program."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    private_key: str = Field(description="Secret reference of our private PGP key.")
    passphrase: str = Field("", description="Secret reference of its passphrase.")
    partner_key: str = Field(description="Secret reference of the partner's public key; two keys at a rotation.")
    inbound: bool = Field(True, description="Files of the partner are encrypted; plain ones are refused.")
    require_signature: bool = Field(True, description="Refuse files that the partner has not signed.")
    outbound: bool = Field(True, description="Encrypt what we leave.")
    sign: bool = Field(True, description="Sign what we leave.")


class SftpEndpoint(BaseModel):
    """A partner's server: where it is, how we know it, which folders, when a file is ready."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Endpoint name; source is `sftp/<name>`.")
    tenant: str = Field("default", description="Tenant of everything that arrives here.")
    host: str = Field(description="Host name or address.")
    port: int = Field(22, gt=0, le=65535, description="TCP port.")
    user: str = Field(description="User we log in as.")
    host_keys: tuple[str, ...] = Field(
        min_length=1,
        max_length=2,
        description="Pinned host keys, `ssh-ed25519 AAAA…` or `SHA256:…`; two at a rotation.",
    )
    private_key: str = Field("", description="Secret reference of our private key.")
    password: str = Field("", description="Secret reference of the password, where the partner allows no key.")
    timeout: float = Field(30.0, gt=0, le=300, description="Seconds for connecting and for each answer.")

    inbound: str = Field("inbound", description="Folder the partner drops files into; empty: we only send.")
    processing: str = Field("processing", description="Folder of claimed files, on the same file system.")
    archive: str = Field("archive", description="Folder of finished files; empty: they are deleted.")
    error: str = Field("error", description="Folder of files that cannot be read.")
    outbound: str = Field("outbound", description="Folder we leave answers and messages in.")
    create_folders: bool = Field(True, description="Create missing folders of ours (not inbound).")

    pattern: str = Field(r"[A-Za-z0-9][A-Za-z0-9._-]*", description="Names to take: a regular expression, whole name.")
    ready: Literal["rename", "stable", "marker"] = Field(
        "stable",
        description="rename: a final name is complete; stable: unchanged for `stable_seconds`; marker: a file beside.",
    )
    marker_suffixes: tuple[str, ...] = Field((".done", ".ok", ".trg"), description="Suffixes of marker files.")
    stable_seconds: float = Field(10.0, ge=0, description="Seconds a file's size and time must stay the same.")
    incomplete_seconds: float = Field(3600.0, gt=0, description="Seconds after which an incomplete file is an error.")

    poll_seconds: float = Field(5.0, gt=0, description="Seconds between looks into the folder.")
    longest_pause: float = Field(300.0, gt=0, description="Longest seconds between attempts to connect.")
    lease_seconds: float = Field(900.0, gt=0, description="Seconds after which another poller may take over a claim.")
    concurrency: int = Field(4, ge=1, le=8, description="Files in work at once (OpenSSH allows 10 channels).")
    maximum_bytes: int = Field(100 << 20, gt=0, description="Largest file in bytes, as sent and unpacked.")
    maximum_ratio: int = Field(100, gt=1, description="Largest factor a compressed file may grow by.")
    allow_packed: bool = Field(True, description="Unpack .gz and .zip files.")
    pgp: PgpSettings | None = Field(None, description="PGP, where the partner wants it.")

    @field_validator("pattern")
    @classmethod
    def _is_expression(cls, value: str) -> str:
        re.compile(value)
        return value

    @model_validator(mode="after")
    def _has_credential(self) -> SftpEndpoint:
        if bool(self.private_key) == bool(self.password):
            raise ValueError("exactly one of private_key and password must be given")
        return self
