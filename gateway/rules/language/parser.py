"""Text → model by recursive descent; the grammar is grammar.ebnf. Errors point at the word."""

from __future__ import annotations

from gateway.core.errors import ConfigurationError
from gateway.rules.catalogue import Catalogue, ListEntry
from gateway.rules.language.header import read_rule
from gateway.rules.language.reader import DURATIONS, KEYWORDS, Reader
from gateway.rules.model import (
    MAX_CONDITION_TEXT,
    MAX_RULES,
    AllOf,
    AnyOf,
    Choice,
    Compare,
    Comparison,
    Condition,
    Fact,
    Known,
    Literal,
    Not,
    Operand,
    Plus,
    Quantified,
    Quantifier,
    Rule,
    SetName,
    Shifted,
    Span,
    Total,
    Window,
    Within,
)

ORDERS: tuple[tuple[tuple[str, ...], Comparison], ...] = (
    (("less", "than"), "lt"),
    (("at", "most"), "le"),
    (("more", "than"), "gt"),
    (("at", "least"), "ge"),
    (("before",), "lt"),
    (("on", "or", "before"), "le"),
    (("after",), "gt"),
    (("on", "or", "after"), "ge"),
)
_PLAIN: tuple[Quantifier, ...] = ("any", "every", "no", "latest")
_COUNTED: tuple[Quantifier, ...] = ("at least", "at most", "exactly")


def parse_condition(text: str, catalogue: Catalogue) -> Condition:
    """One condition. Raises ConfigurationError with line, column and a suggestion."""
    if len(text) > MAX_CONDITION_TEXT:
        raise ConfigurationError(f"more than {MAX_CONDITION_TEXT} characters", location="line 1 column 1")
    reader = Reader(text, catalogue)
    found = condition(reader)
    if reader.token.kind != "end":
        raise reader.fail(f"expected 'and', 'or' or the end, found {reader.token.text[:40]!r}")
    return found


def parse_rules(text: str, catalogue: Catalogue) -> tuple[Rule, ...]:
    """All rules of a file. Raises ConfigurationError with line, column and a suggestion."""
    reader = Reader(text, catalogue)
    rules: list[Rule] = []
    while reader.token.kind != "end":
        reader.nodes = 0
        rules.append(read_rule(reader, condition))
        if len(rules) > MAX_RULES:
            raise reader.fail(f"more than {MAX_RULES} rules in one file")
    return tuple(rules)


def condition(reader: Reader) -> Condition:
    """`and {"or" and}`."""
    reader.deeper()
    parts = [_and(reader)]
    while reader.take("or"):
        parts.append(_and(reader))
    reader.depth -= 1
    return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))


def _and(reader: Reader) -> Condition:
    parts = [_not(reader)]
    while reader.take("and"):
        parts.append(_not(reader))
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _not(reader: Reader) -> Condition:
    reader.count_node()
    if reader.take("not"):
        reader.deeper()
        found = Not(_not(reader))
        reader.depth -= 1
        return found
    if reader.take("("):
        inner = condition(reader)
        reader.expect(")")
        return inner
    begin = reader.at
    return _quantified(reader) or _predicate(reader, operand(reader), begin)


def _quantified(reader: Reader) -> Quantified | None:
    quantifier: Quantifier | None = None
    count = 0
    for word in _PLAIN:
        if reader.take(word):
            quantifier = word
            break
    else:
        for counted in _COUNTED:
            if reader.take(*counted.split()):
                quantifier, count = counted, reader.whole()
                break
    if quantifier is None:
        return None
    other = reader.take("other")
    entry = reader.list_entry()
    concept = ""
    if reader.token.kind == "string":
        concept = reader.string()
    elif reader.sees("is", "in") and reader.tokens[reader.at + 2].kind == "string":
        reader.take("is", "in")
        concept = reader.string()
    return Quantified(quantifier, entry.name, concept, _test(reader, entry), _window(reader), count, other)


def _test(reader: Reader, entry: ListEntry) -> Condition | None:
    if reader.take("with"):
        reader.expect("(")
        inner = condition(reader)
        reader.expect(")")
        return inner
    short = reader.sees("is") or reader.sees("between") or any(reader.sees(*words) for words, _ in ORDERS)
    if not short:
        return None
    if entry.value is None:
        raise reader.fail(f"{entry.label!r} has no value to compare: use with (…)")
    return _predicate(reader, Fact(entry.value.path), reader.at)


def _window(reader: Reader) -> Window | None:
    if not reader.take("within"):
        return None
    length = reader.duration()
    if reader.take("before"):
        return Window(length, "before", reader.fact())
    if reader.take("after"):
        return Window(length, "after", reader.fact())
    return Window(length)


def operand(reader: Reader) -> Operand:
    """`term {"plus" term}`."""
    terms = [_term(reader)]
    while reader.take("plus"):
        terms.append(reader.literal() or _term(reader))
    return terms[0] if len(terms) == 1 else Plus(tuple(terms))


def _term(reader: Reader) -> Operand:
    if reader.take("total"):
        entry = reader.list_entry()
        for label, name in sorted(((each.label.split(), key) for key, each in entry.fields.items()), reverse=True):
            if reader.take(*label):
                concept = reader.string() if reader.token.kind == "string" else ""
                return Total(entry.name, name, concept, _window(reader))
        raise reader.fail(f"expected a field of {entry.label}, found {reader.token.text[:40]!r}")
    if reader.token.text in ("days", "weeks", "months", "years") and reader.tokens[reader.at + 1].text == "from":
        unit = DURATIONS[reader.token.text]
        reader.at += 2
        start = reader.fact()
        reader.expect("to")
        return Span(unit, start, reader.fact())  # type: ignore[arg-type]
    shifted = _shifted(reader)
    return shifted if shifted is not None else reader.fact()


def _shifted(reader: Reader) -> Shifted | None:
    coming = reader.tokens[reader.at : reader.at + 3]
    if len(coming) < 3 or coming[0].kind != "number" or coming[1].text not in DURATIONS:
        return None
    if coming[2].text not in ("after", "before"):
        return None
    by = reader.duration()
    direction = reader.token.text
    reader.at += 1
    return Shifted(reader.fact(), by, direction)  # type: ignore[arg-type]


def _value(reader: Reader) -> Operand:
    shifted = _shifted(reader)
    if shifted is not None:
        return shifted
    literal = reader.literal()
    if literal is None:
        return operand(reader)
    if not reader.sees("plus"):
        return literal
    terms: list[Operand] = [literal]
    while reader.take("plus"):
        terms.append(reader.literal() or _term(reader))
    return Plus(tuple(terms))


def _choice(reader: Reader) -> Choice:
    values: list[Literal] = []
    reader.expect("(")
    while True:
        literal = reader.literal()
        if literal is None:
            raise reader.fail(f"expected a value, found {reader.token.text[:40]!r}")
        values.append(literal)
        if not reader.take(","):
            break
    reader.expect(")")
    return Choice(tuple(values))


def _set_or_choice(reader: Reader) -> SetName | Choice:
    return SetName(reader.string("a value set in quotes or (values)")) if not reader.sees("(") else _choice(reader)


def _predicate(reader: Reader, left: Operand, begin: int) -> Condition:
    copula = reader.take("is")
    if copula:
        if isinstance(left, Fact) and reader.take("known"):
            return Known(left)
        if reader.take("not", "in"):
            return Compare(left, "notin", _set_or_choice(reader))
        if reader.take("in"):
            return Compare(left, "in", _set_or_choice(reader))
        if reader.take("under"):
            return Compare(left, "under", _under(reader))
    if reader.sees("within") and isinstance(left, Fact):
        return _within(reader, left)
    for words, comparison in ORDERS:
        if reader.take(*words):
            return Compare(left, comparison, _value(reader))
    if reader.take("between"):
        low = reader.literal()
        reader.expect("and")
        high = reader.literal()
        if low is None or high is None:
            raise reader.fail("between needs two values")
        return Compare(left, "between", Choice((low, high)))
    if not copula:
        hint = ""
        if reader.token.kind == "word" and reader.token.text not in KEYWORDS:
            name = " ".join(token.text for token in reader.tokens[begin : reader.at + 1])
            hint = reader.catalogue.hint(name)
        raise reader.fail(f"expected a comparison such as 'is' or 'at most', found {reader.token.text[:40]!r}{hint}")
    return Compare(left, "ne" if reader.take("not") else "eq", _value(reader))


def _under(reader: Reader) -> SetName | Choice | Literal:
    if reader.take("any", "of"):
        return SetName(reader.string("a value set in quotes"))
    if reader.sees("("):
        return _choice(reader)
    return Literal("string", reader.string("a code in quotes"))


def _within(reader: Reader, left: Fact) -> Within:
    token = reader.token
    window = _window(reader)
    if window is None:
        raise reader.fail("expected within", token)
    return Within(left, window)
