"""Rule evaluations a second, ours beside the registry's engines, on one policy in one run.

    python benchmarks/rules.py [--seconds 3]

The thirty-rule policy of tests/gateway/rules/synthetic.py is translated mechanically into the expression languages of
zen-engine and a CEL engine (both optional: `pip install zen-engine common-expression-language`; an absent one is said
to be absent). On complete requests all of them must name the same matches, else the run fails. Then each evaluates all
thirty rules on every request, the index on service codes switched off. Every mode there is of each engine is shown:

zen-engine    30 compiled expressions; one expression that gives 30 truths; a decision table whose rows are the rules
              and that collects those that match, without and with its trace (of the rows that matched; those that did
              not leave none).
CEL           30 compiled programs on one context.
ours          the truth of every leaf and of every rule, matched or not, always: there is no mode without that trace.
              The whole decision adds index, strategy, guard, questions and canonical record; explaining reads the
              values and words of every leaf again from the same facts, which a decision leaves to whoever asks.

Like with like are the traced modes: zen's table with its trace beside our trace. A last part measures 5,000 indexed
rules.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.rules.catalogue import Catalogue, catalogue_of
from gateway.rules.engine import Reviewer, evaluate
from gateway.rules.explain import explain
from gateway.rules.files import read_yaml
from gateway.rules.model import (
    AllOf,
    AnyOf,
    Choice,
    Compare,
    Condition,
    Fact,
    Literal,
    Not,
    Quantified,
    RuleSet,
    SetName,
    Truth,
)
from gateway.rules.release import release
from tests.gateway.rules.synthetic import policy, request, without

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
DAY = date(2026, 1, 15)
SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


class Writer:
    """Conditions in another expression language."""

    def __init__(self, ruleset: RuleSet, words: dict[str, str], some: Callable[[str, str], str], item: str) -> None:
        self.ruleset, self.words, self.some, self.item = ruleset, words, some, item

    def condition(self, node: Condition, scope: str = "") -> str:
        """One condition as text."""
        if isinstance(node, AllOf | AnyOf):
            word = self.words["and" if isinstance(node, AllOf) else "or"]
            return "(" + f" {word} ".join(self.condition(part, scope) for part in node.parts) + ")"
        if isinstance(node, Not):
            return f"{self.words['not']}({self.condition(node.part, scope)})"
        if isinstance(node, Quantified):
            if node.concept:
                return self.some(node.list, f"{self.item}.code in {self.codes(node.concept)}")
            assert node.test is not None
            return self.some(node.list, self.condition(node.test, node.list))
        assert isinstance(node, Compare)
        return self.compare(node, scope)

    def codes(self, name: str) -> str:
        """A list literal."""
        return "[" + ", ".join(f'"{code}"' for code in sorted(self.ruleset.value_sets[name].codes)) + "]"

    def compare(self, node: Compare, scope: str) -> str:
        """One comparison as text."""
        left = self.operand(node.left, scope)
        if isinstance(node.right, SetName):
            return f"{left} in {self.codes(node.right.name)}"
        if node.operator == "between" and isinstance(node.right, Choice):
            low, high = (self.operand(value, scope) for value in node.right.values)
            return f"({left} >= {low} {self.words['and']} {left} <= {high})"
        dates = isinstance(node.left, Fact) and node.left.path.split(".")[1] in ("start", "end", "serviceStart")
        around = self.words["date"] if dates and isinstance(node.right, Fact) else "{}"
        return f"{around.format(left)} {SIGNS[node.operator]} {around.format(self.operand(node.right, scope))}"

    def operand(self, operand: Any, scope: str) -> str:
        """A fact or a value."""
        if isinstance(operand, Fact):
            return f"{self.item}.{operand.path.split('.')[1]}" if scope else operand.path
        assert isinstance(operand, Literal)
        value = operand.value
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, Decimal) else f'"{value}"'


def nest(facts: dict[str, Any]) -> dict[str, Any]:
    """Dotted names as nested contexts, which is what the other engines read."""
    found: dict[str, Any] = {}
    for key, value in facts.items():
        head, _, tail = key.partition(".")
        if tail:
            found.setdefault(head, {})[tail] = value
        else:
            found[key] = value
    found["service"] = facts["services"][0]
    return found


def zen_engine(ruleset: RuleSet) -> Callable[[dict[str, Any]], list[bool]] | None:
    """All rules compiled by zen-engine."""
    try:
        import zen
    except ImportError:
        return None
    words = {"and": "and", "or": "or", "not": "not ", "date": "date({})"}
    writer = Writer(ruleset, words, lambda name, test: f"some({name}, {test})", "#")
    compiled = [zen.compile_expression(writer.condition(rule.condition)) for rule in ruleset.rules]
    return lambda context: [expression.evaluate(context) for expression in compiled]


def zen_at_once(ruleset: RuleSet) -> Callable[[dict[str, Any]], list[bool]] | None:
    """All rules as one expression that gives a list: zen-engine's fastest way, with nothing to tell rules apart by."""
    try:
        import zen
    except ImportError:
        return None
    words = {"and": "and", "or": "or", "not": "not ", "date": "date({})"}
    writer = Writer(ruleset, words, lambda name, test: f"some({name}, {test})", "#")
    whole = zen.compile_expression("[" + ", ".join(writer.condition(rule.condition) for rule in ruleset.rules) + "]")
    return whole.evaluate


def zen_table(ruleset: RuleSet) -> Any:
    """All rules as the rows of one decision table, which collects those that match."""
    try:
        import zen
    except ImportError:
        return None
    words = {"and": "and", "or": "or", "not": "not ", "date": "date({})"}
    writer = Writer(ruleset, words, lambda name, test: f"some({name}, {test})", "#")
    rows = [
        {"_id": rule.id, "when": writer.condition(rule.condition), "matched": json.dumps(rule.id)}
        for rule in ruleset.rules
    ]
    table = {
        "hitPolicy": "collect",
        "inputs": [{"id": "when", "name": "when"}],
        "outputs": [{"id": "matched", "name": "matched", "field": "matched"}],
        "rules": rows,
    }
    nodes = [
        {"id": "in", "type": "inputNode", "name": "in"},
        {"id": "table", "type": "decisionTableNode", "name": "table", "content": table},
        {"id": "out", "type": "outputNode", "name": "out"},
    ]
    edges = [
        {"id": "1", "sourceId": "in", "targetId": "table", "type": "edge"},
        {"id": "2", "sourceId": "table", "targetId": "out", "type": "edge"},
    ]
    return zen.ZenEngine().create_decision(json.dumps({"nodes": nodes, "edges": edges}))


def cel_engine(ruleset: RuleSet) -> Callable[[dict[str, Any]], list[bool]] | None:
    """All rules compiled by the CEL engine."""
    try:
        import cel
    except ImportError:
        return None
    words = {"and": "&&", "or": "||", "not": "!", "date": "{}"}
    writer = Writer(ruleset, words, lambda name, test: f"{name}.exists(each, {test})", "each")
    compiled = [cel.compile(writer.condition(rule.condition)) for rule in ruleset.rules]

    def evaluate_all(context: dict[str, Any]) -> list[bool]:
        converted = cel.Context(variables=context)  # once a request, not once a rule: its fastest way
        return [program.execute(converted) for program in compiled]

    return evaluate_all


Work = tuple[Callable[[Any], object], list[Any]]
ROUNDS = 7


def measure(works: dict[str, Work], seconds: float) -> dict[str, tuple[float, float]]:
    """Items a second of processor time (median of the rounds), and the 99th percentile of one in microseconds of it.

    Processor time, and all engines in turn in each round: what else runs on the machine spares none of them.
    """
    rates: dict[str, list[float]] = {name: [] for name in works}
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(ROUNDS + 1):
        for name, (work, items) in works.items():
            count, began, end = 0, time.process_time(), time.perf_counter() + (seconds / ROUNDS if number else 0.05)
            while not count or time.perf_counter() < end:
                for item in items:
                    work(item)
                count += len(items)
            if number:  # the first round warms up
                rates[name].append(count / (time.process_time() - began))
                times[name].extend(_clocked(work, item) for item in items[:50])
    return {name: (statistics.median(rates[name]), sorted(times[name])[int(len(times[name]) * 0.99)]) for name in works}


def _clocked(work: Callable[[Any], object], item: Any) -> float:
    start = time.process_time()
    work(item)
    return (time.process_time() - start) * 1e6


def report(name: str, rate: float, p99: float, rules: int) -> None:
    """One line."""
    print(f"{name:<52}{rate:>12,.0f}{rate * rules:>16,.0f}{p99:>12,.0f}")


def engines(ruleset: RuleSet) -> dict[str, Callable[[dict[str, Any]], list[bool]] | None]:
    """Each peer in each of its modes: from a context to the truth of every rule, in the rule set's order."""
    table = zen_table(ruleset)

    def collected(**given: Any) -> Callable[[dict[str, Any]], list[bool]] | None:
        def run(context: dict[str, Any]) -> list[bool]:
            found = {row["matched"] for row in table.evaluate(context, given)["result"]}
            return [rule.id in found for rule in ruleset.rules]

        return run if table is not None else None

    return {
        "zen-engine, an expression a rule, no trace": zen_engine(ruleset),
        "zen-engine, one expression for all, no trace": zen_at_once(ruleset),
        "zen-engine, decision table, no trace": collected(),
        "zen-engine, decision table, traced": collected(trace=True),
        "common-expression-language, no trace": cel_engine(ruleset),
    }


def compare_engines(catalogue: Catalogue, seconds: float) -> None:
    """The thirty-rule policy on every engine."""
    ruleset = policy(catalogue)
    pinned = release(ruleset, catalogue)
    dice = random.Random(1)
    complete = [request(dice) for _ in range(300)]
    plan = pinned.program.plan(DAY, None)
    ids = [rule.id for rule in ruleset.rules]

    def ours(facts: dict[str, Any]) -> tuple[list[Truth], list[Truth]]:
        return plan.run(facts, facts["services"][0])

    contexts = [nest(facts) for facts in complete]
    works: dict[str, Work] = {}
    for name, engine in engines(ruleset).items():
        if engine is None:
            print(f"{name}: not installed")
            continue
        for facts, context in zip(complete, contexts, strict=True):
            truths = dict(zip([rule.id for rule in plan.rules], ours(facts)[1], strict=True))
            assert [truths[rule_id] for rule_id in ids] == engine(context), "the engines disagree"
        works[name] = (engine, contexts)
    partial = [without(dice, facts) for facts in complete]
    signer = Reviewer("md-1", "benchmark")

    def decide(facts: dict[str, Any]) -> object:
        return evaluate(pinned, facts, now=NOW, reviewer=signer).record.canonical()

    def tell(facts: dict[str, Any]) -> object:
        outcome = evaluate(pinned, facts, now=NOW, reviewer=signer)
        return json.dumps([each.as_json() for each in explain(pinned, facts, outcome)])

    works["ours, every leaf traced"] = (ours, complete)
    works["ours, every leaf traced, 25 % of facts missing"] = (ours, partial)
    works["ours, whole decision with canonical record"] = (decide, complete)
    works["ours, whole decision, 25 % of facts missing"] = (decide, partial)
    works["ours, decided, explained in words and as JSON"] = (tell, complete)
    print(f"{'30 rules, all evaluated, equal matches asserted':<52}{'requests/s':>12}{'rules/s':>16}{'p99 µs':>12}")
    for name, (rate, p99) in measure(works, seconds).items():
        report(name, rate, p99, len(ids))


def many_rules(catalogue: Catalogue, seconds: float) -> None:
    """5,000 rules of as many service codes: the policy above, copied for other codes."""
    base = policy(catalogue)
    necessity = [rule for rule in base.rules if rule.id.startswith("MN") and rule.id != "MN-16"]
    rules, sets = list(base.rules), dict(base.value_sets)
    for copy in range(1, 5000 // len(necessity) + 1):
        for name in ("oxygen", "pap", "imaging", "joint", "spine", "biologic"):
            fresh = f"{name}-{copy}"
            sets[fresh] = replace(base.value_sets[name], name=fresh, codes=frozenset({f"{name}.{copy}"}))
        for rule in necessity:
            rules.append(replace(rule, id=f"{rule.id}-{copy}", condition=renamed(rule.condition, copy)))
    start = time.perf_counter()
    pinned = release(replace(base, rules=tuple(rules), value_sets=sets), catalogue)
    print(f"\n{len(rules)} rules checked, hashed and compiled in {time.perf_counter() - start:.2f} s")
    dice = random.Random(2)
    requests = []
    for number in range(1, 331):
        facts = request(dice)
        facts["services"][0]["code"] = f"{dice.choice(['oxygen', 'pap', 'imaging'])}.{number}"
        requests.append(facts)

    def decide(facts: dict[str, Any]) -> object:
        return evaluate(pinned, facts, now=NOW)

    blind = [{**facts, "services": [{"sequence": 1}]} for facts in requests[:10]]
    found = measure({"indexed": (decide, requests), "blind": (decide, blind)}, seconds)
    (rate, p99), (blind_rate, blind_p99) = found["indexed"], found["blind"]
    print(f"whole decision: mean {1e3 / rate:.3f} ms, p99 {p99 / 1e3:.3f} ms a request (goal: below 1 ms)")
    print(f"without a service code, so without the index: mean {1e3 / blind_rate:.1f} ms, p99 {blind_p99 / 1e3:.1f} ms")


def renamed(condition: Condition, copy: int) -> Condition:
    """The condition for another set of service codes."""
    if isinstance(condition, AllOf):
        return AllOf(tuple(renamed(part, copy) for part in condition.parts))
    if isinstance(condition, Compare) and isinstance(condition.right, SetName):
        return replace(condition, right=SetName(f"{condition.right.name}-{copy}"))
    return condition


def main() -> None:
    """Both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="per figure")
    seconds = parser.parse_args().seconds
    catalogue = catalogue_of(read_yaml((ROOT / "mappings" / "facts.yaml").read_bytes()))
    compare_engines(catalogue, seconds)
    many_rules(catalogue, seconds)


if __name__ == "__main__":
    main()
