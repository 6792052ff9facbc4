"""What each construct of FEEL does: makers of closures over an environment. Nothing here reaches outside of it.

Standard: DMN 1.5, 10.3.2 (semantics). Every node counts a step; a runaway evaluation ends as null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from gateway.core.errors import LimitExceeded
from gateway.rules.feel.builtins import BUILTINS
from gateway.rules.feel.values import Function, Months, Range, arithmetic, compare, equal, kind

MAX_STEPS = 100_000
MAX_ITEMS = 100_000


@dataclass(slots=True)
class Environment:
    """Variables, the enclosing scope, and the steps left (shared by all scopes of one evaluation)."""

    variables: dict[str, Any]
    parent: Environment | None = None
    steps: list[int] = field(default_factory=lambda: [MAX_STEPS])
    depth: int = 0

    def inner(self, variables: dict[str, Any]) -> Environment:
        """A scope inside this one."""
        if self.depth > 200:
            raise LimitExceeded("FEEL calls nested too deeply")
        return Environment(variables, self, self.steps, self.depth + 1)

    def get(self, name: str) -> Any:
        """The value of a name; null when nobody knows it."""
        self.steps[0] -= 1
        if self.steps[0] < 0:
            raise LimitExceeded("FEEL evaluation takes too many steps")
        scope: Environment | None = self
        while scope is not None:
            if name in scope.variables:
                return scope.variables[name]
            scope = scope.parent
        return BUILTINS.get(name)


Node = Callable[[Environment], Any]


def run(node: Node, environment: Environment) -> Any:
    """The value, or null when the evaluation exceeds its limits."""
    try:
        return node(environment)
    except (LimitExceeded, RecursionError, MemoryError):
        return None


def constant(value: Any) -> Node:
    """A literal."""
    return lambda _: value


def variable(name: str) -> Node:
    """A name."""
    return lambda environment: environment.get(name)


def choose(condition: Node, positive: Node, negative: Node) -> Node:
    """`if`: anything but true takes the else branch."""
    return lambda environment: positive(environment) if condition(environment) is True else negative(environment)


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, Range):
        return _spread(value.low, value.high) or []
    return value if isinstance(value, list) else [] if value is None else [value]


def _spread(low: Any, high: Any) -> list[Any] | None:
    if not (isinstance(low, Decimal) and isinstance(high, Decimal)) or abs(high - low) > MAX_ITEMS:
        return None
    step = 1 if high >= low else -1
    return [Decimal(number) for number in range(int(low), int(high) + step, step)]


def spread(low: Node, high: Node) -> Node:
    """`1..n` of an iterator."""
    return lambda environment: _spread(low(environment), high(environment))


def each(names: list[str], lists: list[Node], body: Node) -> Node:
    """`for`: nested in the order of its iterators; `partial` holds the results so far."""

    def loop(environment: Environment) -> Any:
        results: list[Any] = []

        def level(index: int, scope: Environment) -> None:
            if index == len(names):
                results.append(body(scope.inner({"partial": list(results)} if len(results) < 1000 else {})))
                return
            for item in _as_list(lists[index](scope)):
                scope.get("")
                level(index + 1, scope.inner({names[index]: item}))

        level(0, environment)
        return results

    return loop


def quantify(some: bool, names: list[str], lists: list[Node], body: Node) -> Node:
    """`some` and `every`, three-valued."""

    def loop(environment: Environment) -> Any:
        found: list[Any] = []

        def level(index: int, scope: Environment) -> None:
            if index == len(names):
                found.append(body(scope))
                return
            for item in _as_list(lists[index](scope)):
                scope.get("")
                level(index + 1, scope.inner({names[index]: item}))

        level(0, environment)
        if any(value is some for value in found):
            return some
        return None if any(not isinstance(value, bool) for value in found) else not some

    return loop


def define(names: tuple[str, ...], body: Node) -> Node:
    """A function definition; it sees the scope it was made in."""
    return lambda environment: Function(
        names, lambda *values: body(environment.inner(dict(zip(names, values, strict=True))))
    )


def conjoin(left: Node, right: Node) -> Node:
    """`and`, three-valued; what is no boolean counts as null."""

    def both(environment: Environment) -> bool | None:
        first, second = left(environment), right(environment)
        if first is False or second is False:
            return False
        return True if first is True and second is True else None

    return both


def disjoin(left: Node, right: Node) -> Node:
    """`or`, three-valued."""

    def either(environment: Environment) -> bool | None:
        first, second = left(environment), right(environment)
        if first is True or second is True:
            return True
        return False if first is False and second is False else None

    return either


def relate(operator: str, left: Node, right: Node) -> Node:
    """A comparison."""

    def related(environment: Environment) -> bool | None:
        first, second = left(environment), right(environment)
        if operator in ("=", "!="):
            same = equal(first, second)
            return same if operator == "=" or same is None else not same
        return compare(operator, first, second)

    return related


def between(value: Node, low: Node, high: Node) -> Node:
    """`x between a and b`."""
    return lambda environment: Range(low(environment), high(environment), True, True).holds(value(environment))


def tested(value: Node, tests: Node) -> Node:
    """`x in tests`."""
    return lambda environment: tests(environment.inner({"?": value(environment)}))


def instance(value: Node, wanted: str) -> Node:
    """`x instance of type`."""
    return lambda environment: (
        (wanted == "Any" or kind(value(environment)) == wanted) and value(environment) is not None
    )


def calculate(operator: str, left: Node, right: Node) -> Node:
    """Arithmetic."""
    return lambda environment: arithmetic(operator, left(environment), right(environment))


def negate(value: Node) -> Node:
    """Unary minus."""

    def minus(environment: Environment) -> Any:
        found = value(environment)
        if isinstance(found, Months):
            return Months(-found.count)
        return -found if isinstance(found, Decimal | timedelta) else None

    return minus


def path(value: Node, name: str) -> Node:
    """`.name` of a context, of each context of a list, or of a date, time, duration or range."""

    def member(environment: Environment) -> Any:
        found = value(environment)
        if isinstance(found, list):
            return [_property(item, name) for item in found]
        return _property(found, name)

    return member


def _property(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, Months):
        years = int(value.count / 12)
        return {"years": Decimal(years), "months": Decimal(value.count - years * 12)}.get(name)
    if isinstance(value, timedelta):
        seconds = int(abs(value.total_seconds())) * (-1 if value < timedelta() else 1)
        parts = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
        limits = {"days": 10**12, "hours": 24, "minutes": 60, "seconds": 60}
        if name not in parts:
            return None
        return Decimal(int(abs(seconds) // parts[name] % limits[name]) * (-1 if seconds < 0 else 1))
    if isinstance(value, date | time) and name in ("year", "month", "day", "hour", "minute", "second", "weekday"):
        if name == "weekday":
            return Decimal(value.isoweekday()) if isinstance(value, date) else None
        found = getattr(value, name, None) if isinstance(value, datetime) or _has(value, name) else None
        return None if found is None else Decimal(found)
    if isinstance(value, Range):
        ends = {"start": value.low, "end": value.high}
        return {**ends, "start included": value.low_closed, "end included": value.high_closed}.get(name)
    return None


def _has(value: date | time, name: str) -> bool:
    return name in (("year", "month", "day") if isinstance(value, date) else ("hour", "minute", "second"))


def select(value: Node, chooser: Node) -> Node:
    """`list[3]`, `list[-1]`, `list[item > 2]`, `list[name = "x"]`."""

    def chosen(environment: Environment) -> Any:
        found = value(environment)
        items = found if isinstance(found, list) else [] if found is None else [found]
        plain = chooser(
            environment.inner({"item": items[0] if items else None, **_fields(items[0] if items else None)})
        )
        if isinstance(plain, Decimal):
            index = int(plain)
            return items[index - 1 if index > 0 else index] if index and abs(index) <= len(items) else None
        return [item for item in items if chooser(environment.inner({**_fields(item), "item": item})) is True]

    return chosen


def _fields(item: Any) -> dict[str, Any]:
    return item if isinstance(item, dict) else {}


def call(function: Node, positional: list[Node], named: dict[str, Node]) -> Node:
    """An invocation; wrong arguments give null."""

    def invoked(environment: Environment) -> Any:
        target = function(environment)
        environment.get("")
        if not isinstance(target, Function):
            return None
        values = [argument(environment) for argument in positional]
        if named:
            if positional or not set(named) <= set(target.parameters):
                return None
            given = {name: argument(environment) for name, argument in named.items()}
            values = [given.get(name) for name in target.parameters]
            while values and target.parameters[len(values) - 1] not in given:
                values.pop()
        environment.inner({})
        try:
            return target.call(*values)
        except (TypeError, ValueError, ArithmeticError, IndexError, AttributeError):
            return None

    return invoked


def interval(low: Node, high: Node, low_closed: bool, high_closed: bool) -> Node:
    """`[a..b]`, `(a..b)`, `]a..b[`."""
    return lambda environment: Range(low(environment), high(environment), low_closed, high_closed)


def collection(items: list[Node]) -> Node:
    """A list."""
    return lambda environment: [item(environment) for item in items]


def context(entries: list[tuple[str, Node]]) -> Node:
    """A context; later entries see earlier ones."""

    def made(environment: Environment) -> dict[str, Any]:
        found: dict[str, Any] = {}
        scope = environment.inner(found)
        for name, node in entries:
            found[name] = node(scope)
        return found

    return made


def opposite(test: Node) -> Node:
    """`not(tests)`."""

    def turned(environment: Environment) -> bool | None:
        found = test(environment)
        return not found if isinstance(found, bool) else None

    return turned


def any_of(tests: list[Node]) -> Node:
    """Tests joined by commas."""

    def joined(environment: Environment) -> bool | None:
        found = [test(environment) for test in tests]
        return True if True in found else None if None in found else False

    return joined


def satisfied(value: Node, asked: bool) -> Node:
    """A cell that is an expression: equal to the input, holds it, or (when it mentions `?`) is true."""

    def holds(environment: Environment) -> bool | None:
        found, given = value(environment), environment.get("?")
        if asked and isinstance(found, bool):
            return found
        if isinstance(found, Range):
            return found.holds(given)
        if isinstance(found, list) and not isinstance(given, list):
            return any((item.holds(given) if isinstance(item, Range) else equal(item, given)) is True for item in found)
        if isinstance(found, list) and equal(found, given) is not True:
            return any(equal(item, given) is True for item in found)
        return equal(found, given)

    return holds
