"""The demonstration's clearinghouse: an SFTP drop on the loopback interface, and its partner profile."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.stack.sftp_drop import SftpDrop

NAME = "clearinghouse-a"
USER = "gateway"
FOLDERS = ("inbound", "outbound", "processing", "archive", "error")
SENDER, RECEIVER = "CLEARHOUSE", "GATEWAY"
"""ISA06 and ISA08 of the demonstration's interchanges."""


def _private_key(path: Path) -> str:
    """The gateway's key at the drop, made once, mode 600."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
    return path.read_text(encoding="ascii")


@contextmanager
def demo_drop(state: Path, tenant: str) -> Iterator[tuple[Path, Path]]:
    """Run the drop; yields (its folder, the folder of partner profiles)."""
    root, partners = state / "drop", state / "partners"
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    partners.mkdir(parents=True, exist_ok=True)
    key_path = state / "secrets" / "drop.key"
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(_private_key(key_path)))
    drop = SftpDrop(root, {USER: f"{key.get_name()} {key.get_base64()}"}).start()
    profile = {
        "name": NAME,
        "per_second": 50,
        "sftp": {
            "name": NAME,
            "tenant": tenant,
            "host": "127.0.0.1",
            "port": drop.port,
            "user": USER,
            "host_keys": [drop.host_key],
            "private_key": f"file:{key_path}",
            "ready": "rename",
            "poll_seconds": 0.5,
        },
        "x12": {"name": NAME, "sender": SENDER, "receiver": RECEIVER, "usage": "T", "line_ends": True},
    }
    (partners / f"{NAME}.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    try:
        yield root, partners
    finally:
        drop.stop()
