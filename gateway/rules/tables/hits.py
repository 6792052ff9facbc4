"""Hit policies: from the outputs of the rows that match to the answer of the table.

Standard: DMN 1.5, 8.2.10. U one row at most; A any of equal outputs; P the output that stands first in the output's
list of values; F the first row; R all in row order; O all in the order of the output values; C all, or their sum (C+),
minimum (C<), maximum (C>) or number (C#). What the standard calls an error is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.rules.feel.builtins import BUILTINS
from gateway.rules.feel.values import equal

POLICIES = {
    "U": "UNIQUE", "A": "ANY", "P": "PRIORITY", "F": "FIRST", "R": "RULE ORDER", "O": "OUTPUT ORDER", "C": "COLLECT",
    "C+": "COLLECT SUM", "C<": "COLLECT MIN", "C>": "COLLECT MAX", "C#": "COLLECT COUNT",
}  # fmt: skip
LETTERS = {name: letter for letter, name in POLICIES.items()}
_AGGREGATE = {"C+": "sum", "C<": "min", "C>": "max", "C#": "count"}


def settle(letter: str, hits: Sequence[Any], ranks: Sequence[tuple[int, ...]], default: Any = None) -> Any:
    """The table's answer. `ranks` are the positions of each hit's outputs in the lists of output values."""
    if not hits:
        if default is not None:
            return default
        return [] if letter in ("C", "R", "O") else BUILTINS["count"].call([]) if letter == "C#" else None
    if letter == "U":
        return hits[0] if len(hits) == 1 else None
    if letter == "A":
        return hits[0] if all(equal(hits[0], other) is True for other in hits[1:]) else None
    if letter == "F":
        return hits[0]
    if letter in ("P", "O"):
        ordered = [hit for _, hit in sorted(zip(ranks, hits, strict=True), key=lambda pair: pair[0])]
        return ordered[0] if letter == "P" else ordered
    if letter in ("C", "R"):
        return list(hits)
    return BUILTINS[_AGGREGATE[letter]].call(list(hits))
