"""Model → text. `parse(print(x)) == x` for every checked model, and the text of a parsed text is stable."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from gateway.rules.catalogue import Catalogue
from gateway.rules.documents.writing import write_number
from gateway.rules.language.header import CATEGORY_WORDS, KINDS
from gateway.rules.language.lexer import quote
from gateway.rules.model import (
    Action,
    AllOf,
    AnyOf,
    Choice,
    Compare,
    Condition,
    Duration,
    Fact,
    Known,
    Literal,
    Not,
    Operand,
    Plus,
    Quantified,
    Rule,
    SetName,
    Shifted,
    Span,
    Total,
    Window,
    Within,
)

_NUMBER_WORDS = {"lt": "less than", "le": "at most", "gt": "more than", "ge": "at least"}
_DATE_WORDS = {"lt": "before", "le": "on or before", "gt": "after", "ge": "on or after"}
_KIND_WORDS = {kind: " ".join(words) for words, kind in KINDS}


def print_rules(rules: tuple[Rule, ...], catalogue: Catalogue) -> str:
    """A whole file."""
    return "\n".join(print_rule(rule, catalogue) for rule in rules)


def print_rule(rule: Rule, catalogue: Catalogue) -> str:
    """One rule, ending with a line break."""
    lines = [f"rule {rule.id} version {rule.version}" + (f" {quote(rule.name)}" if rule.name else "")]
    lines.append("  category " + " ".join(CATEGORY_WORDS[rule.category]))
    if rule.priority:
        lines.append(f"  priority {rule.priority}")
    if rule.effective or rule.expiration:
        start = f" from {rule.effective}" if rule.effective else ""
        end = f" until {rule.expiration}" if rule.expiration else ""
        lines.append(f"  in force{start}{end}")
    for word, value in (("author", rule.author), ("source", rule.source)):
        if value:
            lines.append(f"  {word} {quote(value)}")
    lines.append("when " + _top(rule.condition, catalogue))
    lines.append("then " + print_action(rule.action, catalogue))
    lines.extend(f"  notify {each.to} with {quote(each.template)}" for each in rule.notifications)
    return "\n".join(lines) + "\n"


def _top(condition: Condition, catalogue: Catalogue) -> str:
    if isinstance(condition, AllOf | AnyOf):
        word = "and" if isinstance(condition, AllOf) else "or"
        return f"\n  {word} ".join(_part(part, condition, catalogue) for part in condition.parts)
    return print_condition(condition, catalogue)


def print_action(action: Action, catalogue: Catalogue) -> str:
    """The action with its clauses."""
    words = [_KIND_WORDS[action.type]]
    if action.duration is not None:
        words.append(f"for {print_duration(action.duration)}")
    if action.quantity is not None:
        words.append(f"quantity {write_number(action.quantity)}")
    for word, value in (
        ("unit", action.unit),
        ("code", action.code),
        ("to", action.role),
        ("error", action.error_code),
        ("follow-up", action.follow_up),
    ):
        if value:
            words.append(f"{word} {quote(value)}")
    if action.request:
        words.append("asking for " + ", ".join(print_fact(Fact(path), catalogue) for path in action.request))
    if action.reason:
        words.append(f"\n  because {quote(action.reason)}")
    if action.citation:
        plain = not set(action.citation) & set('()"#\\\n\r') and action.citation == action.citation.strip()
        words.append(f"({action.citation})" if plain else f"citing {quote(action.citation)}")
    if action.reason_codes:
        words.append("reason " + ", ".join(quote(code) for code in action.reason_codes))
    return " ".join(words).replace(" \n", "\n")


def print_duration(duration: Duration) -> str:
    """`1 month`, `12 months`."""
    return f"{duration.count} {duration.unit}" + ("" if duration.count == 1 else "s")


def print_fact(fact: Fact, catalogue: Catalogue) -> str:
    """The label where it leads back to the same path, else the path."""
    entry = catalogue.find(fact.path)
    if entry is None:
        return fact.path
    label = entry.label
    if entry.list:
        owner = catalogue.lists[entry.list]
        if owner.concept is entry and not fact.path.startswith("this."):
            label = owner.label
        elif fact.path.startswith("this."):
            label = f"this service {entry.label}"
        else:
            label = f"{owner.label} {entry.label}"
    plain = all(word.replace("-", "").isalpha() for word in label.split())
    return label if plain and catalogue.by_label.get(label) == fact.path else fact.path


def print_condition(condition: Condition, catalogue: Catalogue) -> str:
    """A condition on one line."""
    if isinstance(condition, AllOf | AnyOf):
        word = " and " if isinstance(condition, AllOf) else " or "
        return word.join(_part(part, condition, catalogue) for part in condition.parts)
    if isinstance(condition, Not):
        inner = print_condition(condition.part, catalogue)
        return f"not ({inner})" if isinstance(condition.part, AllOf | AnyOf) else f"not {inner}"
    if isinstance(condition, Known):
        return f"{print_fact(condition.fact, catalogue)} is known"
    if isinstance(condition, Within):
        return f"{print_fact(condition.fact, catalogue)}{_window(condition.window, catalogue)}"
    if isinstance(condition, Quantified):
        return _quantified(condition, catalogue)
    return f"{_operand(condition.left, catalogue)} {_predicate(condition, catalogue)}"


def _part(part: Condition, parent: AllOf | AnyOf, catalogue: Catalogue) -> str:
    """Brackets where the words alone would group otherwise: the text keeps the shape of the tree."""
    text = print_condition(part, catalogue)
    loose = isinstance(part, AnyOf) or (isinstance(part, AllOf) and isinstance(parent, AllOf))
    return f"({text})" if loose else text


def _quantified(node: Quantified, catalogue: Catalogue) -> str:
    entry = catalogue.lists[node.list]
    words = [node.quantifier + (f" {node.count}" if node.quantifier in ("at least", "at most", "exactly") else "")]
    if node.other:
        words.append("other")
    words.append(entry.label)
    if node.concept:
        words.append(quote(node.concept))
    test = node.test
    if test is not None:
        short = (
            isinstance(test, Compare)
            and entry.value is not None
            and test.left == Fact(entry.value.path)
            and test.operator not in ("in", "notin", "under")
            and (node.window is None or not isinstance(test.right, Total))
        )
        if short and isinstance(test, Compare):
            words.append(_predicate(test, catalogue))
        else:
            words.append(f"with ({print_condition(test, catalogue)})")
    return " ".join(words) + (_window(node.window, catalogue) if node.window is not None else "")


def _window(window: Window, catalogue: Catalogue) -> str:
    length = f" within {print_duration(window.length)}"
    if window == Window(window.length):
        return length
    return f"{length} {window.direction} {print_fact(window.anchor, catalogue)}"


def _operand(operand: Operand, catalogue: Catalogue) -> str:
    if isinstance(operand, Fact):
        return print_fact(operand, catalogue)
    if isinstance(operand, Shifted):
        return f"{print_duration(operand.by)} {operand.direction} {print_fact(operand.base, catalogue)}"
    if isinstance(operand, Span):
        return f"{operand.unit}s from {print_fact(operand.start, catalogue)} to {print_fact(operand.end, catalogue)}"
    if isinstance(operand, Plus):
        return " plus ".join(_operand(term, catalogue) for term in operand.terms)
    if isinstance(operand, Total):
        entry = catalogue.lists[operand.list]
        concept = f" {quote(operand.concept)}" if operand.concept else ""
        window = _window(operand.window, catalogue) if operand.window is not None else ""
        return f"total {entry.label} {entry.fields[operand.field].label}{concept}{window}"
    return print_literal(operand)


def print_literal(literal: Literal) -> str:
    """A value as it is written."""
    value = literal.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{write_number(value)}" + (f" {literal.unit}" if literal.unit else "")
    if isinstance(value, datetime | date):
        return value.isoformat()
    return quote(value)


def _predicate(node: Compare, catalogue: Catalogue) -> str:
    right = node.right
    if node.operator == "between" and isinstance(right, Choice):
        return f"between {print_literal(right.values[0])} and {print_literal(right.values[1])}"
    if isinstance(right, SetName):
        words = {"in": "is in", "notin": "is not in"}.get(node.operator, "is under any of")
        return f"{words} {quote(right.name)}"
    if isinstance(right, Choice):
        words = {"in": "is in", "notin": "is not in"}.get(node.operator, "is under")
        return f"{words} ({', '.join(print_literal(value) for value in right.values)})"
    text = _operand(right, catalogue)
    if node.operator in _NUMBER_WORDS:
        dated = isinstance(right, Shifted) or (isinstance(right, Literal) and right.type in ("date", "dateTime"))
        if isinstance(right, Fact):
            entry = catalogue.find(right.path)
            dated = entry is not None and entry.type in ("date", "dateTime")
        return f"{(_DATE_WORDS if dated else _NUMBER_WORDS)[node.operator]} {text}"
    return f"{ {'eq': 'is', 'ne': 'is not', 'under': 'is under'}[node.operator] } {text}"
