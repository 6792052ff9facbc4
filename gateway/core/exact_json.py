"""JSON that keeps decimals as they were written: 100.00 stays 100.00 (FHIR R4 §2.24.0.1, decimal)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson


def _exact(value: object) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(type(value).__name__)


def dumps(value: Any, *, sort_keys: bool = False) -> bytes:
    """UTF-8 JSON; Decimal becomes a number with its digits. Raises TypeError for what JSON cannot hold."""
    return orjson.dumps(value, default=_exact, option=orjson.OPT_SORT_KEYS if sort_keys else None)


def loads(data: bytes | str) -> Any:
    """Parse; numbers with a fraction become Decimal. Raises ValueError."""
    return json.loads(data, parse_float=Decimal)
