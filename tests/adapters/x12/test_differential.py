"""Our verdict beside pyx12's, for the guides it has (837P, 837I, 834); pyx12_allowed.yaml has every difference.

pyx12 is a second opinion in tests only; nothing of the gateway uses it.
"""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest
import yaml

from adapters.x12.wire import InterchangeReport, Options, read
from tests.adapters.x12.samples import claims

pyx12_document = pytest.importorskip("pyx12.x12n_document")
import pyx12.errors  # noqa: E402
import pyx12.params  # noqa: E402

OUTSIDE = os.environ.get("GATEWAY_OUTSIDE_DATA", "")
GUIDES = ("005010X222A1", "005010X223A2", "005010X220A1")
ALLOWED: dict[str, str] = yaml.safe_load((Path(__file__).parent / "pyx12_allowed.yaml").read_text())


def theirs(data: bytes) -> str:
    """valid, invalid or error."""
    text = data.decode("ascii", "replace").replace("\ufffd", "?" if data.isascii() else "\x80")
    parameters = pyx12.params.params()
    try:
        good = pyx12_document.x12n_document(parameters, io.StringIO(text), io.StringIO(), None)
    except (pyx12.errors.EngineError, pyx12.errors.X12Error, AttributeError, IndexError, KeyError):
        return "error"
    return "valid" if good else "invalid"


def ours(data: bytes) -> str:
    """valid or invalid."""
    reports = [event for event in read([data], Options(mode="judge")) if isinstance(event, InterchangeReport)]
    good = reports and all(report.outcome in ("accepted", "accepted_with_errors") for report in reports)
    return "valid" if good else "invalid"


def files() -> list[Path]:
    """Corpus files whose groups pyx12 has maps for."""
    found = []
    for path in sorted((Path(OUTSIDE) / "x12").rglob("*")) if OUTSIDE else []:
        if path.is_file() and path.suffix not in (".md", ".csv", ".json"):
            data = path.read_bytes()
            if any(guide.encode() in data for guide in GUIDES) and b"GS" in data and b"*FA*" not in data:
                found.append(path)
    return found


@pytest.mark.skipif(not OUTSIDE, reason="GATEWAY_OUTSIDE_DATA is not set")
@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_every_difference_on_the_corpus_is_reviewed(path: Path) -> None:
    data = path.read_bytes()
    mine, second = ours(data), theirs(data)
    assert mine == second or path.name in ALLOWED, f"ours {mine}, pyx12 {second}"


@pytest.mark.skipif(not OUTSIDE, reason="GATEWAY_OUTSIDE_DATA is not set")
def test_the_allow_list_names_real_differences_only() -> None:
    known = {path.name: path for path in files()}
    stale = [
        name for name in ALLOWED if name in known and ours(known[name].read_bytes()) == theirs(known[name].read_bytes())
    ]
    assert stale == []


def variants() -> list[tuple[str, bytes]]:
    """Single changes of a good professional claim, some good, some bad."""
    chance = random.Random(7)
    lines = claims(1).splitlines(keepends=True)
    found = [("good", claims(1).encode())]
    for at in range(2, len(lines) - 3):
        kept = [line for number, line in enumerate(lines) if number != at]
        count = int(lines[-3].split("*")[1]) - 1
        text = "".join(kept).replace(lines[-3], f"SE*{count}*0001~\n")
        found.append((f"without {lines[at][:6].rstrip()} at {at - 1}", text.encode()))
    for at in range(3, len(lines) - 3):
        parts = lines[at].rstrip("~\n").split("*")
        place = chance.randrange(1, len(parts))
        changed = "*".join([*parts[:place], "", *parts[place + 1 :]]) + "~\n"
        found.append(
            (f"empty {parts[0]}{place:02d} at {at - 1}", "".join([*lines[:at], changed, *lines[at + 1 :]]).encode())
        )
    return found


@pytest.mark.parametrize(("name", "data"), variants(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_difference_on_single_changes_is_reviewed(name: str, data: bytes) -> None:
    mine, second = ours(data), theirs(data)
    assert mine == second or name in ALLOWED, f"ours {mine}, pyx12 {second}"


CASES = sorted((Path(__file__).parent / "cases").glob("*/ack.x12"))


@pytest.mark.parametrize(
    "path", [path for path in CASES if "GS*FA" in path.read_text()], ids=lambda path: path.parent.name
)
def test_our_999_is_valid_for_pyx12_too(path: Path) -> None:
    """Without the TA1: pyx12 wants it after the groups, X12 before them. One interchange at a time."""
    for interchange in path.read_text().split("ISA*")[1:]:
        lines = [line for line in interchange.splitlines(keepends=True) if not line.startswith("TA1*")]
        if any(line.startswith("GS*") for line in lines):
            assert theirs(("ISA*" + "".join(lines)).encode()) == "valid" or f"999 {path.parent.name}" in ALLOWED
