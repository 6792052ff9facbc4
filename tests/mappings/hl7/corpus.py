"""The messages the tests run over: our own cases, and the outside corpus where GATEWAY_OUTSIDE_DATA points at it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from adapters.hl7.wire import Message, parse
from adapters.hl7.wire.batch import split
from gateway.core.errors import GatewayError

CASES = Path(__file__).parent / "cases"
OUTSIDE = Path(os.environ["GATEWAY_OUTSIDE_DATA"]) / "hl7v2" if "GATEWAY_OUTSIDE_DATA" in os.environ else None


@dataclass(frozen=True)
class Sample:
    """One message of the corpus."""

    name: str
    raw: bytes

    def message(self) -> Message:
        return parse(self.raw)


def _messages(path: Path) -> Iterator[Sample]:
    data = path.read_bytes()
    try:
        parts = split(data).messages
    except GatewayError:
        return  # a file that is no HL7 at all: the wire layer's tests look at those
    for number, raw in enumerate(parts, 1):
        yield Sample(f"{path.parent.name}/{path.name}#{number}", raw)


@lru_cache(maxsize=1)
def outside() -> tuple[Sample, ...]:
    """Every message of the outside corpus; empty without it."""
    if OUTSIDE is None:
        return ()
    paths = sorted(path for path in OUTSIDE.rglob("*") if path.suffix in {".hl7", ".txt"})
    return tuple(sample for path in paths for sample in _messages(path))


def lines(text: str) -> bytes:
    """A message written with one segment on each line."""
    return "".join(f"{line}\r" for line in text.strip().splitlines()).encode()


def plain(value: Any) -> Any:
    """JSON as a file holds it: decimals as numbers."""
    return json.loads(json.dumps(value, default=float))


def of_kind(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


def followed(bundle: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    return next(entry["resource"] for entry in bundle["entry"] if entry["fullUrl"] == reference["reference"])
