"""What an ISA must say: X12.5, as TA105 codes in the order they are reported."""

from __future__ import annotations

from adapters.x12.wire.elements import is_clock, is_short_date
from adapters.x12.wire.reports import InterchangeHeader, addressable

ENVELOPE_VERSIONS = ("00401", "00402", "00501")
QUALIFIERS = frozenset([*(f"{number:02d}" for number in (1, 2, 3, 4, *range(7, 39))), "AM", "NR", "SA", "SN", "ZZ"])


def header_checks(header: InterchangeHeader, usage: str) -> tuple[tuple[str, int, bool], ...]:
    """(TA105, ISA element, whether it is good), in the order they are reported."""
    fields = header.fields
    return (
        ("017", 12, header.version in ENVELOPE_VERSIONS),
        ("010", 1, fields[1] in ("00", "01", "02", "03", "04", "05", "06")),
        ("012", 3, fields[3] in ("00", "01")),
        ("005", 5, header.sender_qualifier in QUALIFIERS),
        ("006", 6, addressable(header.sender)),
        ("007", 7, header.receiver_qualifier in QUALIFIERS),
        ("008", 8, addressable(header.receiver)),
        ("014", 9, is_short_date(header.date)),
        ("015", 10, len(header.time) == 4 and is_clock(header.time)),
        ("018", 13, len(header.control_number) == 9 and header.control_number.isdecimal()),
        ("019", 14, header.acknowledgement_requested in ("0", "1")),
        ("020", 15, header.usage in ((usage,) if usage else ("P", "T", "I"))),
    )
