"""A rule set as files: `ruleset.yaml` and, beside it, rules in text (`*.rule`) and tables (`*.table.yaml|csv|xlsx`).

Nothing is opened here: the caller hands over names and bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.core.errors import ConfigurationError
from gateway.rules.catalogue import Catalogue
from gateway.rules.documents import read_ruleset
from gateway.rules.files_yaml import read_yaml
from gateway.rules.language.parser import parse_rules
from gateway.rules.model import Rule, RuleSet
from gateway.rules.tables.analysis import analyse
from gateway.rules.tables.grids import read_table
from gateway.rules.tables.model import table_rules

__all__ = ["assemble", "read_yaml"]


def assemble(files: Mapping[str, bytes], catalogue: Catalogue) -> RuleSet:
    """The rule set of a folder's files. Raises ConfigurationError with file, line and what is wrong."""
    if "ruleset.yaml" not in files:
        raise ConfigurationError("no ruleset.yaml")
    ruleset = read_ruleset(read_yaml(files["ruleset.yaml"], "ruleset.yaml"), "ruleset.yaml")
    extended = catalogue.extended(dict(ruleset.facts))
    rules = list(ruleset.rules)
    for name in sorted(files):
        if name.endswith(".rule"):
            rules.extend(_texts(name, files[name], extended))
        elif name.endswith((".table.yaml", ".table.csv", ".table.xlsx")):
            rules.extend(_table(name, files[name], extended))
    return replace(ruleset, rules=tuple(rules))


def _texts(name: str, data: bytes, catalogue: Catalogue) -> tuple[Rule, ...]:
    try:
        return parse_rules(data.decode("utf-8"), catalogue)
    except UnicodeDecodeError as error:
        raise ConfigurationError("not UTF-8 text", location=name) from error
    except ConfigurationError as error:
        raise ConfigurationError(error.message, location=f"{name} {error.location}") from error


def _table(name: str, data: bytes, catalogue: Catalogue) -> tuple[Rule, ...]:
    """The rules of a table whose hit policy holds. Raises ConfigurationError for overlaps that U or A forbid."""
    table = read_table(name, data)
    broken = analyse(table, gaps=False).broken
    if broken:
        raise ConfigurationError(broken[0], location=name)
    return table_rules(table, catalogue)
