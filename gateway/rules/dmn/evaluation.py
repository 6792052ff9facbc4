"""A model read once: its decisions, knowledge and services as nodes, evaluated by name.

Standard: DMN 1.5, 7 (requirements) and 10.4 (execution semantics of decision services).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from gateway.core.errors import ConfigurationError
from gateway.rules.dmn.boxed import Maker, expression_in, function_of
from gateway.rules.dmn.types import Type, conform, names_of, of_json, plain_name, read_types, to_json
from gateway.rules.dmn.xml import child, children, name_of, parse
from gateway.rules.feel.builtins import BUILTINS
from gateway.rules.feel.nodes import Environment, Node, run
from gateway.rules.feel.values import Function


@dataclass(slots=True)
class Element:
    """A decision, knowledge model, input or service: its name in scope, its type and what it requires (by id)."""

    id: str
    name: str
    kind: str
    reference: str
    requires: tuple[str, ...]
    node: Node | None = None
    outputs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


@dataclass(slots=True)
class Model:
    """A DMN model, ready to evaluate."""

    name: str
    elements: dict[str, Element]
    types: dict[str, Type]
    imports: dict[str, Model] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    """Decisions that cannot be evaluated, with the reason."""

    def decisions(self) -> list[str]:
        """The names of all decisions and decision services."""
        return [each.name for each in self.elements.values() if each.kind in ("decision", "decisionService")]

    def evaluate(self, decision: str, inputs: Mapping[str, Any]) -> Any:
        """The value of a decision or decision service by name, FEEL values in and out.

        Raises ConfigurationError for an unknown name or a decision that uses what is not served.
        """
        found = next(
            (
                each
                for each in self.elements.values()
                if each.name == decision and each.kind in ("decision", "decisionService")
            ),
            None,
        )
        if found is None:
            raise ConfigurationError(
                f"no decision {decision[:80]!r}; the model has {', '.join(self.decisions())[:400]}"
            )
        if found.id in self.problems:
            raise ConfigurationError(self.problems[found.id], location=found.name)
        known: dict[str, Any] = {}
        if found.kind == "decisionService":
            return self._service(found, inputs)
        return self.value(found.id, inputs, known)

    def evaluate_json(self, decision: str, inputs: Mapping[str, Any]) -> Any:
        """As `evaluate`, JSON values in and out; texts become dates and durations by the inputs' types."""
        wanted = {each.name: Type(each.reference) for each in self.elements.values() if each.kind == "inputData"}
        given = {name: of_json(value, wanted.get(name), self.types) for name, value in inputs.items()}
        return to_json(self.evaluate(decision, given))

    def value(self, key: str, inputs: Mapping[str, Any], known: dict[str, Any]) -> Any:
        """The value of an element by id; each is evaluated once."""
        if key in known:
            return known[key]
        known[key] = None  # a circle of requirements ends as null
        element = self.elements.get(key)
        if element is None:
            prefix, _, foreign = key.partition("#")
            model = next((each for each in self.imports.values() if each.name == prefix), None)
            known[key] = model.value(foreign, inputs, known) if model is not None else None
            return known[key]
        wanted = Type(element.reference) if element.reference else None
        if element.kind == "inputData" or (element.kind == "decision" and element.node is None):
            found = inputs.get(element.name)  # a decision without logic is answered from outside
        elif element.kind == "decisionService":
            found = Function(self._input_names(element), self._service_call(element))
        elif element.node is None:
            found = None
        else:
            found = run(element.node, self.scope(element, inputs, known))
        known[key] = conform(found, wanted, self.types) if element.kind in ("inputData", "decision") else found
        return known[key]

    def scope(self, element: Element, inputs: Mapping[str, Any], known: dict[str, Any]) -> Environment:
        """The variables an element sees: what it requires, imported models as contexts, and the built-ins below."""
        variables: dict[str, Any] = {}
        for required in element.requires:
            owner, target = self._resolve(required)
            if target is None:
                continue
            if owner is self:
                variables[target.name] = self.value(target.id, inputs, known)
            else:
                alias = next(name for name, model in self.imports.items() if model is owner)
                given = inputs.get(alias)
                inner = given if isinstance(given, dict) else inputs
                variables.setdefault(alias, {})[target.name] = owner.value(target.id, inner, {})
        return Environment(variables, Environment(dict(BUILTINS)))

    def _resolve(self, reference: str) -> tuple[Model, Element | None]:
        namespace, _, key = reference.rpartition("#")
        if key in self.elements and (not namespace or namespace == self.name):
            return self, self.elements[key]
        for model in self.imports.values():
            if key in model.elements and model.name == namespace:
                return model, model.elements[key]
        return self, self.elements.get(key)

    def _input_names(self, element: Element) -> tuple[str, ...]:
        return tuple(self.elements[key].name for key in element.inputs if key in self.elements)

    def _service_call(self, element: Element) -> Any:
        names = self._input_names(element)
        return lambda *values: self._service(element, dict(zip(names, values, strict=True)))

    def _service(self, element: Element, inputs: Mapping[str, Any]) -> Any:
        known: dict[str, Any] = {}
        for key in element.inputs:
            if key in self.elements and self.elements[key].name in inputs:
                known[key] = conform(inputs[self.elements[key].name], Type(self.elements[key].reference), self.types)
        values = {
            self.elements[key].name: self.value(key, inputs, known) for key in element.outputs if key in self.elements
        }
        found = next(iter(values.values())) if len(values) == 1 else values
        return conform(found, Type(element.reference) if element.reference else None, self.types)


def read_model(data: bytes, imported: Mapping[str, bytes] | None = None) -> Model:
    """Read a model. `imported` holds the bytes of models it imports, by namespace or any key.

    Raises ConfigurationError for what is no DMN, or for a document that is hostile.
    """
    root = parse(data)
    try:
        return _read(root, imported or {})
    except RecursionError as error:
        raise ConfigurationError("the model is nested too deeply") from error


def _read(root: etree._Element, imported: Mapping[str, bytes]) -> Model:
    wanted = {each.get("namespace") for each in children(root, "import")}
    others = [read_model(other) for other in imported.values() if _namespace(other) in wanted]
    imports: dict[str, Model] = {}
    for each in children(root, "import"):
        model = next((other for other in others if other.name == each.get("namespace")), None)
        if model is not None:
            imports[each.get("name") or ""] = model
    types = read_types(root)
    for alias, model in imports.items():
        types |= dict(model.types) | {f"{alias}.{n}": t for n, t in model.types.items()}
    result = Model(root.get("namespace") or "", _elements(root), types, imports)
    names = {each.name for each in result.elements.values()} | names_of(types) | BUILTINS.keys() | imports.keys()
    for model in imports.values():
        names |= {each.name for each in model.elements.values()}
    maker = Maker(frozenset(names | _output_names(root)), types)
    for element in children(root, "decision", "businessKnowledgeModel"):
        key = element.get("id") or name_of(element)
        try:
            if result.elements[key].kind == "decision":
                logic = expression_in(element)
                result.elements[key].node = maker.make(logic) if logic is not None else None
            else:
                logic = child(element, "encapsulatedLogic")
                result.elements[key].node = function_of(maker, logic) if logic is not None else None
        except ConfigurationError as error:
            result.problems[key] = str(error)
    return result


def _namespace(data: bytes) -> str | None:
    """The namespace of a model that may be imported; None for a neighbour that is none."""
    try:
        return parse(data).get("namespace")
    except ConfigurationError:
        return None


def _elements(root: etree._Element) -> dict[str, Element]:
    found: dict[str, Element] = {}
    for element in children(root, "inputData", "decision", "businessKnowledgeModel", "decisionService"):
        variable = child(element, "variable")
        reference = plain_name(variable.get("typeRef") or "") if variable is not None else ""
        key = element.get("id") or name_of(element)
        kind = etree.QName(element).localname
        bkm = kind == "businessKnowledgeModel"
        found[key] = Element(key, name_of(element), kind, "" if bkm else reference, _requirements(element))
        if kind == "decisionService":
            inputs = _references(element, "inputDecision") + _references(element, "inputData")
            found[key].outputs, found[key].inputs = _references(element, "outputDecision"), inputs
    return found


def _references(element: etree._Element, name: str) -> tuple[str, ...]:
    return tuple((each.get("href") or "").rpartition("#")[2] for each in children(element, name))


def _requirements(element: etree._Element) -> tuple[str, ...]:
    found = []
    for requirement in children(element, "informationRequirement", "knowledgeRequirement"):
        for each in requirement:
            href = each.get("href") or ""
            found.append(href[1:] if href.startswith("#") else href)
    return tuple(found)


def _output_names(root: etree._Element) -> set[str]:
    """Names that appear only inside: table outputs, context entries, columns."""
    wanted = ("output", "variable", "column")
    return {
        name_of(each) for each in root.iter() if isinstance(each.tag, str) and etree.QName(each).localname in wanted
    } - {""}
