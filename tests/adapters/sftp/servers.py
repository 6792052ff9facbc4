"""Two SFTP servers for the same tests: the project's own drop, and OpenSSH (installed, or unpacked into a cache)."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.stack.ports import Ports
from gateway.stack.sftp_drop import SftpDrop

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "authorization-gateway" / "openssh"
ACCOUNT = "daemon"
"""An ordinary account that is not locked (nss-systemd says that `nobody` is)."""
USER = "partner"


def new_key() -> tuple[str, str]:
    """(private key text, public key line)."""
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    loaded = paramiko.Ed25519Key.from_private_key(io.StringIO(text))
    return text, f"{loaded.get_name()} {loaded.get_base64()}"


@dataclass
class Server:
    """A running server: `folder` on disk is what its user sees as his start folder."""

    folder: Path
    port: int
    user: str
    host_key: str
    private_key: str
    drop: SftpDrop | None = None
    process: subprocess.Popen[bytes] | None = None
    base: str = ""
    """Prefix of remote paths: OpenSSH without chroot shows the real file system."""

    def stop(self) -> None:
        if self.drop is not None:
            self.drop.stop()
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)


def start_drop(folder: Path) -> Server:
    private, public = new_key()
    drop = SftpDrop(folder, {USER: public}).start()
    return Server(folder, drop.port, USER, drop.host_key, private, drop=drop)


def find_sshd() -> tuple[Path, dict[str, str]]:
    """The daemon and the environment it needs. Unpacks Debian's package into the cache where none is installed."""
    for place in (shutil.which("sshd"), "/usr/sbin/sshd"):
        if place and Path(place).exists():
            return Path(place), {}
    daemon = CACHE / "root/usr/sbin/sshd"
    if not daemon.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            pytest.skip("no sshd is installed and there is no apt-get to fetch it")
        CACHE.mkdir(parents=True, exist_ok=True)
        fetched = subprocess.run(
            ["apt-get", "download", "openssh-server", "libwrap0"],
            cwd=CACHE,
            capture_output=True,
            timeout=50,
            check=False,
        )
        if fetched.returncode != 0:
            pytest.skip("no sshd is installed and its package cannot be fetched")
        for package in CACHE.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(CACHE / "root")], check=True, capture_output=True)
    libraries = ":".join(str(path) for path in (CACHE / "root").glob("*/lib/*-linux-gnu"))
    return daemon, {"LD_LIBRARY_PATH": f"{libraries}:{os.environ.get('LD_LIBRARY_PATH', '')}"}


def start_openssh(folder: Path) -> Server:
    daemon, environment = find_sshd()
    keys = folder.parent / f"{folder.name}-sshd"
    keys.mkdir()
    host_private, host_public = new_key()
    private, public = new_key()
    (keys / "host").write_text(host_private)
    (keys / "authorized").write_text(public + "\n")
    ports = Ports(keys / "ports.json")  # claimed until sshd has it
    port = ports.choose("sshd")
    (keys / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/authorized\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nMaxSessions 10\n"
        f"Subsystem sftp internal-sftp\nForceCommand internal-sftp -d {folder}\n"
    )
    for path in (keys / "host", keys / "authorized"):
        path.chmod(0o600)
    user, prefix = os.environ.get("USER", "root"), ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    if os.geteuid() == 0:
        # Root would need the privilege-separation account; an ordinary one serves only itself.
        user, prefix = ACCOUNT, [*prefix, "--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups"]
        for path in (folder, *folder.rglob("*"), keys, *keys.iterdir()):
            shutil.chown(path, ACCOUNT, ACCOUNT)
        _make_reachable(folder)
        _make_reachable(daemon)
    process = subprocess.Popen(
        [*prefix, str(daemon), "-D", "-e", "-f", str(keys / "config")],
        env={**os.environ, **environment},
        stderr=(keys / "log").open("wb"),
    )
    _wait(port, process, keys / "log")
    ports.release()
    return Server(folder, port, user, host_public, private, process=process, base=f"{folder}/")


def _make_reachable(path: Path) -> None:
    """pytest's folders are for one user only: let the other account pass through."""
    for parent in path.parents:
        if parent != Path("/") and parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o011)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(400):
        if process.poll() is not None:
            pytest.skip(f"sshd does not run here: {log.read_text()[-300:]}")
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as probe:
                if probe.recv(4) == b"SSH-":
                    return
        except OSError:
            time.sleep(0.05)
    process.kill()
    pytest.skip("sshd does not answer")
