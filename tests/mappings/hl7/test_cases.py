"""Golden cases: message.hl7 beside bundle.json and ledger.json, or error.json; GATEWAY_WRITE_CASES=1 writes anew."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from adapters.hl7.wire import parse
from gateway.core.errors import GatewayError
from mappings.hl7_to_fhir import convert
from tests.mappings.hl7.corpus import CASES, plain

WRITE = bool(os.environ.get("GATEWAY_WRITE_CASES"))


def outcome(message: bytes) -> dict[str, Any]:
    """File name → content."""
    try:
        conversion = convert(parse(message))
    except GatewayError as error:
        return {"error.json": {"code": error.code, "location": error.location}}
    Bundle.model_validate(plain(conversion.bundle))
    entries = [f"{entry.path} {entry.fate} {entry.target}".rstrip() for entry in conversion.ledger.entries]
    return {"bundle.json": plain(conversion.bundle), "ledger.json": entries}


@pytest.mark.parametrize("case", [pytest.param(path, id=path.name) for path in sorted(CASES.iterdir())])
def test_case(case: Path) -> None:
    made = outcome((case / "message.hl7").read_bytes())
    if WRITE:
        for name, content in made.items():
            (case / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    expected = {path.name: json.loads(path.read_text("utf-8")) for path in case.glob("*.json")}
    assert made == expected
