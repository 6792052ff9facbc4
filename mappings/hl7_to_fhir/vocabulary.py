"""Code maps of HL7's v2-to-FHIR guide (tables/hl7/vocabulary), with a partner's own codes laid over them.

A code found in no map keeps its original coding; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from gateway.core.errors import ConfigurationError

TABLES = Path(__file__).parent.parent / "tables" / "hl7"
V2_SYSTEM = "http://terminology.hl7.org/CodeSystem/v2-"


def load_yaml(path: Path) -> Any:
    """One table. Raises ConfigurationError when it is missing or no YAML."""
    try:
        with path.open(encoding="utf-8") as stream:
            return yaml.load(stream, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"unreadable table {path.name}") from error


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """One map: v2 code → (FHIR code, its system). `table` is the v2 table the source codes belong to."""

    name: str
    table: str
    codes: Mapping[str, tuple[str, str]]

    def lookup(self, code: str) -> tuple[str, str] | None:
        """The target of a source code, or of a code that already is a target; None where the map does not know it."""
        return self.codes.get(code) or self.codes.get(code.upper())


def _pair(value: Any, system: str) -> tuple[str, str]:
    return (str(value[0]), str(value[1])) if isinstance(value, list) else (str(value), system)


@lru_cache(maxsize=512)
def vocabulary(name: str) -> Vocabulary:
    """Load one map by its name in the guide (`AddressType[Use]`)."""
    file = name.replace("]", "").replace("[", "-").replace(".", ".")
    table = load_yaml(TABLES / "vocabulary" / f"{file}.yaml")
    system = table["system"]
    codes = {str(code): _pair(value, system) for code, value in table["codes"].items()}
    targets = [_pair(value, system) for value in table.get("targets", ())] + list(codes.values())
    for code, target_system in targets:
        codes.setdefault(code, (code, target_system))
    return Vocabulary(name, table["table"], codes)


def overlaid(name: str, own: Mapping[str, str]) -> Vocabulary:
    """A map with a partner's codes added: their code → a code the map knows (or a target code)."""
    base = vocabulary(name)
    added = {code: base.lookup(target) or (target, "") for code, target in own.items()}
    return Vocabulary(name, base.table, {**base.codes, **added})


@lru_cache(maxsize=1)
def code_systems() -> Mapping[str, str]:
    """Table 0396 names → system URIs, those seen in practice."""
    table: dict[str, str] = load_yaml(TABLES / "own" / "code_systems.yaml")
    return table


@lru_cache(maxsize=4096)
def system_uri(name: str) -> str:
    """The system of a coding system name (LN, I10, HL70001); names unknown to us become `urn:id:<name>`."""
    if not name:
        return ""
    known = code_systems().get(name) or code_systems().get(name.upper())
    if known:
        return known
    upper = name.upper()
    if upper.startswith("HL7") and upper[3:].lstrip("-").isdigit():
        return f"{V2_SYSTEM}{int(upper[3:].lstrip('-')[-4:]):04d}"
    if name.replace(".", "").isdigit() and "." in name:
        return f"urn:oid:{name}"
    return "urn:id:" + quote(name, safe="")


def table_uri(table: str) -> str:
    """The system of a v2 table named HL70001."""
    return V2_SYSTEM + table[-4:] if table.startswith("HL7") and table[-4:].isdigit() else ""
