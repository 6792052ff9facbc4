"""FEEL text → closures `(environment) -> value`. Names may hold spaces: the longest known name wins.

Standard: DMN 1.5, 10.3.1.2 (grammar). Precedence, loosest first: if/for/some/every, or, and, comparison and
between/in, + -, * /, ** (left to right, as the standard's test cases have it), unary minus, filter, path and call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from gateway.core.errors import ConfigurationError
from gateway.rules.feel import nodes
from gateway.rules.feel.builtins import BUILTINS
from gateway.rules.feel.lexer import cut, unescape
from gateway.rules.feel.nodes import Environment, Node
from gateway.rules.feel.values import read_temporal

MAX_NESTING = 40
_WORDS = frozenset(
    "if then else for in return some every satisfies and or between function true false null not".split()
)

_SPACED = tuple(name for name in BUILTINS if " " in name)
_AFTER_INTERVAL = frozenset(", ) ] } : = != and or then else in return satisfies between".split())


class Parser:
    """One text. `names` are the names in scope besides the built-in functions; they may hold spaces and signs."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self.text, self.words, self.at, self.depth = text, cut(text), 0, 0
        self.names: dict[str, list[tuple[str, ...]]] = {}
        self.spelled: dict[tuple[str, ...], str] = {}
        for name in (*_SPACED, *names):
            self.learn(name)

    def learn(self, name: str) -> None:
        """Add a name to the scope."""
        try:
            words = tuple(word.text for word in cut(name)[:-1])
        except ConfigurationError:
            return
        if words and words not in self.spelled:
            self.spelled[words] = name
            known = self.names.setdefault(words[0], [])
            known.append(words)
            known.sort(key=len, reverse=True)

    # the token stream

    def fail(self, what: str) -> ConfigurationError:
        """An error at the next token."""
        return ConfigurationError(f"FEEL: expected {what}", location=f"column {self.words[self.at].at + 1}")

    def sees(self, *texts: str) -> bool:
        """Whether the next token is one of these words or marks."""
        word = self.words[self.at]
        return word.kind != "string" and word.text in texts

    def take(self, *texts: str) -> str:
        """Step over the next token if it is one of these; its text, or empty."""
        if self.sees(*texts):
            self.at += 1
            return self.words[self.at - 1].text
        return ""

    def expect(self, text: str) -> None:
        """Step over a word or mark."""
        if not self.take(text):
            raise self.fail(repr(text))

    def whole(self, read: Callable[[], Node]) -> Node:
        """Read all of the text."""
        found = read()
        if self.words[self.at].kind != "end":
            raise self.fail("the end")
        return found

    # expressions

    def expression(self) -> Node:
        """Any expression."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise ConfigurationError(f"FEEL nested deeper than {MAX_NESTING}")
        found = self._textual()
        self.depth -= 1
        return found

    def _textual(self) -> Node:
        if self.take("if"):
            condition = self.expression()
            self.expect("then")
            positive = self.expression()
            self.expect("else")
            return nodes.choose(condition, positive, self.expression())
        if self.take("for"):
            names, lists = self._iterators()
            self.expect("return")
            return nodes.each(names, lists, self.expression())
        if quantifier := self.take("some", "every"):
            names, lists = self._iterators()
            self.expect("satisfies")
            return nodes.quantify(quantifier == "some", names, lists, self.expression())
        if self.sees("function") and self.words[self.at + 1].text == "(":
            return self._function()
        return self._or()

    def _iterators(self) -> tuple[list[str], list[Node]]:
        names, lists = [], []
        while True:
            names.append(self._new_name("in"))
            self.expect("in")
            first = self._or()
            lists.append(nodes.spread(first, self._or()) if self.take("..") else first)
            if not self.take(","):
                return names, lists

    def _new_name(self, *ends: str) -> str:
        words = []
        while not self.sees(*ends, ",", ")", ":") and self.words[self.at].kind != "end":
            words.append(self.words[self.at])
            self.at += 1
        if not words:
            raise self.fail("a name")
        name = self.text[words[0].at : words[-1].at + len(words[-1].text)]
        self.learn(name)
        return name

    def _function(self) -> Node:
        self.at += 2
        names: list[str] = []
        while not self.take(")"):
            names.append(self._new_name())
            if self.take(":"):
                while not self.sees(",", ")"):
                    self.at += 1
            self.take(",")
        if self.sees("external"):
            raise ConfigurationError("FEEL: external functions are not served")
        return nodes.define(tuple(names), self.expression())

    def _or(self) -> Node:
        found = self._and()
        while self.take("or"):
            found = nodes.disjoin(found, self._and())
        return found

    def _and(self) -> Node:
        found = self._comparison()
        while self.take("and"):
            found = nodes.conjoin(found, self._comparison())
        return found

    def _comparison(self) -> Node:
        found = self._sum()
        while True:
            if operator := self.take("<=", ">=", "<", ">", "=", "!="):
                found = nodes.relate(operator, found, self._sum())
            elif self.take("between"):
                low = self._sum()
                self.expect("and")
                found = nodes.between(found, low, self._sum())
            elif self.take("in"):
                found = nodes.tested(found, self._in_tests())
            elif self.take("instance"):
                self.expect("of")
                found = nodes.instance(found, self._type())
            else:
                return found

    def _in_tests(self) -> Node:
        if self.sees("(") and not self._interval_ahead():
            self.at += 1
            tests = self.unary_list()
            self.expect(")")
            return tests
        return self.unary(self._sum)

    def _interval_ahead(self) -> bool:
        depth = 0
        for word in self.words[self.at :]:
            depth += (word.text in ("(", "[")) - (word.text in (")", "]"))
            if word.text == ".." and depth == 1:
                return True
            if depth == 0:
                return False
        return False

    def _type(self) -> str:
        words = []
        while self.words[self.at].kind == "name" and not self.sees("and", "or", "then", "else"):
            words.append(self.words[self.at].text)
            self.at += 1
        return " ".join(words)

    def _sum(self) -> Node:
        found = self._product()
        while operator := self.take("+", "-"):
            found = nodes.calculate(operator, found, self._product())
        return found

    def _product(self) -> Node:
        found = self._power()
        while operator := self.take("*", "/"):
            found = nodes.calculate(operator, found, self._power())
        return found

    def _power(self) -> Node:
        found = self._negation()
        while self.take("**"):
            found = nodes.calculate("**", found, self._negation())
        return found

    def _negation(self) -> Node:
        negative = False
        while self.take("-"):
            negative = not negative
        found = self._postfix()
        return nodes.negate(found) if negative else found

    def _postfix(self) -> Node:
        found = self._primary()
        while True:
            if self.take("."):
                found = nodes.path(found, self._member())
            elif self.sees("[") and not self._ends_interval():
                self.at += 1
                found = nodes.select(found, self.expression())
                self.expect("]")
            elif self.sees("("):
                found = self._call(found)
            else:
                return found

    def _ends_interval(self) -> bool:
        """Whether the `[` ahead ends an interval (`]1..5[`): what follows could not begin a filter."""
        following = self.words[self.at + 1]
        return following.kind == "end" or (following.kind != "string" and following.text in _AFTER_INTERVAL)

    def _member(self) -> str:
        word = self.words[self.at]
        for words in self.names.get(word.text, ()):
            if [each.text for each in self.words[self.at : self.at + len(words)]] == list(words):
                self.at += len(words)
                return self.spelled[words]
        if word.kind != "name":
            raise self.fail("a name")
        self.at += 1
        return word.text

    def _call(self, function: Node) -> Node:
        self.expect("(")
        positional: list[Node] = []
        named: dict[str, Node] = {}
        while not self.take(")"):
            start = self.at
            name = self._argument_name()
            if name:
                named[name] = self.expression()
            else:
                self.at = start
                positional.append(self.expression())
            if not self.sees(")"):
                self.expect(",")
        return nodes.call(function, positional, named)

    def _argument_name(self) -> str:
        words: list[str] = []
        while self.words[self.at].kind == "name":
            words.append(self.words[self.at].text)
            self.at += 1
        return " ".join(words) if words and self.take(":") else ""

    def _primary(self) -> Node:
        word = self.words[self.at]
        if word.kind == "number":
            self.at += 1
            return nodes.constant(Decimal(word.text))
        if word.kind == "string":
            self.at += 1
            return nodes.constant(unescape(word.text))
        if self.take("@"):
            text = unescape(self.words[self.at].text)
            self.at += 1
            return nodes.constant(read_temporal(text))
        if constant := self.take("true", "false", "null"):
            return nodes.constant({"true": True, "false": False, "null": None}[constant])
        if self.take("{"):
            return self._context()
        if self.sees("[", "]") or (self.sees("(") and self._interval_ahead()):
            return self._bracket()
        if self.take("("):
            found = self.expression()
            self.expect(")")
            return found
        if self.take("?"):
            return nodes.variable("?")
        return self._name()

    def _name(self) -> Node:
        word = self.words[self.at]
        for words in self.names.get(word.text, ()):
            if [each.text for each in self.words[self.at : self.at + len(words)]] == list(words):
                self.at += len(words)
                return nodes.variable(self.spelled[words])
        if word.kind != "name" or (word.text in _WORDS and word.text != "not"):
            raise self.fail("a value")
        self.at += 1
        return nodes.variable(word.text)

    def _bracket(self) -> Node:
        """A list or an interval."""
        opening = self.take("[", "]", "(")
        items: list[Node] = []
        while not self.take("]"):
            items.append(self.expression())
            if self.take(".."):
                high = self.expression()
                closing = self.take("]", ")", "[")
                if not closing:
                    raise self.fail("the end of the interval")
                return nodes.interval(items[0], high, opening == "[", closing == "]")
            if not self.sees("]"):
                self.expect(",")
        return nodes.collection(items)

    def _context(self) -> Node:
        entries: list[tuple[str, Node]] = []
        while not self.take("}"):
            word = self.words[self.at]
            if word.kind == "string":
                self.at += 1
                key = unescape(word.text)
                self.learn(key)
            else:
                key = self._new_name()
            self.expect(":")
            entries.append((key, self.expression()))
            if not self.sees("}"):
                self.expect(",")
        return nodes.context(entries)

    # unary tests

    def unary_tests(self) -> Node:
        """`-`, `not(…)`, or a list of tests on `?`."""
        if self.sees("-") and self.words[self.at + 1].kind == "end":
            self.at += 1
            return nodes.constant(True)
        if self.sees("not") and self.words[self.at + 1].text == "(":
            start = self.at
            self.at += 2
            inner = self.unary_list()
            if self.take(")") and self.words[self.at].kind == "end":
                return nodes.opposite(inner)
            self.at = start
        return self.unary_list()

    def unary_list(self) -> Node:
        """Tests joined by commas: any of them."""
        tests = [self.unary()]
        while self.take(","):
            tests.append(self.unary())
        return nodes.any_of(tests) if len(tests) > 1 else tests[0]

    def unary(self, value: Callable[[], Node] | None = None) -> Node:
        """One test on `?`; after `in` its value ends before `and`."""
        if operator := self.take("<=", ">=", "<", ">", "=", "!="):
            return nodes.relate(operator, nodes.variable("?"), self._sum())
        start = self.at
        found = (value or self.expression)()
        asked = any(word.text == "?" for word in self.words[start : self.at])
        return nodes.satisfied(found, asked)


def compile_expression(text: str, names: frozenset[str]) -> Node:
    """An expression. Raises ConfigurationError with the column."""
    parser = Parser(text, names)
    return parser.whole(parser.expression)


def compile_unary(text: str, names: frozenset[str]) -> Node:
    """A decision table cell. Raises ConfigurationError with the column."""
    parser = Parser(text, names)
    return parser.whole(parser.unary_tests)


def run(node: Node, variables: Mapping[str, Any]) -> Any:
    """Evaluate within the step limit; beyond it the value is null."""
    return nodes.run(node, Environment(dict(variables)))
