"""What is told of a decision stays as it is, byte by byte, whatever is done for speed.

Thirty rules on requests that lack facts or carry wrong ones, and every scenario of every template: truth, value, source
and deciding leaf of each condition, the combining path, the questions, the record. GATEWAY_UPDATE_GOLDEN=1 writes anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

from gateway.core.exact_json import dumps
from gateway.rules import templates
from gateway.rules.catalogue import Catalogue
from gateway.rules.engine import evaluate
from gateway.rules.explain import explain
from gateway.rules.proving.scenarios import CLOCK, read_scenarios
from gateway.rules.release import Release, release
from tests.gateway.rules.synthetic import policy, request, without

GOLDEN = Path(__file__).with_name("trace.golden.json")
SIGN = {True: "t", False: "f", None: "?"}
WRONG = ("", "x", None, True, 5, 5.5, -1, [], ["x"], {}, "2026-02-30", "2026-03-01", {"code": "x"})


def told(pinned: Release, facts: dict[str, Any], **given: Any) -> dict[str, Any]:
    outcome = evaluate(pinned, facts, now=CLOCK, **given)
    return {
        "record": outcome.record.as_json(),
        "requested": list(outcome.requested_information),
        "tasks": list(outcome.tasks),
        "trace": [["".join(SIGN[each] for each in line.results),
                   "".join(SIGN[each] for each in line.truths)]
                  for line in outcome.trace],
        "rules": [report.as_json() for report in explain(pinned, facts, outcome)],
    }  # fmt: skip


def requests() -> list[dict[str, Any]]:
    dice = random.Random(17)
    found = []
    for number in range(120):
        facts = without(dice, request(dice), dice.choice([0.0, 0.25, 0.6]))
        if number % 3 == 0:
            for key in dice.sample(sorted(facts), 6):
                facts[key] = dice.choice(WRONG)
        if number % 4 == 0:
            extra = {
                "sequence": 2,
                "code": dice.choice(["X2001", "X2401", 7, None]),
                "quantity": dice.choice([3, "3", 9.5]),
            }
            facts["services"] = [*(facts["services"] if isinstance(facts.get("services"), list) else []), extra]
        found.append(facts)
    return found


def test_the_trace_is_as_it_was(catalogue: Catalogue) -> None:
    synthetic = release(policy(catalogue, "staged"), catalogue)
    found = {"synthetic": [told(synthetic, facts) for facts in requests()]}
    for name in templates.names():
        pinned = templates.load(name, catalogue)
        scenarios = read_scenarios(templates.files_of(name)["scenarios.yaml"])
        found[name] = [told(pinned, each.facts, as_of=each.as_of, reviewer=each.reviewer) for each in scenarios]
    digests = {name: hashlib.sha256(b"\n".join(dumps(each, sort_keys=True) for each in body)).hexdigest()
               for name, body in found.items()}  # fmt: skip
    now = {"sha256": digests, "first": json.loads(dumps(found["synthetic"][0]))}
    if os.environ.get("GATEWAY_UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    kept = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert now["first"] == kept["first"]
    assert digests == kept["sha256"]
