"""How long it takes to refuse hostile rules, in milliseconds: texts, documents, YAML, DMN, runaway FEEL.

    python benchmarks/refusals.py [--rounds 5]

The cases are those of tests/gateway/rules/test_hostile.py. Each is to end in less than 100 ms; the best of the rounds
counts, because the machine is shared. Exit code 1 when one takes longer, or is taken.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.core.errors import ConfigurationError
from gateway.rules.dmn import read_model
from gateway.rules.documents import read_ruleset
from gateway.rules.feel.parser import compile_expression, run
from gateway.rules.files import read_yaml
from gateway.rules.language import compile_condition
from gateway.rules.release import release
from mappings.facts import catalogue
from tests.gateway.rules import test_hostile as hostile

LIMIT = 100.0


def save(document: Any) -> None:
    """A rule set with this condition."""
    rules = [{"id": "R", "category": "fraud", "condition": document, "action": {"type": "pend"}}]
    release(read_ruleset({"id": "hostile", "rules": rules}), catalogue())


def feel(text: str) -> None:
    """A FEEL text that must end as null, which counts as refused."""
    if run(compile_expression(text, frozenset({"f", "n", "x"})), {}) is None:
        raise ConfigurationError("null")


def cases() -> Iterator[tuple[str, Callable[[], object]]]:
    """What is to be refused, by name."""
    for name, text in hostile.HOSTILE_TEXTS.items():
        yield f"text: {name}", partial(compile_condition, text, catalogue())
    for name, document in hostile.HOSTILE_DOCUMENTS.items():
        yield f"document: {name}", partial(save, document)
    for name, data in hostile.HOSTILE_YAML.items():
        yield f"yaml: {name}", partial(read_yaml, data)
    for name, data in hostile.HOSTILE_XML.items():
        yield f"dmn: {name}", partial(read_model, data)
    for name, text in hostile.RUNAWAY.items():
        yield f"feel: {name}", partial(feel, text)


def taken(attempt: Callable[[], object]) -> float | None:
    """Milliseconds until it is refused; None when it is not."""
    began = time.perf_counter()
    try:
        attempt()
    except ConfigurationError:
        return (time.perf_counter() - began) * 1000
    return None


def main() -> None:
    """Print each time, the longest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    catalogue()
    found, accepted = [], []
    for name, attempt in cases():
        times = [each for each in (taken(attempt) for _ in range(rounds)) if each is not None]
        if len(times) < rounds:
            accepted.append(name)
        else:
            found.append((min(times), name))
    for each, name in sorted(found, reverse=True):
        print(f"{each:9.2f} ms  {name}{'  TOO LONG' if each >= LIMIT else ''}")
    for name in accepted:
        print(f"    taken     {name}")
    late = sum(each >= LIMIT for each, _ in found)
    print(f"{len(found)} refused, {late} of them in {LIMIT:.0f} ms or more, {len(accepted)} taken")
    sys.exit(1 if late or accepted else 0)


if __name__ == "__main__":
    main()
