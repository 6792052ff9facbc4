"""What the X12 mapping tests share."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from adapters.x12.wire import Envelope, Loop, Transaction, guide, read, write
from gateway.core.envelope import Raw, Reception
from gateway.core.errors import InvalidMessage
from gateway.core.ports import Reading
from mappings.x12_codec import X12Codec

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())
RECEPTION = Reception(tenant="t", source="sftp/clearinghouse-a", received_at=NOW, client="clearinghouse-a")


def read_bytes(data: bytes) -> Reading:
    return X12Codec().read(Raw.of(data, "application/edi-x12"), RECEPTION)


def read_case(case: Path) -> Reading:
    return read_bytes((case / "request.x12").read_bytes())


def plain(value: Any) -> Any:
    """As JSON has it: decimals as numbers."""
    return json.loads(
        json.dumps(value, default=lambda found: float(found) if isinstance(found, Decimal) else str(found))
    )


def envelope() -> Envelope:
    return Envelope(sender="PLAN0009", receiver="CLINIC7", time=NOW, interchange_number=1, group_number=1, usage="T")


def written(name: str, tree: Loop) -> bytes:
    """Through the writer, which checks it against the guide."""
    try:
        return write(guide(name), tree, envelope())
    except InvalidMessage as error:
        raise AssertionError(error.issues) from error


def transaction(data: bytes) -> Loop:
    """The first transaction set of a file; it must be accepted."""
    found = [event for event in read([data]) if isinstance(event, Transaction)]
    assert found
    assert found[0].report.outcome != "rejected", found[0].report.as_json()
    return found[0].tree


def segments(tree: Loop) -> list[str]:
    return [segment.text for _, segment in tree.walk() if segment.id not in ("ST", "SE")]
