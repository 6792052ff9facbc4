"""One interchange twice in one file: the same bytes repeat it, other bytes under its numbers are refused (TA1 025)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from adapters.x12.wire.reports import InterchangeReport


def digests(chunks: Iterable[bytes], reports: Sequence[InterchangeReport]) -> list[str]:
    """SHA-256 of each interchange's bytes, in one pass over the file they were read from."""
    found = [hashlib.sha256() for _ in reports]
    offset, first = 0, 0
    for chunk in chunks:
        end = offset + len(chunk)
        for at in range(first, len(reports)):
            start, stop = reports[at].offset, reports[at].offset + reports[at].length
            if start >= end:
                break
            found[at].update(chunk[max(start - offset, 0) : max(stop - offset, 0)])
            if stop <= end:
                first = at + 1
        offset = end
    return [digest.hexdigest() for digest in found]


def repeats(reports: Sequence[InterchangeReport], hashes: Callable[[], Sequence[str]]) -> list[int | None]:
    """For each interchange, which earlier one of the file it repeats; other bytes under a used number are refused.

    A refused interchange takes no number. `hashes` is asked only when numbers occur twice.
    """
    first: dict[tuple[str, str, str, str], int] = {}
    earlier: list[int | None] = []
    known: Sequence[str] = ()
    for at, report in enumerate(reports):
        before = None if report.faults else first.setdefault(report.header.key, at)
        if before is None or before == at:
            earlier.append(None)
            continue
        known = known or hashes()
        if known[before] == known[at]:
            earlier.append(before)
        else:
            report.refuse("025", "ISA", 1, 13)
            report.settle()
            earlier.append(None)
    return earlier
