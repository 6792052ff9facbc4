"""Records that are made for each message: frozen to the type checker, as cheap as plain ones to make.

A frozen dataclass sets each field through `object.__setattr__`, which triples what an instance costs. Classes with an
instance for each message, or for parts of one, are declared by `record`; all others are
`@dataclass(frozen=True, slots=True)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def record(made: type[T]) -> type[T]: ...
@overload
def record(*, kw_only: bool) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(made: type[T] | None = None, *, kw_only: bool = False) -> type[T] | Callable[[type[T]], type[T]]:
    """Declare a class as a record with slots: equality and hash by content, no field ever set again."""
    declare = dataclass(slots=True, kw_only=kw_only, unsafe_hash=True)
    return declare(made) if made is not None else declare
