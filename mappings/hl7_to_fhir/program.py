"""All tables a conversion runs on, compiled once per partner: segment maps, what is ignored, structures, settings.

A partner's file (data only; its profile names it as `hl7_mapping`):

    zone: America/Chicago              zone of times that name none
    charset: cp1252                    where MSH-18 is empty
    systems: {GENHOSP: urn:oid:1.2.3}  assigning authorities → system URIs
    codes: {AdministrativeSex: {H: M}} own codes → codes the map knows
    segments: {PID-Patient: {3: …}, ZPI-Patient: {2: …}}     rows that replace or add, Z-segments included
    ignored: {ZXX: {"*": reason}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any

from gateway.core.errors import ConfigurationError

from . import actors  # noqa: F401 - registers the data types that make resources
from .primitives import parse_zone
from .recall import Memory
from .rows import Compiled, compile_row, guide_rows, rule, together
from .structure import Structure, parse_structure
from .vocabulary import TABLES, load_yaml

KEYS = {"zone", "charset", "systems", "codes", "segments", "ignored", "reply", "structures"}


@dataclass(frozen=True, slots=True)
class Program:
    """Everything compiled."""

    maps: Mapping[str, Compiled]
    ignored: Mapping[str, Mapping[Any, str]]
    """Segment → field (or "*") → reason."""
    structures: Mapping[str, Structure]
    messages: Mapping[str, Mapping[str, str]]
    """Message code → trigger (or "*") → structure."""
    local: Mapping[str, tuple[str, ...]]
    """Z-segment → its maps, from the partner's file."""
    zone: tzinfo = UTC
    systems: Mapping[str, str] = field(default_factory=dict)
    charset: str | None = None
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)
    """Conversions kept for the next message."""


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[str, dict[int, Any]], dict[str, dict[Any, str]], dict[str, Any]]:
    maps: dict[str, dict[int, Any]] = {}
    for path in sorted((TABLES / "segments").glob("*.yaml")):
        maps[path.stem] = guide_rows(load_yaml(path))
    ignored: dict[str, dict[Any, str]] = {}
    for path in sorted((TABLES / "own").glob("segments-*.yaml")):
        _merge(maps, ignored, load_yaml(path) or {})
    for segment, reasons in load_yaml(TABLES / "own" / "ignored.yaml").items():
        ignored.setdefault(segment, {}).update(reasons)
    return maps, ignored, load_yaml(TABLES / "own" / "structures.yaml")


def _merge(maps: dict[str, dict[int, Any]], ignored: dict[str, dict[Any, str]], own: Mapping[str, Any]) -> None:
    for name, rows in own.items():
        held = maps.setdefault(name, {})
        for number, written in rows.items():
            if written is None:
                held.pop(number, None)
            elif isinstance(written, str) and written.startswith("!"):
                held.pop(number, None)
                ignored.setdefault(name.partition("-")[0], {})[number] = written[1:]
            else:
                held[number] = written


def build(partner: Mapping[str, Any] | None = None) -> Program:
    """Compile the tables, with a partner's file laid over them. Raises ConfigurationError for a broken file."""
    partner = partner or {}
    if unknown := set(partner) - KEYS:
        raise ConfigurationError(f"unknown keys in a partner file: {', '.join(sorted(unknown))}")
    base, base_ignored, structures = _tables()
    maps = {name: dict(rows) for name, rows in base.items()}
    ignored = {name: dict(reasons) for name, reasons in base_ignored.items()}
    _merge(maps, ignored, partner.get("segments", {}))
    for segment, reasons in partner.get("ignored", {}).items():
        ignored.setdefault(segment, {}).update(reasons)
    codes = partner.get("codes", {})
    _check_codes(codes)
    compiled = {name: _compile(name, rows, codes) for name, rows in maps.items()}
    local: dict[str, tuple[str, ...]] = {}
    for name in partner.get("segments", {}):
        if name.startswith("Z"):
            local[name.partition("-")[0]] = (*local.get(name.partition("-")[0], ()), name)
    return Program(
        maps=compiled,
        ignored=ignored,
        structures=_structures(),
        messages=structures["messages"],
        local=local,
        zone=parse_zone(partner["zone"]) if "zone" in partner else UTC,
        systems=partner.get("systems", {}),
        charset=partner.get("charset"),
    )


def load_program(path: Path) -> Program:
    """The program of a partner's file. Raises ConfigurationError for one that is missing, broken or no mapping."""
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise ConfigurationError("a partner file is a mapping of keys", location=path.name)
    return build(content)


def _check_codes(codes: Mapping[str, Mapping[str, str]]) -> None:
    """Codes are text: YAML reads 01 as a number and NO as a truth value, which no message would ever match."""
    for name, own in codes.items():
        if not isinstance(own, dict) or not all(isinstance(part, str) for pair in own.items() for part in pair):
            raise ConfigurationError(
                "codes are written in quotes where YAML takes them for another type", location=name
            )


@lru_cache(maxsize=1)
def _structures() -> Mapping[str, Structure]:
    return {name: parse_structure(name, text) for name, text in _tables()[2]["structures"].items()}


def _compile(name: str, rows: Mapping[int, Any], codes: Mapping[str, Mapping[str, str]]) -> Compiled:
    compiled: Compiled = {}
    for number, written in rows.items():
        several = written if isinstance(written, list) else [written]
        try:
            rules = [rule(compile_row(name, int(number), one, codes)) for one in several]
            compiled[int(number)] = together(rules)
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise ConfigurationError("a row that cannot work", location=f"{name}/{number}") from error
    return compiled


@lru_cache(maxsize=1)
def default_program() -> Program:
    """The program without any partner's file."""
    return build()
