"""The field ledger: what became of each populated field of a message (promise 4: nothing is lost silently)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Fate = Literal["mapped", "carried", "ignored", "unknown"]
"""mapped: in the canonical form under its own meaning; carried: kept as an extension or verbatim;
ignored: left out on purpose, with a reason; unknown: nobody has said yet what it means."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One populated leaf field: `path` in the terms of its standard (PID[1]-5[1].1, 2000E/UM02)."""

    path: str
    fate: Fate
    target: str = ""
    """Where it went (a FHIR path or a fact) when mapped or carried; the reason when ignored."""


@dataclass(slots=True)
class Ledger:
    """All entries of one message. Mappings are pure: the full ledger is recomputed on demand; its summary travels."""

    mapping: str
    """Name and version of the mapping, e.g. `hl7v2_to_fhir@1`."""
    entries: list[LedgerEntry] = field(default_factory=list)

    def add(self, path: str, fate: Fate, target: str = "") -> None:
        """Record the fate of one field."""
        self.entries.append(LedgerEntry(path, fate, target))

    def counts(self) -> dict[str, int]:
        """How many fields met which fate."""
        counted = Counter(entry.fate for entry in self.entries)
        return {fate: counted.get(fate, 0) for fate in ("mapped", "carried", "ignored", "unknown")}

    def summary(self) -> dict[str, object]:
        """What goes on the wire: the mapping, the counts, and the paths that were not plainly mapped."""
        rest = [[entry.path, entry.fate, entry.target] for entry in self.entries if entry.fate != "mapped"]
        return {"mapping": self.mapping, "counts": self.counts(), "notMapped": rest}
