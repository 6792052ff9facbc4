"""FHIR JSON, read strictly and written exactly.

Python's own scanner does the work; the hooks refuse what RFC 8259 leaves to the reader: duplicate keys, NaN and
Infinity, numbers no FHIR type can hold. Decimals stay `Decimal`, so 100.00 is written as it was read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import orjson

from gateway.core.errors import LimitExceeded, MalformedMessage


@dataclass(frozen=True, slots=True)
class Limits:
    """What a body may cost us before it is trusted."""

    size: int = 16 * 1024 * 1024
    """Bytes. A Bundle with scanned documents in base64 is 1-10 MB; X12 275 partners stop near 16 MB."""
    depth: int = 64
    """Nested objects and arrays. FHIR's deepest real path (nested extensions in a Bundle) stays under 30."""
    nodes: int = 500_000
    """Commas and opening brackets: bounds memory to a small multiple of the body (attachments are one node)."""
    digits: int = 40
    """Characters of one number. FHIR decimals carry 18 significant digits at least."""
    exponent: int = 30
    """Power of ten of one number: 1e999999999 is three words to read and a gigabyte to write."""


LIMITS = Limits()
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
"""Characters no FHIR string may hold (R4 2.24.0.1: U+0009, U+000A, U+000D and U+0020 upwards) and lone surrogates."""


def parse_json(body: bytes, limits: Limits = LIMITS) -> dict[str, Any]:
    """Read one JSON object; numbers with a fraction or exponent become Decimal.

    Raises LimitExceeded (size, nodes, depth, numbers) and MalformedMessage (everything else, with line and column).
    """
    if len(body) > limits.size:
        raise LimitExceeded(f"body larger than {limits.size} bytes")
    if body.count(b",") + body.count(b"{") + body.count(b"[") > limits.nodes:
        raise LimitExceeded(f"more than {limits.nodes} elements")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedMessage("not UTF-8", location=f"byte {error.start}") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=lambda number: _decimal(number, limits),
            parse_int=lambda number: _integer(number, limits),
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise MalformedMessage("not JSON", location=f"line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise LimitExceeded(f"deeper than {limits.depth} levels") from None
    if not isinstance(value, dict):
        raise MalformedMessage("the body must be one JSON object")
    check_tree(value, limits)
    return value


def check_tree(value: Any, limits: Limits) -> None:
    """Refuse trees deeper than the limit and characters FHIR forbids. Raises LimitExceeded, MalformedMessage."""
    level: list[Any] = [value]
    for _ in range(limits.depth):
        following: list[Any] = []
        for node in level:
            children = node.values() if isinstance(node, dict) else node
            for child in children:
                if isinstance(child, str):
                    if CONTROL.search(child):
                        raise MalformedMessage("a control character or lone surrogate in a string")
                elif isinstance(child, dict | list):
                    following.append(child)
        if not following:
            return
        level = following
    raise LimitExceeded(f"deeper than {limits.depth} levels")


def dump_json(resource: dict[str, Any]) -> bytes:
    """Write compact JSON; Decimals keep their digits."""
    return orjson.dumps(resource, default=exact)


def exact(value: object) -> orjson.Fragment:
    """A Decimal as the JSON number it is; for `orjson.dumps(…, default=exact)`."""
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedMessage("a duplicate key in an object")
    if any(CONTROL.search(key) for key in members):
        raise MalformedMessage("a control character or lone surrogate in a key")
    return members


def _decimal(number: str, limits: Limits) -> Decimal:
    if len(number) > limits.digits:
        raise LimitExceeded(f"a number longer than {limits.digits} characters")
    try:
        value = Decimal(number)
    except InvalidOperation:
        raise LimitExceeded(f"a number beyond 10^{limits.exponent}") from None
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or abs(value.adjusted()) > limits.exponent or abs(exponent) > limits.exponent:
        raise LimitExceeded(f"a number beyond 10^{limits.exponent}")
    return value


def _integer(number: str, limits: Limits) -> int | Decimal:
    # Beyond 64 bits an integer can only be a FHIR decimal written without a point, and orjson would refuse it.
    return int(number) if len(number) <= 18 else _decimal(number, limits)


def _constant(_name: str) -> NoReturn:
    raise MalformedMessage("NaN and Infinity are not JSON")
