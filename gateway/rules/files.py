"""A rule set as files: `ruleset.yaml` and, beside it, rules in text (`*.rule`), tables (`*.table.yaml|csv|xlsx`) and
value sets taken from published lists (`<name>.codes.json`, which fill a set of that name that has no codes).

Nothing is opened here: the caller hands over names and bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import orjson

from gateway.core.errors import ConfigurationError
from gateway.rules.catalogue import Catalogue
from gateway.rules.documents import read_ruleset, read_value_set
from gateway.rules.files_yaml import read_yaml
from gateway.rules.language.parser import parse_rules
from gateway.rules.model import MAX_TEXT, Rule, RuleSet, ValueSet
from gateway.rules.tables.analysis import analyse
from gateway.rules.tables.grids import read_table
from gateway.rules.tables.model import table_rules

__all__ = ["assemble", "read_yaml"]


def assemble(files: Mapping[str, bytes], catalogue: Catalogue) -> RuleSet:
    """The rule set of a folder's files. Raises ConfigurationError with file, line and what is wrong."""
    if "ruleset.yaml" not in files:
        raise ConfigurationError("no ruleset.yaml")
    ruleset = read_ruleset(read_yaml(files["ruleset.yaml"], "ruleset.yaml"), "ruleset.yaml")
    ruleset = replace(ruleset, value_sets=_with_codes(ruleset.value_sets, files))
    extended = catalogue.extended(dict(ruleset.facts))
    rules = list(ruleset.rules)
    for name in sorted(files):
        if name.endswith(".rule"):
            rules.extend(_texts(name, files[name], extended))
        elif name.endswith((".table.yaml", ".table.csv", ".table.xlsx")):
            rules.extend(_table(name, files[name], extended))
    return replace(ruleset, rules=tuple(rules))


CODES = ".codes.json"
_SAID = ("title", "question", "loinc", "report_type", "modifier", "questionnaire", "unit")


def _with_codes(value_sets: Mapping[str, ValueSet], files: Mapping[str, bytes]) -> dict[str, ValueSet]:
    """The value sets with those of code files. What the rule set says of one (title, question, unit) stays."""
    found = dict(value_sets)
    for file in sorted(files):
        if not file.endswith(CODES):
            continue
        name = file.removesuffix(CODES)
        if len(files[file]) > MAX_TEXT * 4:
            raise ConfigurationError("the file is too large", location=file)
        try:
            loaded = read_value_set(name, orjson.loads(files[file]), file)
        except orjson.JSONDecodeError as error:
            raise ConfigurationError("not JSON", location=file) from error
        written = found.get(name)
        if written is not None and written.codes:
            raise ConfigurationError("the rule set has codes for this value set already", location=file)
        said = {key: getattr(written, key) for key in _SAID if written is not None and getattr(written, key)}
        found[name] = replace(loaded, **said)
    return found


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
