"""Segment maps as data: rows compiled once per partner into small closures.

A map is named `<segment>-<resource>` (`PID-Patient`); its rows are those of the guide that are simple
(tables/hl7/segments), replaced field by field by our reviewed rows (tables/hl7/own/segments-*.yaml) and those by the
partner's file. One row, written short or long:

    5: name+ XPN                                      field 5 → Patient.name, one for each repetition, as HumanName
    8: gender code AdministrativeSex                  with a vocabulary
    13: {to: telecom+, as: XTN, with: {use: home}}    `with` adds what the value itself does not say
    7: {to: participant+, in: individual, as: XCN, with: {…}}     the value stands in an element of the new item
    17: {extension: URL, element: valueCodeableConcept, as: CWE}  short for an item of `extension`
    1: "!set id: order only"                          left out on purpose
    4: ~                                              drop the guide's row

A row may also say `component: n` (read one component as a leaf) and `when: {field: n, in: […]}` or
`when: {field: n, valued: true|false}`. There is no other expression language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.hl7.wire import NULL
from gateway.core.errors import ConfigurationError

from . import primitives
from .cursor import LEAF, Components, Cursor, Mark, marked, only, put
from .datatypes import REGISTRY, DataType
from .environment import Env, alone, bare
from .graph import absent
from .recall import TYPES, recalling
from .vocabulary import Vocabulary, overlaid, vocabulary


def _primitive(name: str, convert: Callable[[str, Env], Any]) -> DataType:
    return DataType(name, lambda parts, env, _: convert(parts[1], env), LEAF, convert)


PRIMITIVES: dict[str, DataType] = {
    "string": _primitive("string", lambda text, _env: primitives.string(text)),
    "date": _primitive("date", lambda text, _env: primitives.date(text)),
    "dateTime": _primitive("dateTime", lambda text, env: primitives.date_time(text, env.zone)),
    "instant": _primitive("instant", lambda text, env: primitives.instant(text, env.zone)),
    "integer": _primitive("integer", lambda text, _env: primitives.integer(text)),
    "positiveInt": _primitive("positiveInt", lambda text, _env: primitives.integer(text, 1)),
    "decimal": _primitive("decimal", lambda text, _env: primitives.number(text)),
    "boolean": _primitive("boolean", lambda text, _env: primitives.boolean(text)),
    "raw-code": _primitive("raw-code", lambda text, _env: primitives.code(text)),
}
_GUIDE_TYPES = {
    "CX[Identifier]": "CX", "EI[Identifier-Extension]": "EI", "XPN[HumanName]": "XPN", "XAD[Address]": "XAD",
    "XTN[ContactPoint]": "XTN", "CWE[CodeableConcept]": "CWE", "CNE[CodeableConcept]": "CWE",
    "CE[CodeableConcept]": "CWE", "IS[CodeableConcept]": "CWE", "ID[CodeableConcept]": "CWE", "CWE[code]": "code",
    "ID[code]": "code", "IS[code]": "code", "CWE[Coding]": "Coding", "ID[Coding]": "Coding", "DR[Period]": "DR",
    "CQ[Quantity]": "CQ", "ED[Attachment]": "ED", "RP[Attachment]": "RP", "ID[boolean]": "boolean",
    "TS[dateTime]": "dateTime", "DTM[dateTime]": "dateTime",
}  # fmt: skip
"""Names of the guide's data type maps → ours."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row, read and checked; `rule` makes it run."""

    number: int
    steps: tuple[str, ...]
    many: bool
    target: str
    type: DataType
    vocabulary: Vocabulary | None = None
    inner: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    component: int = 0
    when: Mapping[str, Any] | None = None

    def holds(self, cursor: Cursor) -> bool:
        """Whether the row's condition is met."""
        if self.when is None:
            return True
        value = cursor.get(self.when["field"])
        return value in self.when["in"] if "in" in self.when else bool(value) is self.when["valued"]

    @property
    def components(self) -> Components:
        """What of the field the row maps."""
        return only(self.component) if self.component else self.type.components


Rule = Callable[[Cursor, str, dict[str, Any], Env], None]
"""A row that runs: takes a segment, its field as written, the resource, the environment; maps, and marks the field."""
Compiled = dict[int, Rule]
Store = Callable[[dict[str, Any], Any], bool]


def rule(row: Row) -> Rule:
    """The row as a function: what can be decided before any message comes is decided here."""
    run = _repetitions(row)
    if row.type.name in TYPES and not row.component:
        run = _recalling(row, run)
    elif row.type.leaf is not None and row.component < 2:
        run = _leaf(row, row.type.leaf, run)
    if row.when is None:
        return run

    def conditional(cursor: Cursor, text: str, resource: dict[str, Any], env: Env) -> None:
        if row.holds(cursor):
            run(cursor, text, resource, env)

    return conditional


def together(rules: Sequence[Rule]) -> Rule:
    """Several rows of one field as one."""
    if len(rules) == 1:
        return rules[0]

    def run(cursor: Cursor, text: str, resource: dict[str, Any], env: Env) -> None:
        for one in rules:
            one(cursor, text, resource, env)

    return run


def _repetitions(row: Row) -> Rule:
    """Any row: each repetition of the field gives a value."""
    number, convert, codes, component, store = row.number, row.type.convert, row.vocabulary, row.component, _store(row)
    marks: tuple[Mark, ...] = tuple(marked(row.target, row.components, repetition) for repetition in range(1, 5))

    def run(cursor: Cursor, _text: str, resource: dict[str, Any], env: Env) -> None:
        for repetition, parts in enumerate(cursor.repetitions(number), 1):
            if parts[1] == NULL and bare(parts, NULL):
                _null(row, cursor, resource)
                continue
            value = convert(alone(parts, component) if component else parts, env, codes)
            if value is not None and store(resource, value):
                mark = marks[repetition - 1] if repetition < 5 else marked(row.target, row.components, repetition)
                cursor.marks.setdefault(number, []).append(mark)

    return run


def _leaf(row: Row, convert: Callable[[str, Env], Any], otherwise: Rule) -> Rule:
    """A row of a simple type: most fields are one leaf of letters and digits, so without delimiters or escapes."""
    number, store = row.number, _store(row)
    mark = marked(row.target, row.components, 1)

    def run(cursor: Cursor, text: str, resource: dict[str, Any], env: Env) -> None:
        if not text.isalnum():
            otherwise(cursor, text, resource, env)
            return
        value = convert(text, env)
        if value is not None and store(resource, value):
            cursor.marks.setdefault(number, []).append(mark)

    return run


def _recalling(row: Row, otherwise: Rule) -> Rule:
    """A row whose values come again in other messages."""
    number, store, recall = row.number, _store(row), recalling(row.type, row.vocabulary)
    mark = marked(row.target, row.components, 1)

    def run(cursor: Cursor, text: str, resource: dict[str, Any], env: Env) -> None:
        if env.memory is None or "~" in text or "\\" in text or text == NULL:
            otherwise(cursor, text, resource, env)
            return
        value = recall(text, cursor, number, env)
        if value is not None and store(resource, value):
            cursor.marks.setdefault(number, []).append(mark)

    return run


def _store(row: Row) -> Store:
    """How a value gets to its place; False when that is taken already. `in` and `with` say what stands around it."""
    steps, many, inner, extra = row.steps, row.many, row.inner, row.extra
    element = steps[0] if len(steps) == 1 else ""

    def append(resource: dict[str, Any], value: Any) -> bool:
        held = resource.get(element)
        if held is None:
            resource[element] = [value]
        elif value not in held:
            held.append(value)
        return True

    def set_once(resource: dict[str, Any], value: Any) -> bool:
        if element in resource:
            return bool(resource[element] == value)
        resource[element] = value
        return True

    def deep(resource: dict[str, Any], value: Any) -> bool:
        return put(resource, steps, many, value)

    store = (append if many else set_once) if element else deep
    if inner:
        return lambda resource, value: store(resource, {**extra, inner: value})
    if extra:
        return lambda resource, value: store(resource, {**extra, **value} if isinstance(value, dict) else value)
    return store


def _null(row: Row, cursor: Cursor, resource: dict[str, Any]) -> None:
    """The sender says: delete what you know. The element says that its value is gone."""
    last = row.steps[-1]
    if (
        row.inner
        or last == "extension"
        or row.type.name in {"XCN", "XON", "PL"}
        or last in {"status", "intent", "class"}
    ):
        cursor.mark(row.number, "!explicit null of a reference, an extension or a required element")
        return
    primitive = row.type.name in PRIMITIVES or row.type.name == "code"
    if primitive and row.many:
        cursor.mark(row.number, "!explicit null in a list")
        return
    put(resource, (*row.steps[:-1], f"_{last}") if primitive else row.steps, row.many, absent())
    cursor.mark(row.number, row.target)


def _type(name: str) -> DataType:
    found = PRIMITIVES.get(name) or REGISTRY.get(name)
    if found is None:
        raise ConfigurationError(f"a row names an unknown data type {name!r}")
    return found


def compile_row(map_name: str, number: int, written: Any, own_codes: Mapping[str, Mapping[str, str]]) -> Row:
    """One row from its short or long form. Raises ConfigurationError when it cannot work."""
    if isinstance(written, str):
        words = written.split()
        written = {"to": words[0], "as": words[1] if len(words) > 1 else "string", "vocabulary": " ".join(words[2:])}
    extra = dict(written.get("with", {}))
    inner = str(written.get("in", ""))
    to = str(written.get("to", "extension+"))
    if "extension" in written:
        inner = str(written["element"])
        extra = {"url": str(written["extension"]), **extra}
    resource = map_name.partition("-")[2].partition("-")[0]
    name = written.get("vocabulary") or ""
    bound: Vocabulary | None = None
    if name:
        bound = overlaid(name, own_codes[name]) if name in own_codes else vocabulary(name)
    when = written.get("when")
    if when is not None and not ("field" in when and ("in" in when or "valued" in when)):
        raise ConfigurationError("a condition needs field and in, or field and valued", location=f"{map_name}/{number}")
    flag = "~" if str(extra.get("url", "")).startswith("urn:gateway:") else ""
    shown = f"{flag}{resource}.{to.rstrip('+')}" + (f".{inner}" if inner else "")
    return Row(
        number, tuple(to.rstrip("+").split(".")), to.endswith("+"), shown, _type(str(written.get("as", "string"))),
        bound, inner, extra, int(written.get("component", 0)), when,
    )  # fmt: skip


def guide_rows(table: Mapping[str, Any]) -> dict[int, Any]:
    """The guide's simple rows whose data type we have, in our long form."""
    rows: dict[int, Any] = {}
    for entry in table["rows"]:
        name = str(entry.get("as", ""))
        kind = _GUIDE_TYPES.get(name) or (name if name in PRIMITIVES else None)
        if kind:
            vocabulary_name = str(entry.get("vocabulary", "")).replace("Yes/No", "YesNo")
            rows[entry["field"]] = {"to": entry["to"], "as": kind, "vocabulary": vocabulary_name}
    return rows


def apply(compiled: Compiled, cursor: Cursor, resource: dict[str, Any], env: Env) -> None:
    """Run all rows of a map over the populated fields of a segment."""
    for number, text in cursor.filled.items():
        run = compiled.get(number)
        if run is not None:
            run(cursor, text, resource, env)
