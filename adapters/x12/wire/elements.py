"""Values of data elements: what each type allows, as a pattern for the fast way and as a check that names the fault.

Standard: X12.6 data element types. AN and ID: printable characters; N: whole numbers; R: decimals, no exponent
(the guides forbid it); DT: CCYYMMDD; TM: HHMM[SS[D[D]]]. Lengths of numbers do not count sign and point.
Monetary amounts (782) have at most two decimals. Element 1251 takes its format from the 1250 before it.
"""

from __future__ import annotations

import re
from datetime import date

from adapters.x12.wire.dictionary import DataElement

DATE = (
    r"(?:19|20)\d\d(?:(?:0[13578]|1[02])(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)(?:0[1-9]|[12]\d|30)"
    r"|02(?:0[1-9]|1\d|2[0-8]))"
)
TIME = r"(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d\d{0,2})?"
PERIODS = {
    "D8": DATE,
    "RD8": f"{DATE}-{DATE}",
    "TM": r"(?:[01]\d|2[0-3])[0-5]\d",
    "DT": f"{DATE}(?:[01]\\d|2[0-3])[0-5]\\d",
}
"""Formats of 1251 by qualifier 1250, for the fast way: strict, so that 29 February takes the slow one."""

_NUMBER = re.compile(r"-?\d+\Z")
_DECIMAL = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)\Z")
_CLOCK = re.compile(TIME + r"\Z")


def value_pattern(data: DataElement, letters: str) -> str:
    """A pattern that matches only values that are certainly good. `letters` is a negated class like `[^*:~]`."""
    low, high = max(data.shortest, 1), data.longest
    if data.type in ("N0", "N2"):
        return rf"-?\d{{{low},{high}}}"
    if data.type == "R":
        decimals = 2 if data.number == "782" else 4
        whole = max(high - decimals, 1)
        return rf"-?(?:\d{{{low},{whole}}}(?:\.\d{{1,{decimals}}})?|\.\d{{{low},{decimals}}})"
    if data.type == "DT":
        return DATE
    if data.type == "TM":
        return TIME
    first = letters.replace("[^", "[^ ", 1)
    return f"{first}{letters}{{{low - 1},{high - 1}}}" if high > 1 else first


def value_fault(data: DataElement, value: str, bad_letter: re.Pattern[str]) -> tuple[str, str]:
    """(IK403 code, what is expected); ("", "") when the value is good."""
    if data.type in ("AN", "ID", "B"):
        if data.type != "B" and bad_letter.search(value):
            return "6", "printable characters"
        return _length_fault(len(value), data)
    if data.type in ("N0", "N2"):
        if not _NUMBER.match(value):
            return "6", "digits"
        return _length_fault(len(value.lstrip("-")), data)
    if data.type == "R":
        if not _DECIMAL.match(value):
            return "6", "a decimal number"
        if data.number == "782" and len(value.partition(".")[2]) > 2:
            return "I12", "at most two decimals"
        return _length_fault(len(value.lstrip("-").replace(".", "")), data)
    if data.type == "DT":
        return ("", "") if is_date(value) else ("8", "CCYYMMDD")
    return ("", "") if _CLOCK.match(value) else ("9", "HHMM or HHMMSS")


def _length_fault(length: int, data: DataElement) -> tuple[str, str]:
    if length < data.shortest:
        return "4", f"{data.shortest} to {data.longest} characters"
    if length > data.longest:
        return "5", f"{data.shortest} to {data.longest} characters"
    return "", ""


def is_date(value: str) -> bool:
    """CCYYMMDD of a real day."""
    if len(value) != 8 or not value.isascii() or not value.isdigit():
        return False
    try:
        return date(int(value[:4]), int(value[4:6]), int(value[6:])).year >= 1800
    except ValueError:
        return False


def is_short_date(value: str) -> bool:
    """YYMMDD of a real day (ISA09)."""
    return len(value) == 6 and is_date(f"20{value}")


def is_clock(value: str) -> bool:
    """HHMM, HHMMSS or HHMMSSD[D]."""
    return bool(_CLOCK.match(value))


def period_fault(qualifier: str, value: str) -> tuple[str, str]:
    """A 1251 against its 1250."""
    good, wanted, code = True, "", "8"
    if qualifier == "D8":
        good, wanted = is_date(value), "CCYYMMDD"
    elif qualifier == "RD8":
        start, dash, end = value.partition("-")
        good, wanted = bool(dash) and is_date(start) and is_date(end), "CCYYMMDD-CCYYMMDD"
    elif qualifier == "TM":
        good, wanted, code = len(value) == 4 and is_clock(value), "HHMM", "9"
    elif qualifier == "DT":
        good, wanted = is_date(value[:8]) and len(value) == 12 and is_clock(value[8:]), "CCYYMMDDHHMM"
    return ("", "") if good else (code, wanted)


def is_npi(value: str) -> bool:
    """National provider identifier: ten digits whose Luhn sum with the prefix 80840 ends in 0 (45 CFR 162.406)."""
    if len(value) != 10 or not value.isascii() or not value.isdigit():
        return False
    total = 24
    for at, letter in enumerate(reversed(value)):
        digit = int(letter)
        if at % 2:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return total % 10 == 0
