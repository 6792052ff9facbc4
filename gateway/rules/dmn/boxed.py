"""Boxed expressions as FEEL nodes.

Standard: DMN 1.5, 8 (decision tables) and 10.2.1 (boxed expressions).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from gateway.core.errors import ConfigurationError
from gateway.rules.dmn.types import Type, conform, plain_name
from gateway.rules.dmn.xml import child, children, elements, local, name_of, text_of
from gateway.rules.feel import nodes
from gateway.rules.feel.nodes import Environment, Node
from gateway.rules.feel.parser import compile_expression, compile_unary
from gateway.rules.feel.values import Function, equal
from gateway.rules.tables.hits import LETTERS, settle


@dataclass(frozen=True, slots=True)
class Maker:
    """Turns boxed expressions into nodes; `names` grows with the names of the scope around."""

    names: frozenset[str]
    types: dict[str, Type] = field(default_factory=dict)

    def knowing(self, *names: str) -> Maker:
        """The maker of an inner scope."""
        return Maker(self.names | set(names), self.types)

    def typed(self, node: Node, reference: str | None) -> Node:
        """A node whose value must bear a type."""
        if not reference:
            return node
        wanted = Type(plain_name(reference))
        return lambda environment: conform(node(environment), wanted, self.types)

    def make(self, element: etree._Element | None) -> Node:
        """The node of a boxed expression. Raises ConfigurationError for a kind that is not served."""
        if element is None:
            return nodes.constant(None)
        found = _MAKERS.get(local(element))
        if found is None:
            raise ConfigurationError(f"boxed expression {local(element)!r} is not served")
        return found(self, element)


def expression_in(element: etree._Element | None) -> etree._Element | None:
    """The first child that is an expression."""
    if element is None:
        return None
    return next((each for each in elements(element) if local(each) in _MAKERS), None)


def _literal(maker: Maker, element: etree._Element) -> Node:
    text = text_of(element)
    return maker.typed(compile_expression(text, maker.names), element.get("typeRef")) if text else nodes.constant(None)


def _context(maker: Maker, element: etree._Element) -> Node:
    entries: list[tuple[str, Node]] = []
    result: Node | None = None
    for entry in children(element, "contextEntry"):
        variable = child(entry, "variable")
        node = maker.make(expression_in(entry))
        if variable is None:
            result = node
            continue
        name = name_of(variable)
        entries.append((name, maker.typed(node, variable.get("typeRef"))))
        maker = maker.knowing(name)

    def made(environment: Environment) -> Any:
        found: dict[str, Any] = {}
        scope = environment.inner(found)
        for name, node in entries:
            found[name] = node(scope)
        return result(scope) if result is not None else found

    return made


def _invocation(maker: Maker, element: etree._Element) -> Node:
    function = maker.make(expression_in(element))
    named: dict[str, Node] = {}
    for binding in children(element, "binding"):
        parameter = child(binding, "parameter")
        if parameter is not None:
            named[name_of(parameter)] = maker.make(expression_in(binding))
    return nodes.call(function, [], named)


def _list(maker: Maker, element: etree._Element) -> Node:
    return nodes.collection([maker.make(each) for each in elements(element) if local(each) in _MAKERS])


def _relation(maker: Maker, element: etree._Element) -> Node:
    columns = [name_of(column) for column in children(element, "column")]
    rows = [
        nodes.context(list(zip(columns, [maker.make(cell) for cell in elements(row)], strict=True)))
        for row in children(element, "row")
    ]
    return nodes.collection(rows)


def function_of(maker: Maker, element: etree._Element) -> Node:
    """A function definition: FEEL only."""
    if (element.get("kind") or "FEEL") != "FEEL":
        raise ConfigurationError("only FEEL functions are served")
    parameters = children(element, "formalParameter")
    names = tuple(name_of(each) for each in parameters)
    types = [Type(plain_name(each.get("typeRef") or "")) for each in parameters]
    body = maker.knowing(*names).make(expression_in(element))

    def define(environment: Environment) -> Function:
        def call(*values: Any) -> Any:
            if len(values) != len(names):
                raise TypeError
            given = [conform(value, wanted, maker.types) for value, wanted in zip(values, types, strict=True)]
            return body(environment.inner(dict(zip(names, given, strict=True))))

        return Function(names, call)

    return define


def _conditional(maker: Maker, element: etree._Element) -> Node:
    parts = [maker.make(expression_in(child(element, name))) for name in ("if", "then", "else")]
    return nodes.choose(parts[0], parts[1], parts[2])


def _filter(maker: Maker, element: etree._Element) -> Node:
    inner = maker.knowing("item")
    return nodes.select(
        maker.make(expression_in(child(element, "in"))), inner.make(expression_in(child(element, "match")))
    )


def _iterator(maker: Maker, element: etree._Element) -> Node:
    name = element.get("iteratorVariable") or ""
    items = maker.make(expression_in(child(element, "in")))
    inner = maker.knowing(name, "partial")
    if local(element) == "for":
        return nodes.each([name], [items], inner.make(expression_in(child(element, "return"))))
    test = inner.make(expression_in(child(element, "satisfies")))
    return nodes.quantify(local(element) == "some", [name], [items], test)


def _table(maker: Maker, element: etree._Element) -> Node:
    policy = (element.get("hitPolicy") or "UNIQUE") + (
        f" {element.get('aggregation')}" if element.get("aggregation") else ""
    )
    letter = LETTERS.get(policy)
    if letter is None:
        raise ConfigurationError(f"hit policy {policy!r} is not known")
    inputs = [_input(maker, each) for each in children(element, "input")]
    outputs = [_output(maker, each) for each in children(element, "output")]
    rows = []
    for rule in children(element, "rule"):
        cells = [compile_unary(text_of(each) or "-", maker.names | {"?"}) for each in children(rule, "inputEntry")]
        rows.append((cells, [maker.make(_as_literal(each)) for each in children(rule, "outputEntry")]))
    return _evaluate_table(letter, inputs, outputs, rows)


@dataclass(frozen=True, slots=True)
class _Output:
    name: str
    values: Callable[[Environment], list[Any]]
    default: Node | None
    wanted: Callable[[Any], Any]


def _as_literal(element: etree._Element) -> etree._Element:
    found = etree.Element("literalExpression")
    etree.SubElement(found, "text").text = text_of(element)
    return found


def _input(maker: Maker, element: etree._Element) -> Node:
    expression = child(element, "inputExpression")
    node = _literal(maker, expression) if expression is not None else nodes.constant(None)
    values = text_of(child(element, "inputValues"))
    if not values:
        return node
    test = compile_unary(values, maker.names | {"?"})

    def allowed(environment: Environment) -> Any:
        found = node(environment)
        return found if test(environment.inner({"?": found})) is True else None

    return allowed


def _output(maker: Maker, element: etree._Element) -> _Output:
    text = text_of(child(element, "outputValues"))
    listed = compile_expression(f"[{text}]", maker.names) if text else nodes.constant([])
    default = child(element, "defaultOutputEntry")
    reference = element.get("typeRef")
    wanted = Type(plain_name(reference)) if reference else None
    return _Output(
        name_of(element),
        listed,
        maker.make(_as_literal(default)) if default is not None else None,
        lambda value: conform(value, wanted, maker.types),
    )


def _evaluate_table(
    letter: str, inputs: list[Node], outputs: list[_Output], rows: list[tuple[list[Node], list[Node]]]
) -> Node:
    def join(values: list[Any]) -> Any:
        if len(outputs) == 1:
            return values[0]
        return {output.name: value for output, value in zip(outputs, values, strict=True)}

    def table(environment: Environment) -> Any:
        given = [node(environment) for node in inputs]
        hits, ranks = [], []
        for cells, results in rows:
            pairs = zip(cells, given, strict=True)
            if all(cell(environment.inner({"?": value})) is True for cell, value in pairs):
                values = [output.wanted(node(environment)) for output, node in zip(outputs, results, strict=True)]
                hits.append(join(values))
                orders = [output.values(environment) for output in outputs]
                ranks.append(tuple(_rank(order, value) for order, value in zip(orders, values, strict=True)))
        default = None
        if not hits and any(output.default is not None for output in outputs):
            default = join([output.default(environment) if output.default else None for output in outputs])
        return settle(letter, hits, ranks, default)

    return table


def _rank(values: list[Any], value: Any) -> int:
    return next((index for index, each in enumerate(values) if equal(each, value) is True), len(values))


_MAKERS: dict[str, Callable[[Maker, etree._Element], Node]] = {
    "literalExpression": _literal,
    "decisionTable": _table,
    "context": _context,
    "invocation": _invocation,
    "list": _list,
    "relation": _relation,
    "functionDefinition": function_of,
    "conditional": _conditional,
    "filter": _filter,
    "for": _iterator,
    "some": _iterator,
    "every": _iterator,
}
