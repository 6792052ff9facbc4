"""Units of measure: the part of UCUM that clinical policy uses, converted exactly with Decimal.

Grammar: `atom` or `atom/atom`; atoms below. Not handled: prefixes by rule, exponents, molar ↔ mass conversion (it needs
the substance). Two units are commensurable when their dimensions are equal.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

_ATOMS: dict[str, tuple[str, str, str]] = {
    # code: (dimension, factor to the base unit, offset added after the factor)
    "1": ("1", "1", "0"), "%": ("1", "0.01", "0"), "{score}": ("1", "1", "0"),
    "g": ("mass", "1", "0"), "kg": ("mass", "1000", "0"), "mg": ("mass", "0.001", "0"), "ug": ("mass", "0.000001", "0"),
    "ng": ("mass", "0.000000001", "0"), "[lb_av]": ("mass", "453.59237", "0"),
    "m": ("length", "1", "0"), "cm": ("length", "0.01", "0"), "mm": ("length", "0.001", "0"),
    "[in_i]": ("length", "0.0254", "0"), "m2": ("area", "1", "0"),
    "L": ("volume", "1", "0"), "dL": ("volume", "0.1", "0"), "mL": ("volume", "0.001", "0"),
    "mol": ("amount", "1", "0"), "mmol": ("amount", "0.001", "0"), "umol": ("amount", "0.000001", "0"),
    "mm[Hg]": ("pressure", "133.322387415", "0"), "kPa": ("pressure", "1000", "0"),
    "s": ("time", "1", "0"), "min": ("time", "60", "0"), "h": ("time", "3600", "0"), "d": ("time", "86400", "0"),
    "wk": ("time", "604800", "0"), "mo": ("time", "2629800", "0"), "a": ("time", "31557600", "0"),
    "Cel": ("temperature", "1", "273.15"), "K": ("temperature", "1", "0"),
    "[degF]": ("temperature", "0.5555555555555555555555555556", "255.3722222222222222222222222"),
    "[IU]": ("international units", "1", "0"), "USD": ("money", "1", "0"),
    "{visit}": ("visits", "1", "0"), "{event}": ("events", "1", "0"),
}  # fmt: skip
ALIASES = {
    "mmHg": "mm[Hg]", "years": "a", "year": "a", "months": "mo", "weeks": "wk", "days": "d", "day": "d",
    "lb": "[lb_av]",
    "in": "[in_i]", "percent": "%", "C": "Cel", "degF": "[degF]", "µg": "ug", "mcg": "ug", "l": "L", "dl": "dL",
    "ml": "mL", "IU": "[IU]", "hours": "h", "minutes": "min", "visits": "{visit}", "dollars": "USD",
}  # fmt: skip
"""What people write for a UCUM code; read, never printed."""


def canonical(unit: str) -> str:
    """The UCUM code for what was written; unknown words come back unchanged."""
    return "/".join(ALIASES.get(part, part) for part in unit.split("/"))


@lru_cache(maxsize=512)
def dimension(unit: str) -> str | None:
    """What the unit measures, or None when it is not known here."""
    above, _, below = canonical(unit).partition("/")
    if above not in _ATOMS or (below and below not in _ATOMS):
        return None
    return f"{_ATOMS[above][0]}/{_ATOMS[below][0]}" if below else _ATOMS[above][0]


@lru_cache(maxsize=4096)
def factor(source: str, target: str) -> tuple[Decimal, Decimal] | None:
    """`(multiply, add)` that turns a number of `source` into `target`; None when they cannot be compared."""
    source, target = canonical(source), canonical(target)
    if source == target:
        return Decimal(1), Decimal(0)
    if dimension(source) is None or dimension(source) != dimension(target):
        return None
    scale, shift = _to_base(source)
    target_scale, target_shift = _to_base(target)
    return scale / target_scale, (shift - target_shift) / target_scale


def _to_base(unit: str) -> tuple[Decimal, Decimal]:
    above, _, below = unit.partition("/")
    _, scale, shift = _ATOMS[above]
    divisor = Decimal(_ATOMS[below][1]) if below else Decimal(1)
    return Decimal(scale) / divisor, Decimal(shift)


def convert(number: Decimal, source: str, target: str) -> Decimal | None:
    """The number in another unit; None when the units measure different things."""
    found = factor(source, target)
    if found is None:
        return None
    scale, shift = found
    if shift:  # degrees: five ninths have no end as a decimal, a billionth of a degree is enough
        return round(number * scale + shift, 9).normalize()
    return number if scale == 1 else (number * scale).normalize()
