"""A code list as read from a file, the choice made of it, and the value set that comes of both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from gateway.core.errors import ConfigurationError
from gateway.rules.model import MAX_VALUE_SET, ValueSet

_LICENSED = re.compile(r"[0-9]{4}[0-9A-Z]|D[0-9]{4}", re.ASCII)
"""CPT (categories I to III, proprietary analyses) and CDT."""


@dataclass(frozen=True, slots=True)
class Code:
    """One code. A heading is not valid for reporting but stands for what is below it. `end` is the last day of use."""

    code: str
    title: str = ""
    heading: bool = False
    group: str = ""
    start: date | None = None
    end: date | None = None

    def in_use(self, day: date | None) -> bool:
        """Whether it may be used on a day; on no day in particular always."""
        return day is None or ((self.start is None or self.start <= day) and (self.end is None or day <= self.end))


@dataclass(frozen=True, slots=True)
class CodeList:
    """The codes of one file. `documents` names what they were listed by, where a file holds several."""

    system: str
    hash: str
    codes: tuple[Code, ...]
    documents: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """Codes chosen of a list, and how many of licensed systems were left out."""

    source: CodeList
    codes: tuple[Code, ...]
    licensed: int = 0


def select(
    source: CodeList,
    wanted: Sequence[str] = (),
    *,
    on: date | None = None,
    group: str = "",
    headings: bool = False,
    licensed: bool = False,
) -> Chosen:
    """The codes of a list that match one of `wanted`: a code, a beginning (`E11*`), a range (`A00-B99`); none: all.

    A range takes in what begins with its end (`E10-E11` holds E11.9). Raises ConfigurationError when a wanted item
    takes nothing, or nothing is left.
    """
    tests = [(item, _matcher(item)) for item in wanted]
    found: dict[str, Code] = {}
    held = 0
    idle = {item for item, _ in tests}
    for code in source.codes:
        hits = [item for item, test in tests if test(_bare(code.code))]
        if (tests and not hits) or (group and code.group != group) or not code.in_use(on):
            continue
        if code.heading and not headings:
            continue
        idle.difference_update(hits)
        if _LICENSED.fullmatch(code.code) and source.system == "HCPCS" and not licensed:
            held += 1
            continue
        found[code.code] = code
    if idle:
        raise ConfigurationError(
            f"{sorted(idle)[0][:40]!r} takes no code: not in the list, of another group or day, or a heading"
        )
    if not found:
        reason = f": {held} codes of a licensed system were left out" if held else ""
        raise ConfigurationError(f"no code is left{reason}")
    return Chosen(source, tuple(found[code] for code in sorted(found)), held)


def _bare(code: str) -> str:
    return code.replace(".", "")


def _matcher(item: str) -> Callable[[str], bool]:
    text = _bare(item.strip().upper())
    if re.fullmatch(r"[A-Z0-9]{1,7}\*", text, re.ASCII):
        return lambda code: code.startswith(text[:-1])
    low, dash, high = text.partition("-")
    if dash and re.fullmatch(r"[A-Z0-9]{1,7}", low, re.ASCII) and re.fullmatch(r"[A-Z0-9]{1,7}", high, re.ASCII):
        if low > high:
            raise ConfigurationError(f"a range begins with its lower end: {item[:40]!r}")
        return lambda code: low <= code and (code <= high or code.startswith(high))
    if re.fullmatch(r"[A-Z0-9]{1,7}", text, re.ASCII):
        return lambda code: code == text
    raise ConfigurationError(f"a code, a beginning such as E11*, or a range such as A00-B99, not {item[:40]!r}")


def value_set(
    chosen: Chosen,
    *,
    name: str,
    version: str,
    title: str = "",
    source: str = "",
    effective: date | None = None,
    expiration: date | None = None,
) -> ValueSet:
    """The value set of a choice. Raises ConfigurationError beyond the limit or for days in the wrong order."""
    if len(chosen.codes) > MAX_VALUE_SET:
        raise ConfigurationError(f"more than {MAX_VALUE_SET} codes in one value set")
    if effective is not None and expiration is not None and effective >= expiration:
        raise ConfigurationError("the first day lies before the day it ends")
    return ValueSet(
        name=name,
        codes=frozenset(code.code for code in chosen.codes),
        version=version,
        title=title,
        system=chosen.source.system,
        source=source,
        file_hash=chosen.source.hash,
        effective=effective,
        expiration=expiration,
    )


def with_headings(codes: Iterable[str]) -> list[Code]:
    """Codes of a plain list: a code that another one begins with is a heading."""
    ordered = sorted(set(codes))
    following = [*ordered[1:], ""]
    return [Code(code, heading=after.startswith(code)) for code, after in zip(ordered, following, strict=True)]
