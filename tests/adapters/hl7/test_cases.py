"""Golden cases: `cases/<case>/input.hl7` beside `expected.json` or `expected.error.json`, found by looking.

An input with `<CR>`, `<LF>`, `<VT>` … spelled out is stored readable; `encoding.txt` names its codec. Set
GATEWAY_UPDATE_GOLDEN=1 to write the expectations anew, and read the difference before committing it.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.hl7.wire import parse, write
from adapters.hl7.wire.acknowledgement import acknowledge
from adapters.hl7.wire.batch import split
from adapters.hl7.wire.check import check, warnings
from gateway.core.errors import GatewayError

CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())
AT = datetime(2026, 3, 1, 10, 15, tzinfo=UTC)
MARKS = {"<CR>": "\r", "<LF>": "\n", "<ESC>": "\x1b", "<BOM>": "\ufeff"}


def source(case: Path) -> bytes:
    """The input's bytes: its lines are readable, only the spelled-out marks end segments."""
    text = (case / "input.hl7").read_text("utf-8").replace("\n", "")
    for mark, character in MARKS.items():
        text = text.replace(mark, character)
    codec = case / "encoding.txt"
    return text.encode(codec.read_text().strip() if codec.exists() else "utf-8")


def described(data: bytes) -> list[dict[str, Any]]:
    """What the wire makes of the bytes: each message's leaves, what was tolerated, and its answers."""
    result = []
    for part in split(data).messages:
        message = parse(part)
        assert parse(write(message)).segments == message.segments
        answers = acknowledge(
            message.header,
            check(message),
            identify=lambda: "ACK1",
            at=AT,
            answered=message.first("MSA"),
            warnings=warnings(message),
        )
        result.append(
            {
                "structure": message.structure,
                "encoding": message.syntax.encoding,
                "notes": list(message.notes),
                "leaves": dict(message.leaves()),
                "answers": [
                    answer.decode(message.syntax.encoding).split("\r")[:-1] if answer else None
                    for answer in (answers.immediate, answers.application)
                ],
            }
        )
    return result


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path) -> None:
    try:
        name, found = "expected.json", described(source(case))
    except GatewayError as error:
        name, found = "expected.error.json", {"code": error.code, "location": error.location, "text": error.message}
    if os.environ.get("GATEWAY_UPDATE_GOLDEN"):
        for old in case.glob("expected*.json"):
            old.unlink()
        (case / name).write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8")
    assert [path.name for path in case.glob("expected*.json")] == [name]
    assert json.loads((case / name).read_text("utf-8")) == found


def test_there_are_cases_of_both_kinds() -> None:
    assert len(CASES) >= 10
    assert any((case / "expected.error.json").exists() for case in CASES)
