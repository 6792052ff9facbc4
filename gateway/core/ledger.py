"""The field ledger: what became of each populated field of a message (promise 4: nothing is lost silently)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

Fate = Literal["mapped", "carried", "ignored", "unknown"]
"""mapped: in the canonical form under its own meaning; carried: kept as an extension or verbatim;
ignored: left out on purpose, with a reason; unknown: nobody has said yet what it means."""


class LedgerEntry(NamedTuple):
    """One populated leaf field: `path` in the terms of its standard (PID[1]-5[1].1, 2000E/UM02)."""

    path: str
    fate: Fate
    target: str = ""
    """Where it went (a FHIR path or a fact) when mapped or carried; the reason when ignored."""


class FieldLedger(Protocol):
    """What an intake needs of a ledger. Mappings are pure: all entries can be made on demand; the summary travels."""

    @property
    def mapping(self) -> str:
        """Name and version of the mapping, e.g. `hl7v2_to_fhir@1`."""
        ...

    @property
    def entries(self) -> Sequence[LedgerEntry]:
        """All entries of one message."""
        ...

    def counts(self) -> dict[str, int]:
        """How many fields met which fate."""
        ...

    def summary(self) -> dict[str, object]:
        """What goes on the wire: the mapping, the counts, and the paths that were not plainly mapped."""
        ...


@dataclass(slots=True)
class Ledger:
    """A ledger that is written entry by entry."""

    mapping: str
    entries: list[LedgerEntry] = field(default_factory=list)

    def add(self, path: str, fate: Fate, target: str = "") -> None:
        """Record the fate of one field."""
        self.entries.append(LedgerEntry(path, fate, target))

    def counts(self) -> dict[str, int]:
        """How many fields met which fate."""
        return counted(self.entries)

    def summary(self) -> dict[str, object]:
        """What goes on the wire."""
        return summarized(self.mapping, self.entries)


def counted(entries: Iterable[LedgerEntry], mapped: int = 0) -> dict[str, int]:
    """How many fields met which fate, with `mapped` more that are plainly mapped."""
    found = {"mapped": mapped, "carried": 0, "ignored": 0, "unknown": 0}
    for entry in entries:
        found[entry[1]] += 1
    return found


def summarized(mapping: str, entries: Sequence[LedgerEntry], mapped: int = 0) -> dict[str, object]:
    """The summary of a ledger with these entries, and `mapped` more that are plainly mapped."""
    rest = [list(entry) for entry in entries if entry[1] != "mapped"]
    return {"mapping": mapping, "counts": counted(entries, mapped), "notMapped": rest}
