"""OpenPGP by the `gpg` program: the only door to it. Blocking; callers run it in threads.

Standard: RFC 4880 messages, encrypted and by choice signed. Each call works in a key ring of its own, mode 700, in
memory where the system offers it, which holds nothing but our key and the partner's, and is removed afterwards; no key
ring of the account, key server or trust database is consulted. The passphrase goes through a pipe, data through
standard input and output; arguments hold fingerprints only.
Not handled: detached signatures, and messages without integrity protection (gpg refuses them).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.errors import ConfigurationError, LimitExceeded, MalformedMessage, Unavailable

SECONDS = 300.0
"""A call that takes longer hangs: gpg does 100 MB in a few seconds."""

IMPORTS = 3
"""Attempts to import one key."""

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
_STATUS = re.compile(rb"^\[GNUPG:\] (\S+) ?(.*)$", re.MULTILINE)
_NO_AGENT = re.compile(
    rb"^gpg: (can't connect to the (gpg-)?agent|failed to start (gpg-)?agent|no running .*agent)", re.M
)
_OPTIONS = (
    "--no-options", "--batch", "--no-tty", "--quiet", "--status-fd", "2", "--trust-model", "always",
    "--disable-dirmngr", "--no-auto-key-retrieve", "--no-auto-key-locate", "--pinentry-mode", "loopback",
    "--ignore-time-conflict", "--ignore-valid-from",
)  # fmt: skip
"""The last two: a key made a moment ago by a clock ahead of ours is a key, not one without a user id (gpg's view).
Keys are agreed with the partner by hand, so the time of their making proves nothing; their expiry still counts."""

_AGENT = "s2k-count 65536\n"
"""A new agent else spends a second on finding how often this machine can hash in a tenth of one, and seals our key in
the ring with that. The ring lives in memory for one call, beside the passphrase: the least gpg takes is enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PgpKeys:
    """Our key and the partner's, as exported, with or without armor. Holds secrets: never log it."""

    own: bytes = field(repr=False)
    """Our private key."""
    passphrase: bytes = field(repr=False, default=b"")
    partner: bytes = field(repr=False)
    """The partner's public key, or two at a rotation."""


def program() -> str:
    """Where gpg is. Raises ConfigurationError where it is not installed."""
    found = shutil.which("gpg")
    if found is None:
        raise ConfigurationError("PGP is configured, but the program gpg is not installed (Debian: apt install gnupg)")
    return found


def decrypt(data: bytes, keys: PgpKeys, *, limit: int, signed: bool) -> bytes:
    """The content of a message that was encrypted for us and, if `signed`, signed by the partner.

    Raises MalformedMessage for anything else, LimitExceeded above `limit` bytes, ConfigurationError for unusable keys,
    Unavailable when gpg does not answer.
    """
    with _ring(keys) as ring:
        done, status = ring.run("--max-output", str(limit + 1), "--decrypt", data=data)
        if len(done.stdout) > limit or b"exceeded" in done.stderr:
            raise LimitExceeded(f"the file decrypts to more than {limit} bytes")
        whole = done.returncode == 0 or "ERRSIG" in status  # a signature nobody here can check is looked at below
        if not whole or "DECRYPTION_OKAY" not in status:
            ring.sign(b"")  # gpg does not tell a wrong passphrase from a message for somebody else
            raise MalformedMessage("the file cannot be decrypted with our key")
        signer = status.get("VALIDSIG", "").rpartition(" ")[2]
        if signed and (done.returncode != 0 or "GOODSIG" not in status or signer not in ring.partner):
            raise MalformedMessage("the file is not signed by the partner")
        return done.stdout


def encrypt(data: bytes, keys: PgpKeys, *, sign: bool) -> bytes:
    """A message for the partner's newest key, signed by us if `sign`. Other bytes each time: store it, then send it.

    Raises ConfigurationError for keys that are unusable, expired ones too, Unavailable when gpg does not answer.
    """
    with _ring(keys) as ring:
        how = ["--sign", "--local-user", ring.own] if sign else []
        done, status = ring.run(*how, "--encrypt", "--recipient", ring.partner[-1], data=data)
        if done.returncode != 0 or "END_ENCRYPTION" not in status:
            raise ConfigurationError("the PGP keys cannot be used to encrypt and sign")
        return done.stdout


@dataclass(frozen=True, slots=True)
class _Ring:
    folder: Path
    passphrase: bytes
    own: str = ""
    """Fingerprint of our key."""
    partner: tuple[str, ...] = ()

    def run(self, *arguments: str, data: bytes) -> tuple[subprocess.CompletedProcess[bytes], dict[str, str]]:
        """Run gpg: (what it did, status lines by keyword)."""
        reading, writing = os.pipe()
        try:
            os.write(writing, self.passphrase + b"\n")
            os.close(writing)
            done = subprocess.run(  # noqa: S603 - fixed options and fingerprints
                [program(), "--homedir", str(self.folder), *_OPTIONS, "--passphrase-fd", str(reading), *arguments],
                input=data, capture_output=True, check=False, timeout=SECONDS, pass_fds=(reading,),
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise Unavailable("gpg does not end") from error
        finally:
            os.close(reading)
        if done.returncode != 0 and _NO_AGENT.search(done.stderr):
            raise Unavailable("gpg's agent did not start in time")
        return done, {name.decode(): rest.decode("utf-8", "replace") for name, rest in _STATUS.findall(done.stderr)}

    def sign(self, data: bytes) -> bytes:
        """Sign with our key. Raises ConfigurationError when the passphrase is wrong or the key has expired."""
        done, _ = self.run("--sign", "--local-user", self.own, data=data)
        if done.returncode != 0:
            raise ConfigurationError("our PGP key cannot be used: wrong passphrase, or it has expired")
        return done.stdout

    def take(self, key: bytes) -> tuple[str, ...]:
        """Import a key; the fingerprints, in the order of the file. Raises ConfigurationError, Unavailable.

        gpg counts what it has read at the end (IMPORT_RES). Without that it was the program that failed, not the key:
        then, importing being safe to repeat, once more.
        """
        for _ in range(IMPORTS):
            done, status = self.run("--import", data=key)
            found = [rest.split()[1].decode() for name, rest in _STATUS.findall(done.stderr) if name == b"IMPORT_OK"]
            if found:
                return tuple(dict.fromkeys(found))
            if "IMPORT_RES" in status or "NODATA" in status:
                raise ConfigurationError("a PGP key cannot be read")
        raise Unavailable(f"gpg ended with {done.returncode} before it had read a key")


@contextmanager
def _ring(keys: PgpKeys) -> Iterator[_Ring]:
    base = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pgp-", dir=base) as folder:
        (Path(folder) / "gpg-agent.conf").write_text(_AGENT, encoding="ascii")
        empty = _Ring(Path(folder), keys.passphrase)
        try:
            own = empty.take(keys.own)[0]
            partner = tuple(one for one in empty.take(keys.partner) if one != own)
            if not partner:
                raise ConfigurationError("the partner's PGP key is our own")
            yield _Ring(Path(folder), keys.passphrase, own, partner)
        finally:
            ending = [shutil.which("gpgconf") or "gpgconf", "--homedir", folder, "--kill", "gpg-agent"]
            subprocess.run(ending, check=False, capture_output=True, timeout=SECONDS)  # noqa: S603
