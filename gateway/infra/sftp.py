"""One SFTP session: the only door to paramiko for clients. Blocking; callers run it in threads.

Host keys are pinned and compared before any credential is sent; no known-hosts file, agent or key discovery is
consulted. Reads prefetch at most 128 requests: fewer make paramiko sleep between them (5 instead of 100 MB/s), an
unlimited number hangs some servers on large files.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

import paramiko

from gateway.core.errors import ConfigurationError, EndpointRefused, EndpointUnavailable, LimitExceeded

PREFETCH = 128
CHUNK = 1 << 18
"""Bytes handed to paramiko per write."""

Move = Literal["moved", "missing", "exists"]


class HostKeyRefused(EndpointRefused):
    """The server's host key is not one of the pinned ones."""

    code = "host-key"


class MissingFile(EndpointRefused):
    """A folder or file on the SFTP server does not exist."""

    code = "missing-file"


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpTarget:
    """Where to connect and as whom. Holds secrets: never log it."""

    host: str
    port: int
    user: str
    host_keys: tuple[str, ...]
    """Pinned: `ssh-ed25519 AAAA…` or `SHA256:…`; two at a rotation."""
    private_key: str | None = field(default=None, repr=False)
    """OpenSSH or PEM text."""
    password: str | None = field(default=None, repr=False)
    timeout: float = 30.0
    """Seconds for connecting and for each answer of the server."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A regular file in a folder: `size` in bytes, `modified` in seconds since 1970 by the server's clock."""

    name: str
    size: int
    modified: float


@contextmanager
def _border() -> Iterator[None]:
    """No foreign exception crosses: connection trouble may pass, a missing permission will not."""
    try:
        yield
    except paramiko.AuthenticationException as error:
        # paramiko raises the same when the connection is lost or silent while it authenticates.
        if "EOF" in str(error) or "timeout" in str(error):
            raise EndpointUnavailable("the SFTP server went away while we logged in") from error
        raise EndpointRefused("the SFTP server refused our credentials") from error
    except (paramiko.SSHException, EOFError, TimeoutError, ConnectionError, socket.gaierror) as error:
        raise EndpointUnavailable(f"the SFTP server does not answer: {type(error).__name__}") from error
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise EndpointRefused("the SFTP server denies the access") from error
        if error.errno == errno.ENOENT:
            raise MissingFile from error
        raise EndpointUnavailable(f"the SFTP server failed: {type(error).__name__}") from error


class SftpSession:
    """A connection with one SFTP channel. Not for concurrent use; `another()` opens one more channel."""

    def __init__(self, transport: paramiko.Transport, timeout: float) -> None:
        self._transport = transport
        self._timeout = timeout
        with _border():
            client = paramiko.SFTPClient.from_transport(transport)
            if client is None:
                raise EndpointUnavailable("the SFTP server opens no channel")
            client.get_channel().settimeout(timeout)  # type: ignore[union-attr]  # open since the line above
        self._client = client

    @classmethod
    def open(cls, target: SftpTarget) -> SftpSession:
        """Connect, compare the host key, authenticate.

        Raises EndpointUnavailable, EndpointRefused, HostKeyRefused, ConfigurationError (unusable private key).
        """
        key = _private_key(target.private_key) if target.private_key else None
        with _border():
            connection = socket.create_connection((target.host, target.port), timeout=target.timeout)
            transport = paramiko.Transport(connection)
            transport.banner_timeout = transport.auth_timeout = transport.channel_timeout = target.timeout
        try:
            with _border():
                _prefer(transport, target.host_keys)
                _start(transport, target.timeout)
                _verify(transport.get_remote_server_key(), target.host_keys)
                if key is not None:
                    transport.auth_publickey(target.user, key)
                else:
                    transport.auth_password(target.user, target.password or "")
                transport.set_keepalive(15)
            return cls(transport, target.timeout)
        except BaseException:
            transport.close()
            raise

    def another(self) -> SftpSession:
        """One more channel on the same connection."""
        return SftpSession(self._transport, self._timeout)

    def close_channel(self) -> None:
        """Close this channel only; one whose connection was cut is closed."""
        with suppress(EOFError, OSError, paramiko.SSHException):
            self._client.close()

    def close(self) -> None:
        """Close the connection with all its channels; one that was cut is closed."""
        with suppress(EOFError, OSError, paramiko.SSHException):
            self._transport.close()

    def listing(self, folder: str) -> list[RemoteFile]:
        """The regular files of a folder."""
        with _border():
            entries = self._client.listdir_attr(folder)
        return [
            RemoteFile(entry.filename, entry.st_size or 0, float(entry.st_mtime or 0))
            for entry in entries
            if entry.st_mode is not None and stat.S_ISREG(entry.st_mode)
        ]

    def size(self, path: str) -> int | None:
        """Bytes of a file; None when it does not exist."""
        with _border():
            try:
                return self._client.stat(path).st_size or 0
            except FileNotFoundError:
                return None

    def read(self, path: str, *, limit: int) -> bytes:
        """The whole file, checked against its size before and after. Raises LimitExceeded above `limit` bytes."""
        with _border(), self._client.open(path, "rb") as file:
            size = file.stat().st_size or 0
            if size > limit:
                raise LimitExceeded(f"the file has {size} bytes, more than {limit}")
            file.prefetch(size, PREFETCH)
            data = file.read(size)
            if len(data) != size or file.stat().st_size != size:
                raise EndpointUnavailable("the file changed while it was read")
        return bytes(data)

    def ends(self, path: str, *, head: int, tail: int) -> tuple[bytes, bytes]:
        """The first `head` and the last `tail` bytes of a file."""
        with _border(), self._client.open(path, "rb") as file:
            size = file.stat().st_size or 0
            first = file.read(head)
            file.seek(max(0, size - tail))
            return bytes(first), bytes(file.read(tail))

    def move(self, source: str, target: str) -> Move:
        """Rename without overwriting: the file system decides who wins a race."""
        with _border():
            try:
                self._client.rename(source, target)
            except FileNotFoundError:
                return "missing"
            except OSError:
                if self.size(target) is not None:
                    return "exists"
                if self.size(source) is None:
                    return "missing"
                raise
        return "moved"

    def remove(self, path: str) -> None:
        """Delete a file; a missing one is fine."""
        with _border():
            try:
                self._client.remove(path)
            except FileNotFoundError:
                pass

    def make_folder(self, path: str) -> None:
        """Create a folder unless it is there."""
        with _border():
            try:
                self._client.stat(path)
            except FileNotFoundError:
                self._client.mkdir(path, 0o700)

    def deposit(self, folder: str, name: str, data: bytes) -> bool:
        """Leave a complete file under its final name: temporary name, size check, rename without overwriting.

        The temporary name depends on the content: a repetition resumes where an earlier attempt was cut, and two
        attempts at once write the same bytes. Returns False when the same file was already there.
        Raises EndpointRefused when another file has that name.
        """
        final = f"{folder}/{name}"
        known = self._compare(final, data)
        if known is not None:
            return self._same(known)
        temporary = f"{folder}/.{name}.{hashlib.sha256(data).hexdigest()[:16]}.tmp"
        if self._write(temporary, data) and self.move(temporary, final) == "moved":
            return True
        known = self._compare(final, data)
        if known is None:
            raise EndpointUnavailable("the uploaded file vanished before it had its name")
        self.remove(temporary)
        return self._same(known)

    @staticmethod
    def _same(is_same: bool) -> bool:
        if not is_same:
            raise EndpointRefused("another file with this name is already there")
        return False

    def _compare(self, path: str, data: bytes) -> bool | None:
        """None: no such file; else whether it holds exactly `data`."""
        size = self.size(path)
        if size is None:
            return None
        try:
            return size == len(data) and self.read(path, limit=len(data)) == data
        except EndpointRefused:
            return None

    def _write(self, path: str, data: bytes) -> bool:
        """Bring the temporary file to its full length; False when another attempt moved it away meanwhile.

        It is never truncated: what is there is a beginning of the same bytes, written by us before or right now.
        """
        with _border():
            try:
                self._client.open(path, "xwb").close()
            except OSError as error:
                if self.size(path) is None:
                    if error.errno is not None:  # no such folder, no permission
                        raise
                    return False  # it was there a moment ago
            try:
                with self._client.open(path, "r+b") as file:
                    start = min(file.stat().st_size or 0, len(data))
                    file.seek(start)
                    file.set_pipelined(True)
                    for position in range(start, len(data), CHUNK):
                        file.write(data[position : position + CHUNK])
                    written = file.stat().st_size
            except FileNotFoundError:
                return False
        if written != len(data):
            self.remove(path)
            raise EndpointUnavailable(f"the server holds {written} of {len(data)} bytes")
        return True


def _start(transport: paramiko.Transport, timeout: float) -> None:
    """Exchange keys. Raises HostKeyRefused when the server has no host key of a pinned type."""
    try:
        transport.start_client(timeout=timeout)
    except paramiko.ssh_exception.IncompatiblePeer as error:
        if "host key" in str(error):
            raise HostKeyRefused from error
        raise EndpointRefused("the SFTP server and we have no algorithm in common") from error


def fingerprint(key: paramiko.PKey) -> str:
    """`SHA256:…` as OpenSSH prints it."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def _verify(key: paramiko.PKey, pinned: tuple[str, ...]) -> None:
    """Raises HostKeyRefused unless the key or its fingerprint is pinned."""
    shown = {fingerprint(key), f"{key.get_name()} {key.get_base64()}"}
    if not shown.intersection(" ".join(pin.split()[:2]) for pin in pinned):
        raise HostKeyRefused


def _prefer(transport: paramiko.Transport, pinned: tuple[str, ...]) -> None:
    """Ask for host keys of the pinned types only, so that a server with several shows the one that is pinned."""
    types = {pin.split()[0] for pin in pinned if not pin.startswith("SHA256:")}
    if not types or any(pin.startswith("SHA256:") for pin in pinned):
        return
    if "ssh-rsa" in types:
        types |= {"rsa-sha2-512", "rsa-sha2-256"}
    options = transport.get_security_options()
    offered = tuple(kind for kind in options.key_types if kind in types)
    if not offered:
        raise ConfigurationError("none of the pinned host keys has a type that is still accepted")
    options.key_types = offered


def _private_key(text: str) -> paramiko.PKey:
    kinds: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
    for kind in kinds:
        try:
            return kind.from_private_key(io.StringIO(text))
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise ConfigurationError("the private key is not a readable Ed25519, ECDSA or RSA key without passphrase")
