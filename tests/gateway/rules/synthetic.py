"""A synthetic policy of thirty rules and a generator of requests, for tests and benchmarks. Nobody's real policy.

4 eligibility, 4 network, 3 compliance, 3 fraud and 16 medical-necessity rules over oxygen, PAP, imaging, joint, spine
and biologics: nested and/or/not, code sets, list membership, ranges, dates. `CLINICAL` names the facts a request often
comes without.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from gateway.rules.catalogue import Catalogue
from gateway.rules.language import parse_rules
from gateway.rules.model import RuleSet, ValueSet

SERVICES = {
    "oxygen": ("X2001", "X2002"), "pap": ("X2101",), "imaging": ("X2201", "X2202"), "joint": ("X2301",),
    "spine": ("X2401", "X2402"), "biologic": ("X2501",),
}  # fmt: skip
DIAGNOSES = {
    "hypoxemia": ("J44.9", "J96.11", "R09.02"), "apnea": ("G47.33",), "back-pain": ("M54.50", "M51.26"),
    "arthritis": ("M17.11", "M16.12"), "rheumatoid": ("M05.79", "M06.9"), "cancer": ("C79.51",),
}  # fmt: skip
FITTING = {
    "oxygen": "hypoxemia", "pap": "apnea", "imaging": "back-pain", "joint": "arthritis", "spine": "back-pain",
    "biologic": "rheumatoid",
}  # fmt: skip
_NUMBERS = {
    "obs.spo2": ("oxygen saturation", "%"), "obs.pao2": ("arterial oxygen", "mm[Hg]"), "obs.ahi": ("apnea index", ""),
    "obs.bmi": ("body mass index", "kg/m2"), "obs.pain": ("pain score", ""), "obs.crp": ("reactive protein", "mg/L"),
    "answers.weeks": ("conservative weeks", "wk"), "answers.failed": ("failed therapies", ""),
    "answers.days": ("filing days", "d"), "answers.cost": ("requested cost", "USD"),
}  # fmt: skip
_FLAGS = {
    "answers.redflag": "red flag", "answers.xray": "recent radiograph", "answers.smoker": "smoker",
    "answers.consent": "disclosure consent", "answers.emergency": "emergency", "answers.goldcard": "gold card",
    "provider.sanctioned": "provider sanctioned", "provider.credentialed": "provider credentialed",
    "claim.duplicate": "duplicate request", "claim.upcoded": "upcoding flag",
}  # fmt: skip
FACTS = {
    "facts": {
        **{path: {"label": label, "type": "number", "unit": unit} for path, (label, unit) in _NUMBERS.items()},
        **{path: {"label": label, "type": "boolean"} for path, label in _FLAGS.items()},
    }
}
CLINICAL = (*[path for path in _NUMBERS if path.startswith("obs")], "answers.weeks", "answers.failed",
            "answers.redflag", "answers.xray", "answers.smoker", "diagnoses")  # fmt: skip


def policy(catalogue: Catalogue, combine: str = "deny-overrides") -> RuleSet:
    """The thirty rules."""
    sets = {name: ValueSet(name=name, codes=frozenset(codes)) for name, codes in {**SERVICES, **DIAGNOSES}.items()}
    text = Path(__file__).with_name("synthetic.rule").read_text(encoding="utf-8")
    rules = parse_rules(text, catalogue.extended(FACTS))
    return RuleSet(
        id="synthetic",
        version=1,
        rules=rules,
        combine=combine,
        value_sets=sets,
        facts=FACTS,
        order=tuple(rule.id for rule in rules) if combine == "first-applicable" else (),
        automatic_denials=("eligibility", "network", "compliance", "fraud"),
    )


def request(random_: random.Random) -> dict[str, Any]:
    """One complete request."""
    line = random_.choice([code for codes in SERVICES.values() for code in codes])
    topic = next(name for name, codes in SERVICES.items() if line in codes)
    fitting = FITTING[topic]
    group = fitting if random_.random() < 0.8 else random_.choice(list(DIAGNOSES))

    def flag(share: float) -> bool:
        return random_.random() < share

    return {
        "request.receivedAt": "2026-01-15T10:00:00+00:00",
        "request.serviceStart": f"2026-{random_.randint(1, 12):02}-{random_.randint(1, 28):02}",
        "request.type": random_.choice(["HS", "AR", "SC"]),
        "request.priority": random_.choice(["urgent", "normal"]),
        "patient.age": random_.randint(1, 99),
        "coverage.active": not flag(0.05),
        "coverage.start": "2025-01-01" if flag(0.95) else "2026-06-01",
        "coverage.end": "2027-12-31" if flag(0.95) else "2026-03-31",
        "provider.inNetwork": not flag(0.15),
        "provider.sanctioned": flag(0.02),
        "provider.credentialed": not flag(0.05),
        "claim.duplicate": flag(0.03),
        "claim.upcoded": flag(0.05),
        "obs.spo2": random_.randint(80, 99),
        "obs.pao2": random_.randint(45, 80),
        "obs.ahi": random_.randint(0, 40),
        "obs.bmi": random_.randint(18, 50),
        "obs.pain": random_.randint(0, 10),
        "obs.crp": random_.randint(1, 40),
        "answers.weeks": random_.randint(0, 40),
        "answers.failed": random_.randint(0, 4),
        "answers.days": random_.randint(0, 400),
        "answers.cost": random_.randint(100, 50_000),
        "answers.redflag": flag(0.2),
        "answers.xray": flag(0.7),
        "answers.smoker": flag(0.2),
        "answers.consent": flag(0.8),
        "answers.emergency": flag(0.1),
        "answers.goldcard": flag(0.05),
        "services": [{"sequence": 1, "code": line, "quantity": random_.randint(1, 10)}],
        "diagnoses": [{"code": random_.choice(DIAGNOSES[group])} for _ in range(random_.randint(1, 3))],
    }


def without(random_: random.Random, facts: dict[str, Any], share: float = 0.25) -> dict[str, Any]:
    """The request with a share of its clinical facts missing."""
    return {key: value for key, value in facts.items() if key not in CLINICAL or random_.random() >= share}
