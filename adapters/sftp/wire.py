"""What names and listings of an SFTP drop mean. Pure: listings in, decisions out.

Standard: none binds drops; the conventions are those of clearinghouses (temporary names, marker files, archive and
error folders) over SFTP version 3 (draft-ietf-secsh-filexfer-02).

    claimed name = <name>~<received>~<claimed>~<owner>     in the processing folder; seconds since 1970
    marker       = <name><suffix> or <stem><suffix>        beside the file, in the inbound folder

Limits: names of at most 120 characters from `A-Za-z0-9._-` (longer or other ones are ignored and reported: a name is
used in paths and logs); packed files hold one member and grow by a bounded factor (a 10 kB bomb must not become 10 GB).
Not handled: sub-folders, symbolic links, multi-member archives. PGP is gateway/infra/pgp.py's.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.errors import LimitExceeded, MalformedMessage

UNFINISHED = (".tmp", ".part", ".filepart", ".filepart~", ".uploading", ".crdownload", ".swp")
"""Suffixes of uploads in progress, as common clients name them."""

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_CLAIM = re.compile(r"(?P<name>.+)~(?P<received>\d{1,12})~(?P<since>\d{1,12})~(?P<owner>[A-Za-z0-9-]{1,64})")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a listing: `size` in bytes, `modified` in seconds since 1970."""

    name: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Sighting:
    """When a file was first seen, and since when it looks the way it does (seconds of a monotonic clock)."""

    entry: Entry
    first: float
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a file is ready."""

    pattern: str
    mode: str
    """`rename`, `stable` or `marker`."""
    marker_suffixes: Sequence[str] = ()
    stable_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A file in the processing folder."""

    name: str
    """The name it had when it was dropped."""
    received: int
    """When it was claimed first, seconds since 1970: our receipt, kept over crashes and take-overs."""
    since: int
    """When its present owner claimed it."""
    owner: str

    @property
    def file_name(self) -> str:
        """Its name in the processing folder, and later in the archive."""
        return f"{self.name}~{self.received}~{self.since}~{self.owner}"


def parse_claim(file_name: str) -> Claim | None:
    """Inverse of `Claim.file_name`; None for a file that is no claim."""
    match = _CLAIM.fullmatch(file_name)
    if match is None:
        return None
    return Claim(match["name"], int(match["received"]), int(match["since"]), match["owner"])


def is_candidate(name: str, rules: Rules) -> bool:
    """Whether a name may be taken at all: safe, finished, matching, and no marker."""
    if not _SAFE.fullmatch(name) or name.lower().endswith(UNFINISHED):
        return False
    if rules.mode == "marker" and name.endswith(tuple(rules.marker_suffixes)):
        return False
    return re.fullmatch(rules.pattern, name) is not None


def look(entries: Iterable[Entry], known: Mapping[str, Sighting], now: float) -> dict[str, Sighting]:
    """The next memory of a folder: files that stayed the same keep their `since`; vanished ones are forgotten."""
    seen = {}
    for entry in entries:
        before = known.get(entry.name)
        if before is None:
            seen[entry.name] = Sighting(entry, now, now)
        else:
            seen[entry.name] = Sighting(entry, before.first, before.since if before.entry == entry else now)
    return seen


def markers(name: str, names: Iterable[str], suffixes: Sequence[str]) -> list[str]:
    """The marker files of `name` among `names`."""
    stem = name.rpartition(".")[0] or name
    wanted = {base + suffix for base in (name, stem) for suffix in suffixes}
    return sorted(wanted.intersection(names) - {name})


def ready_files(sightings: Mapping[str, Sighting], rules: Rules, now: float) -> list[Entry]:
    """The files to claim now, oldest first. Empty files are never ready: they are uploads about to begin."""
    chosen = []
    for name, sighting in sightings.items():
        if not is_candidate(name, rules) or sighting.entry.size == 0:
            continue
        if rules.mode == "marker" and not markers(name, sightings, rules.marker_suffixes):
            continue
        if rules.mode == "stable" and (now - sighting.since < rules.stable_seconds or sighting.first == now):
            continue
        chosen.append(sighting.entry)
    return sorted(chosen, key=lambda entry: (entry.modified, entry.name))


def is_packed(name: str) -> bool:
    """Whether the name says gzip or zip."""
    return name.lower().endswith((".gz", ".zip"))


def decrypted_name(name: str) -> str:
    """The name of a PGP file's content: without `.pgp`, `.gpg` or `.asc`."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and suffix.lower() in ("pgp", "gpg", "asc") else name


def unpack(name: str, data: bytes, *, limit: int, ratio: int) -> tuple[str, bytes]:
    """(name, content) of a gzip or one-member zip file; anything else is returned as it is.

    Raises LimitExceeded beyond `limit` bytes or `ratio` times the packed size, MalformedMessage on a broken archive.
    """
    most = min(limit, max(len(data) * ratio, 4096))
    if name.lower().endswith(".gz"):
        return name[:-3], _gunzip(data, most)
    if name.lower().endswith(".zip"):
        return _unzip(data, most)
    return name, data


def _gunzip(data: bytes, most: int) -> bytes:
    content = bytearray()
    rest = data
    while rest:
        stream = zlib.decompressobj(wbits=31)
        try:
            content += stream.decompress(rest, most + 1 - len(content))
        except zlib.error:
            raise MalformedMessage("not a gzip file") from None
        if len(content) > most:
            raise LimitExceeded(f"the file unpacks to more than {most} bytes")
        if not stream.eof:
            raise MalformedMessage("the gzip file is cut off")
        rest = stream.unused_data.lstrip(b"\0")
    return bytes(content)


def _unzip(data: bytes, most: int) -> tuple[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                raise LimitExceeded(f"the zip file holds {len(members)} files instead of one")
            name = members[0].filename.replace("\\", "/").rpartition("/")[2]
            if members[0].flag_bits & 1:
                raise MalformedMessage("the zip file is encrypted")
            with archive.open(members[0]) as member:
                content = member.read(most + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError):
        raise MalformedMessage("not a readable zip file") from None
    if len(content) > most:
        raise LimitExceeded(f"the file unpacks to more than {most} bytes")
    return name if _SAFE.fullmatch(name) else "content", content
