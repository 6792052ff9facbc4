"""The fact catalogue as the rules see it: what can be asked of a request, by label and by path.

It is read from the data of mappings/facts.yaml (the caller loads it: this package imports no mapping) and may be
extended by a rule set's own facts. A path is a name (`patient.age`) or a field of a list's record (`service.code`);
`this.code` is the field of the line being decided when a quantifier over services hides it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from gateway.core.errors import ConfigurationError

TYPES = {
    "code": "string", "string": "string", "number": "number", "quantity": "number", "date": "date",
    "dateTime": "dateTime", "boolean": "boolean",
}  # fmt: skip
_CONCEPT = ("code", "type")
_VALUE = ("value", "quantity")
_DATE = ("date", "start", "expires")


@dataclass(frozen=True, slots=True)
class FactEntry:
    """One fact or field: `path` for rules, `key` to look it up in the facts or the record, `list` it belongs to."""

    path: str
    key: str
    label: str
    type: str
    list: str = ""
    unit: str = ""
    question: str = ""
    loinc: str = ""
    many: bool = False


@dataclass(frozen=True, slots=True)
class ListEntry:
    """A list of records. `complete` lists say all there is: what is not in them is false, not unknown."""

    name: str
    item: str
    label: str
    complete: bool
    fields: Mapping[str, FactEntry]
    question: str = ""

    def role(self, names: tuple[str, ...]) -> FactEntry | None:
        """The first of these fields that the list has."""
        return next((self.fields[name] for name in names if name in self.fields), None)

    @property
    def concept(self) -> FactEntry | None:
        """The field a value set is asked of: code or type."""
        return self.role(_CONCEPT)

    @property
    def value(self) -> FactEntry | None:
        """The field a bare comparison is asked of."""
        return self.role(_VALUE)

    @property
    def date(self) -> FactEntry | None:
        """The field a window is asked of."""
        return self.role(_DATE)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All facts and lists, with the ways to find them."""

    facts: Mapping[str, FactEntry]
    lists: Mapping[str, ListEntry]
    by_item: Mapping[str, ListEntry] = field(default_factory=dict)
    by_label: Mapping[str, str] = field(default_factory=dict)
    """Label → path; a list's bare label stands for its concept field."""

    def find(self, path: str) -> FactEntry | None:
        """The fact or field at a path, or None."""
        if path in self.facts:
            return self.facts[path]
        item, _, name = path.rpartition(".")
        entry = self.by_item.get("service" if item == "this" else item)
        return entry.fields.get(name) if entry else None

    def require(self, path: str, location: str = "") -> FactEntry:
        """The fact at a path. Raises ConfigurationError that names the nearest known one."""
        entry = self.find(path)
        if entry is None:
            raise ConfigurationError(f"no fact {path[:80]!r}{self.hint(path)}", location=location)
        return entry

    def require_list(self, name: str, location: str = "") -> ListEntry:
        """The list of a name. Raises ConfigurationError that names the nearest known one."""
        if name not in self.lists:
            near = difflib.get_close_matches(name[:80], self.lists, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"no list {name[:80]!r}{hint}", location=location)
        return self.lists[name]

    def paths(self) -> list[str]:
        """Every path a rule may use."""
        return [*self.facts, *(f"{entry.item}.{name}" for entry in self.lists.values() for name in entry.fields)]

    def hint(self, word: str) -> str:
        """`; did you mean …?` for a misspelt path or label, or nothing."""
        word = word[:80]
        near = difflib.get_close_matches(word, [*self.by_label, *self.paths()], n=1, cutoff=0.55)
        return f"; did you mean {near[0]!r}?" if near else ""

    def extended(self, document: Mapping[str, Any]) -> Catalogue:
        """This catalogue with a rule set's own facts and lists. Raises ConfigurationError when one is redefined."""
        if not document:
            return self
        more = catalogue_of(document)
        doubled = (more.facts.keys() & self.facts.keys()) | (more.lists.keys() & self.lists.keys())
        if doubled:
            raise ConfigurationError(f"facts already in the catalogue: {', '.join(sorted(doubled))}")
        return _index({**self.facts, **more.facts}, {**self.lists, **more.lists})


def catalogue_of(document: Mapping[str, Any]) -> Catalogue:
    """Read a catalogue document (the parsed mappings/facts.yaml).

    Raises ConfigurationError for an unknown type, a missing label, or two facts with one label.
    """
    facts = {path: _entry(path, path, body) for path, body in (document.get("facts") or {}).items()}
    lists: dict[str, ListEntry] = {}
    for name, body in (document.get("lists") or {}).items():
        label = str(body.get("label") or name)
        item = str(body.get("item") or label.replace(" ", "_"))
        fields = {key: _entry(f"{item}.{key}", key, field_body, name) for key, field_body in body["fields"].items()}
        lists[name] = ListEntry(
            name, item, label, bool(body.get("complete", False)), fields, str(body.get("question") or "")
        )
    return _index(facts, lists)


def _entry(path: str, key: str, body: object, list_name: str = "") -> FactEntry:
    if not isinstance(body, Mapping) or body.get("type") not in TYPES:
        raise ConfigurationError("a fact needs a label and a known type", location=path)
    fact = cast(Mapping[str, Any], body)
    return FactEntry(
        path,
        key,
        str(fact.get("label") or key),
        TYPES[fact["type"]],
        list_name,
        str(fact.get("unit") or ""),
        str(fact.get("question") or ""),
        str(fact.get("loinc") or ""),
        bool(fact.get("list", False)),
    )


def _index(facts: Mapping[str, FactEntry], lists: Mapping[str, ListEntry]) -> Catalogue:
    by_label: dict[str, str] = {}
    for entry in facts.values():
        _claim(by_label, entry.label, entry.path)
    for owner in lists.values():
        if owner.concept is not None:
            _claim(by_label, owner.label, owner.concept.path)
        for entry in owner.fields.values():
            _claim(by_label, f"{owner.label} {entry.label}", entry.path)
    for entry in lists["services"].fields.values() if "services" in lists else ():
        _claim(by_label, f"this service {entry.label}", f"this.{entry.key}")
    return Catalogue(facts, lists, {owner.item: owner for owner in lists.values()}, by_label)


def _claim(by_label: dict[str, str], label: str, path: str) -> None:
    if by_label.setdefault(label, path) != path:
        raise ConfigurationError(f"two facts share the label {label!r}", location=path)
