"""What fields with values that come again and again became: providers, places, organizations, coded values.

A feed names the same wards, doctors and codes in message after message, so their conversion is kept by the text of the
field: bounded, for a partner's tables as a whole, and only for the data types in `TYPES`. Those say nothing about who
the patient is; names, addresses, numbers of patients and results are never kept. What is kept is JSON in bytes: each
message gets a copy of its own, to which it may add.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

import orjson

from .cursor import Cursor
from .datatypes import DataType
from .environment import Env
from .vocabulary import Vocabulary

ENTRIES = 8_192
"""Kept conversions of one partner; beyond it all are forgotten. Hospitals have some thousand providers and beds."""
LONGEST = 250
"""Characters of a field that is kept."""
TYPES = frozenset({"CWE", "Coding", "code", "XCN", "XON", "PL"})
_STEADY = frozenset({"XCN", "PL"})
"""Data types that leave a resource as it is when the message has it already."""

Key = tuple[str, str, str]
"""(data type and vocabulary, scope of ids, field as written)."""


class Kept(NamedTuple):
    """One conversion: its value, the codes no vocabulary knew, and the resources it made with their keys."""

    value: bytes
    unmapped: tuple[tuple[str, str], ...]
    keys: tuple[tuple[str, str], ...]
    resources: tuple[bytes, ...]


class Memory(dict[Key, Kept]):
    """Conversions of one partner's messages."""

    __slots__ = ()

    def keep(self, key: Key, value: Any, env: Env, resources: int, unmapped: int) -> None:
        """Keep what a conversion did since the message had that many resources and unknown codes, if it can be."""
        graph = env.graph
        made = graph.resources[resources:]
        if value is None or len(key[2]) > LONGEST or not _repeatable(made, value):
            return
        if len(self) >= ENTRIES:
            self.clear()
        keys = tuple(islice(reversed(graph.keys), len(made)))[::-1]
        rows = tuple(orjson.dumps(resource) for resource in made)
        self[key] = Kept(orjson.dumps(value), tuple(env.unmapped[unmapped:]), keys, rows)


def _repeatable(made: list[dict[str, Any]], value: Any) -> bool:
    """Whether any message of the scope would get the same.

    Not so where a resource was there before, where one without an identifier is this message's own, or where times
    depend on the message's zone.
    """
    if not (isinstance(value, dict) and "reference" in value):
        return not made
    inner: dict[str, Any] = {}
    for resource in made:
        if resource.get("partOf", inner) != inner or (inner and "partOf" not in resource):
            return False
        if resource["resourceType"] == "Practitioner":
            if "identifier" not in resource or any("period" in name for name in resource.get("name", ())):
                return False
        inner = {"reference": f"urn:uuid:{resource['id']}", "type": resource["resourceType"]}
    return bool(inner) and inner == value


def _repeat(kept: Kept, env: Env, steady: bool) -> Any:
    """Do a kept conversion again; None where it would meet a resource that it could change."""
    if kept.keys:
        graph = env.graph
        present = [key for key in kept.keys if key in graph.keys]
        if not present:
            for key, row in zip(kept.keys, kept.resources, strict=True):
                graph.put(key, orjson.loads(row))
        elif not steady or len(present) < len(kept.keys):
            return None
    if kept.unmapped:
        env.unmapped += kept.unmapped
    return orjson.loads(kept.value)


def recalling(kind: DataType, codes: Vocabulary | None) -> Callable[[str, Cursor, int, Env], Any]:
    """The conversion of a field's first repetition, out of `env.memory` where it is there."""
    name, steady, convert = f"{kind.name} {codes.name if codes else ''}", kind.name in _STEADY, kind.convert

    def recall(text: str, cursor: Cursor, number: int, env: Env) -> Any:
        key = (name, env.graph.scope, text)
        kept = env.memory.get(key)
        if kept is not None and (value := _repeat(kept, env, steady)) is not None:
            return value
        resources, unmapped = len(env.graph.resources), len(env.unmapped)
        value = convert(cursor.repetitions(number)[0], env, codes)
        if kept is None:
            env.memory.keep(key, value, env, resources, unmapped)
        return value

    return recall
