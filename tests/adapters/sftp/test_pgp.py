"""PGP on a drop, with real gpg: what is encrypted for us and signed by the partner is taken, nothing else."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest

from adapters.sftp.inbound import Poller
from gateway.core.errors import ConfigurationError, LimitExceeded, MalformedMessage, Unavailable
from gateway.infra import pgp
from gateway.infra.pgp import PgpKeys, decrypt, encrypt
from tests.adapters.sftp.bench import Bench, message

pytestmark = [
    pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed"),
    pytest.mark.timeout(120),
]

PASSPHRASE = b"a passphrase only for tests"
LIMIT = 1 << 20


@cache
def key(name: str, passphrase: bytes = b"", *, ahead: int = 0) -> tuple[bytes, bytes]:
    """(public key, private key), made by gpg, its clock `ahead` seconds of ours."""
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "gpg-agent.conf").write_text("s2k-count 65536\n", "ascii")
        base = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase-fd", "0"]
        if ahead:
            base += ["--faked-system-time", str(int(time.time()) + ahead)]

        def run(*arguments: str) -> bytes:
            return subprocess.run([*base, *arguments], input=passphrase, check=True, capture_output=True).stdout

        run("--quick-generate-key", f"{name} <{name}@example.org>", "future-default", "default", "never")
        found = run("--export"), run("--export-secret-keys", "--armor")
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=False)
    return found


def ours(*, partner: str = "partner", passphrase: bytes = PASSPHRASE) -> PgpKeys:
    return PgpKeys(own=key("gateway", PASSPHRASE)[1], passphrase=passphrase, partner=key(partner)[0])


def theirs(name: str = "partner") -> PgpKeys:
    return PgpKeys(own=key(name)[1], partner=key("gateway", PASSPHRASE)[0])


def test_there_and_back_with_signatures() -> None:
    data = message(1, "x" * 10_000)
    there, back = encrypt(data, ours(), sign=True), encrypt(data, theirs(), sign=True)
    assert b"xxxx" not in there
    assert decrypt(there, theirs(), limit=LIMIT, signed=True) == data
    assert decrypt(back, ours(), limit=LIMIT, signed=True) == data


def test_a_key_made_by_a_clock_ahead_of_ours_is_used() -> None:
    early = PgpKeys(own=key("early", ahead=300)[1], partner=key("gateway", PASSPHRASE)[0])
    to_early = PgpKeys(own=key("gateway", PASSPHRASE)[1], passphrase=PASSPHRASE, partner=key("early", ahead=300)[0])
    assert decrypt(encrypt(b"there", to_early, sign=True), early, limit=LIMIT, signed=True) == b"there"
    assert decrypt(encrypt(b"back", early, sign=True), to_early, limit=LIMIT, signed=True) == b"back"


def test_what_is_not_signed_by_the_partner_is_refused() -> None:
    for sealed in (encrypt(b"data", theirs(), sign=False), encrypt(b"data", theirs("stranger"), sign=True)):
        with pytest.raises(MalformedMessage, match="not signed by the partner"):
            decrypt(sealed, ours(), limit=LIMIT, signed=True)
        assert decrypt(sealed, ours(), limit=LIMIT, signed=False) == b"data"


def test_our_own_signature_is_not_the_partners() -> None:
    own = key("gateway", PASSPHRASE)
    reflected = encrypt(
        b"data", PgpKeys(own=own[1], passphrase=PASSPHRASE, partner=key("partner")[0] + own[0]), sign=True
    )
    both = PgpKeys(own=key("partner")[1], partner=own[0])
    assert decrypt(reflected, both, limit=LIMIT, signed=True) == b"data"
    with pytest.raises(ConfigurationError, match="our own"):
        encrypt(b"data", PgpKeys(own=own[1], passphrase=PASSPHRASE, partner=own[0]), sign=True)


@pytest.mark.parametrize("change", ["plain", "cut", "flipped", "empty", "other"])
def test_what_was_not_encrypted_for_us_or_was_damaged_is_refused(change: str) -> None:
    sealed = encrypt(b"data" * 1000, theirs(), sign=True)
    other = PgpKeys(own=key("partner")[1], partner=key("stranger")[0])
    data = {
        "plain": b"ISA*plain~",
        "cut": sealed[:-40],
        "flipped": sealed[:-40] + bytes([sealed[-40] ^ 1]) + sealed[-39:],
        "empty": b"",
        "other": encrypt(b"data", other, sign=True),
    }[change]
    with pytest.raises(MalformedMessage):
        decrypt(data, ours(), limit=LIMIT, signed=False)


def test_a_bomb_is_stopped() -> None:
    sealed = encrypt(bytes(LIMIT * 20), theirs(), sign=True)
    assert len(sealed) < LIMIT
    with pytest.raises(LimitExceeded):
        decrypt(sealed, ours(), limit=LIMIT, signed=True)


def test_a_wrong_passphrase_or_key_is_our_fault_not_the_files() -> None:
    sealed = encrypt(b"data", theirs(), sign=True)
    with pytest.raises(ConfigurationError, match="passphrase"):
        decrypt(sealed, ours(passphrase=b"wrong"), limit=LIMIT, signed=True)
    with pytest.raises(ConfigurationError):
        encrypt(b"data", ours(passphrase=b"wrong"), sign=True)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        decrypt(sealed, PgpKeys(own=b"no key", partner=key("partner")[0]), limit=LIMIT, signed=True)


def test_two_partner_keys_at_a_rotation() -> None:
    rotating = PgpKeys(own=ours().own, passphrase=PASSPHRASE, partner=key("partner")[0] + key("partner-new")[0])
    for name in ("partner", "partner-new"):
        assert decrypt(encrypt(b"data", theirs(name), sign=True), rotating, limit=LIMIT, signed=True) == b"data"
    assert decrypt(encrypt(b"data", rotating, sign=True), theirs("partner-new"), limit=LIMIT, signed=True) == b"data"


def test_secrets_are_in_no_argument_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    real = subprocess.run

    def watched(arguments: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        seen.append(arguments)
        return real(arguments, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(pgp.subprocess, "run", watched)
    decrypt(encrypt(b"data", theirs(), sign=True), ours(), limit=LIMIT, signed=True)
    said = " ".join(word for arguments in seen for word in arguments)
    assert PASSPHRASE.decode() not in said
    assert "PRIVATE KEY" not in said
    folders = {Path(arguments[arguments.index("--homedir") + 1]) for arguments in seen}
    assert folders
    assert not any(folder.exists() for folder in folders)


def test_without_gpg_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigurationError, match="gpg is not installed"):
        secured(bench)
    assert bench.poller() is not None


def secured(bench: Bench, **change: object) -> Poller:
    """A poller whose partner wants PGP both ways."""
    bench.secrets |= {
        "env:PGP": key("gateway", PASSPHRASE)[1],
        "env:PHRASE": PASSPHRASE,
        "env:PARTNER": key("partner")[0],
    }
    agreed = {"private_key": "env:PGP", "passphrase": "env:PHRASE", "partner_key": "env:PARTNER", **change}
    return bench.poller(pgp=agreed, ready="rename")


async def test_an_encrypted_file_is_taken_and_answered_encrypted_once(bench: Bench) -> None:
    poller = secured(bench)
    packed = gzip.compress(message(7))
    bench.put("batch.x12.pgp", encrypt(message(6), theirs(), sign=True))
    bench.put("packed.x12.gz.pgp", encrypt(packed, theirs(), sign=True))
    assert await bench.poll_twice(poller) == 2
    assert sorted((raw.data or b"", reception.attributes["fileName"]) for raw, reception in bench.received) == [
        (message(6), "batch.x12"),
        (message(7), "packed.x12"),
    ]
    left = bench.files("outbound")
    assert [name.endswith(".txt.pgp") for name in left] == [True, True]
    contents = {(bench.server.folder / "outbound" / name).read_bytes() for name in left}
    plain = {decrypt(data, theirs(), limit=LIMIT, signed=True) for data in contents}
    assert plain == {b"answer to " + raw.sha256.encode() for raw, _ in bench.received}
    bench.put("again.x12.pgp", encrypt(message(6), theirs(), sign=True))
    assert await bench.poll_twice(poller) == 1
    assert bench.files("outbound") == left, "the same answer is not left twice"
    assert {(bench.server.folder / "outbound" / name).read_bytes() for name in left} == contents
    assert "answer-conflict" not in [event for event, _ in bench.reports]


async def test_plain_unsigned_and_foreign_files_go_to_the_error_folder(bench: Bench) -> None:
    bench.put("plain.x12", message(1))
    bench.put("unsigned.x12.pgp", encrypt(message(2), theirs(), sign=False))
    bench.put("stranger.x12.pgp", encrypt(message(3), theirs("stranger"), sign=True))
    bench.put("cut.x12.pgp", encrypt(message(4)[:-3], theirs(), sign=True))
    assert await bench.poll_twice(secured(bench)) == 0
    assert bench.received == []
    assert [name.split("~")[0] for name in bench.files("error")] == [
        "cut.x12.pgp", "plain.x12", "stranger.x12.pgp", "unsigned.x12.pgp",
    ]  # fmt: skip
    assert bench.files("outbound") == []


async def test_a_wrong_passphrase_holds_the_file_until_it_is_mended(bench: Bench) -> None:
    poller = secured(bench)
    bench.put("batch.x12.pgp", encrypt(message(6), theirs(), sign=True))
    bench.secrets["env:PHRASE"] = b"wrong"
    assert await bench.poll_twice(poller) == 0
    assert [event for event, _ in bench.reports] == ["taken", "held", "held"]
    bench.secrets["env:PHRASE"] = PASSPHRASE
    assert await bench.poll_twice(poller) == 1


async def test_one_way_only(bench: Bench) -> None:
    bench.put("plain.x12", message(1))
    assert await bench.poll_twice(secured(bench, inbound=False)) == 1
    (name,) = bench.files("outbound")
    assert decrypt((bench.server.folder / "outbound" / name).read_bytes(), theirs(), limit=LIMIT, signed=True)
    bench.put("sealed.x12.pgp", encrypt(message(2), theirs(), sign=True))
    assert await bench.poll_twice(secured(bench, outbound=False)) == 1
    assert not all(name.endswith(".pgp") for name in bench.files("outbound"))


def test_a_program_that_fails_is_not_a_key_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = pgp.program(), tmp_path / "count"
    failing = tmp_path / "gpg"
    script = (
        f'#!/bin/sh\nfor word in "$@"; do [ "$word" = --import ] && echo >> {count}; done\n'
        f'[ "$(wc -l < {count})" -gt $ALLOWED ] || exit 2\nexec {real} "$@"\n'
    )
    monkeypatch.setattr(pgp, "program", lambda: str(failing))
    for allowed, works in ((2, True), (9, False)):
        count.write_text("")
        failing.write_text(script.replace("$ALLOWED", str(allowed)))
        failing.chmod(0o700)
        if works:
            assert encrypt(b"data", ours(), sign=False)
        else:
            with pytest.raises(Unavailable, match="ended with 2"):
                encrypt(b"data", ours(), sign=False)


def test_what_is_no_key_is_refused_as_configuration() -> None:
    wrong = PgpKeys(own=key("gateway", PASSPHRASE)[1], passphrase=PASSPHRASE, partner=b"no key at all")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        encrypt(b"data", wrong, sign=False)
