"""JSON that keeps decimals as they were written: 100.00 stays 100.00 (FHIR R4 §2.24.0.1, decimal)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson

SIXTY_FOUR_BITS = range(-(2**63), 2**64)
"""The integers the writer knows; larger ones are kept as Decimal, digit by digit."""


def _exact(value: object) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value))
    raise TypeError(type(value).__name__)


def dumps(value: Any, *, sort_keys: bool = False) -> bytes:
    """UTF-8 JSON; Decimal becomes a number with its digits. Raises TypeError for what JSON cannot hold."""
    return orjson.dumps(value, default=_exact, option=orjson.OPT_SORT_KEYS if sort_keys else None)


def loads(data: bytes | str) -> Any:
    """Parse; numbers with a fraction, and integers beyond 64 bits, become Decimal. Raises ValueError."""
    try:
        return json.loads(data, parse_float=Decimal, parse_int=_integer, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _integer(text: str) -> int | Decimal:
    if len(text) < 19:
        return int(text)
    number = Decimal(text)
    return int(number) if SIXTY_FOUR_BITS[0] <= number <= SIXTY_FOUR_BITS[-1] else number


def _refuse(_name: str) -> Any:
    """NaN and Infinity are Python's, not JSON's (RFC 8259 §6)."""
    raise ValueError("not a JSON number")
