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

from .cursor import Cursor, Mark
from .datatypes import DataType
from .environment import Env
from .graph import Resource, reference
from .vocabulary import Vocabulary

ENTRIES = 8_192
"""Kept conversions of one partner; beyond it all are forgotten. Hospitals have some thousand providers and beds."""
LONGEST = 250
"""Characters of a field that is kept."""
TYPES = frozenset({"CWE", "Coding", "XCN", "XON", "PL"})
_STEADY = frozenset({"XCN", "PL"})
"""Data types that leave a resource as it is when the message has it already."""

Key = tuple[str, str, str]
"""(data type and vocabulary, scope of ids, field as written)."""


class Kept(NamedTuple):
    """One conversion: its value and the resources it made, their keys, the codes no vocabulary knew, the marks left."""

    content: bytes
    keys: tuple[tuple[str, str], ...]
    unmapped: tuple[tuple[str, str], ...]
    marks: tuple[tuple[int, tuple[Mark, ...]], ...] = ()


class Memory(dict[Key, Kept]):
    """Conversions of one partner's messages."""

    __slots__ = ()

    def keep(self, key: Key, kept: Kept) -> None:
        """Keep a conversion where any message of the scope would get the same."""
        if len(key[2]) > LONGEST or b'"period"' in kept.content:
            return  # times depend on the message's zone
        if len(self) >= ENTRIES:
            self.clear()
        self[key] = kept


def _made(env: Env, value: Any, resources: int, unmapped: int) -> Kept | None:
    """What a conversion did since the message had that many resources and unknown codes.

    None where a resource was there before, or is this message's own because nothing identifies it.
    """
    if value is None:
        return None
    keys = tuple(islice(reversed(env.graph.keys), len(env.graph.keys) - resources))[::-1]
    made = [env.graph.keys[key] for key in keys]
    if isinstance(value, dict) and "reference" in value:
        inner: dict[str, Any] = {}
        for resource in made:
            if resource.get("partOf", inner) != inner or (inner and "partOf" not in resource):
                return None
            if resource["resourceType"] == "Practitioner" and "identifier" not in resource:
                return None
            inner = reference(resource)
        if not made or inner != value:
            return None
    elif made:
        return None
    return Kept(orjson.dumps([value, *made]), keys, tuple(env.unmapped[unmapped:]))


def _repeat(kept: Kept, env: Env, steady: bool) -> Any:
    """Do a kept conversion again; None where it would meet a resource that it could change."""
    value, *resources = orjson.loads(kept.content)
    if kept.keys:
        graph = env.graph
        present = [key for key in kept.keys if key in graph.keys]
        if not present:
            for key, resource in zip(kept.keys, resources, strict=True):
                graph.put(key, resource)
        elif not steady or len(present) < len(kept.keys):
            return None
    if kept.unmapped:
        env.unmapped += kept.unmapped
    return value


def recalling(kind: DataType, codes: Vocabulary | None) -> Callable[[str, Cursor, int, Env], Any]:
    """The conversion of a field's first repetition, out of `env.memory` where it is there."""
    name, steady, convert = f"{kind.name} {codes.name if codes else ''}", kind.name in _STEADY, kind.convert

    def recall(text: str, cursor: Cursor, number: int, env: Env) -> Any:
        key = (name, env.graph.scope, text)
        found = env.memory.get(key)
        if found is not None and (value := _repeat(found, env, steady)) is not None:
            return value
        resources, unmapped = len(env.graph.keys), len(env.unmapped)
        value = convert(cursor.repetitions(number)[0], env, codes)
        if found is None and (kept := _made(env, value, resources, unmapped)):
            env.memory.keep(key, kept)
        return value

    return recall


def organization_of(
    name: str, fields: tuple[int, ...], cursor: Cursor, env: Env, work: Callable[[Cursor, Env], Resource | None]
) -> Resource | None:
    """The organization `work` makes of some fields of a segment and of nothing else, with the marks it leaves there."""
    text = "|".join([cursor.filled.get(number, "") for number in fields])
    if env.memory is None or "\\" in text:
        return work(cursor, env)
    key = (name, env.graph.scope, text)
    found = env.memory.get(key)
    if found is not None and _repeat(found, env, steady=False) is not None:
        for number, marks in found.marks:
            cursor.marks.setdefault(number, []).extend(marks)
        return env.graph.keys[found.keys[0]]
    resources, unmapped = len(env.graph.keys), len(env.unmapped)
    before = {number: len(cursor.marks.get(number, ())) for number in fields}
    made = work(cursor, env)
    if found is None and made is not None and (kept := _made(env, reference(made), resources, unmapped)):
        left = [(number, tuple(cursor.marks.get(number, ())[before[number] :])) for number in fields]
        env.memory.keep(key, kept._replace(marks=tuple(pair for pair in left if pair[1])))
    return made
