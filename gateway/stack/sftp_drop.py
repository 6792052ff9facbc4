"""A small SFTP server for demonstrations and tests: one folder, key authentication, loopback only.

Not for production: there OpenSSH's `internal-sftp` in a chroot does this better. Its rename refuses to overwrite, as
SFTP version 3 wants; every path is resolved inside the folder, links out of it are refused.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED, OPEN_SUCCEEDED
from paramiko.sftp import SFTP_FAILURE, SFTP_OK, SFTP_PERMISSION_DENIED


class SftpDrop:
    """A running drop: `with SftpDrop(folder, {"user": "ssh-ed25519 AAAA…"}) as drop: drop.port`."""

    def __init__(
        self, folder: Path, users: Mapping[str, str], *, host_key: paramiko.PKey | None = None, port: int = 0
    ) -> None:
        """`users`: name → public key line. Without `host_key` a new one is made; `port` 0 takes a free one."""
        self._root = folder.resolve()
        self._users = {name: " ".join(key.split()[:2]) for name, key in users.items()}
        self._key = host_key or paramiko.ECDSAKey.generate()
        self._listener = socket.create_server(("127.0.0.1", port))
        self._transports: set[paramiko.Transport] = set()
        self._thread = threading.Thread(target=self._serve, name="sftp-drop", daemon=True)
        self._closing = False

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return int(self._listener.getsockname()[1])

    @property
    def host_key(self) -> str:
        """The line to pin: type and base64."""
        return f"{self._key.get_name()} {self._key.get_base64()}"

    def start(self) -> SftpDrop:
        """Accept connections in a thread."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the listener and every connection."""
        self._closing = True
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Close every connection, as a network failure would."""
        for transport in tuple(self._transports):
            transport.close()
        self._transports.clear()

    def __enter__(self) -> SftpDrop:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self._key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Folder, self._root)
            self._transports = {each for each in self._transports if each.is_active()} | {transport}
            try:
                # An event instead of waiting: one slow handshake must not keep others out.
                transport.start_server(event=threading.Event(), server=_Login(self._users))
            except (paramiko.SSHException, EOFError, OSError):
                transport.close()


class _Login(paramiko.ServerInterface):
    """Public keys of known users, sessions with the SFTP subsystem; nothing else."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002 - paramiko's signature
        """Only keys."""
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """The user's own key."""
        is_known = self._users.get(username) == f"{key.get_name()} {key.get_base64()}"
        return AUTH_SUCCESSFUL if is_known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002 - paramiko's signature
        """Only sessions: no forwarding."""
        return OPEN_SUCCEEDED if kind == "session" else OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED


class _Folder(paramiko.SFTPServerInterface):
    """The file system below one folder."""

    def __init__(self, server: paramiko.ServerInterface, root: Path) -> None:
        super().__init__(server)
        self._root = root

    def _real(self, path: str) -> str:
        """The path on disk. Raises PermissionError when it leaves the folder."""
        real = os.path.realpath(self._root / path.lstrip("/"))
        if real != str(self._root) and not real.startswith(f"{self._root}{os.sep}"):
            raise PermissionError(errno.EACCES, "outside of the drop")
        return real

    def canonicalize(self, path: str) -> str:
        """An absolute path inside the drop, which is `/`."""
        return os.path.normpath(f"/{path}").replace("//", "/")

    def list_folder(self, path: str) -> list[paramiko.SFTPAttributes] | int:
        """Names and attributes."""
        try:
            folder = self._real(path)
            found = []
            for name in os.listdir(folder):
                try:
                    found.append(paramiko.SFTPAttributes.from_stat(os.lstat(os.path.join(folder, name)), name))
                except FileNotFoundError:
                    continue  # renamed between the two calls
            return found
        except OSError as error:
            return _code(error)

    def stat(self, path: str) -> paramiko.SFTPAttributes | int:
        """Attributes."""
        try:
            return paramiko.SFTPAttributes.from_stat(os.stat(self._real(path)))
        except OSError as error:
            return _code(error)

    lstat = stat

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle | int:
        """A file handle."""
        try:
            descriptor = os.open(self._real(path), flags | getattr(os, "O_NOFOLLOW", 0), attr.st_mode or 0o600)
        except OSError as error:
            return _code(error)
        mode = "rb" if not flags & (os.O_WRONLY | os.O_RDWR) else "r+b"
        if flags & os.O_WRONLY:
            mode = "wb"
        file = os.fdopen(descriptor, mode, buffering=0)
        handle = _Handle(flags)
        handle.readfile = handle.writefile = file  # type: ignore[attr-defined]  # set as paramiko's own example does
        return handle

    def remove(self, path: str) -> int:
        """Delete."""
        return _try(os.remove, self, path)

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> int:  # noqa: ARG002 - paramiko's signature
        """Create a folder."""
        return _try(os.mkdir, self, path)

    def rename(self, oldpath: str, newpath: str) -> int:
        """Move without overwriting: a hard link fails when the target exists, whoever races."""
        try:
            old, new = self._real(oldpath), self._real(newpath)
            os.link(old, new)
            try:
                os.unlink(old)
            except OSError:
                os.unlink(new)
                raise
        except OSError as error:
            return _code(error)
        return SFTP_OK


class _Handle(paramiko.SFTPHandle):
    """An open file that reports its size."""

    def stat(self) -> paramiko.SFTPAttributes | int:
        """Attributes."""
        try:
            return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))  # type: ignore[attr-defined]
        except OSError as error:
            return _code(error)


def _try(action: Callable[[str], None], folder: _Folder, path: str) -> int:
    try:
        action(folder._real(path))
    except OSError as error:
        return _code(error)
    return SFTP_OK


def _code(error: OSError) -> int:
    if isinstance(error, PermissionError):
        return SFTP_PERMISSION_DENIED
    number = error.errno
    return paramiko.SFTPServer.convert_errno(number) if number is not None else SFTP_FAILURE
