"""A synthetic policy of thirty rules and a generator of requests, for tests and benchmarks. Nobody's real policy.

4 eligibility, 4 network, 3 compliance, 3 fraud and 16 medical-necessity rules over oxygen, PAP, imaging, joint, spine
and biologics: nested and/or/not, code sets, list membership, ranges, dates. `CLINICAL` names the facts a request often
comes without.
"""

from __future__ import annotations

import random
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

_RULES: tuple[tuple[str, str, int, str, str], ...] = (
    ("EL-1", "eligibility", 90, "coverage active is false", "deny"),
    ("EL-2", "eligibility", 80, "coverage start after first day of service", "deny"),
    ("EL-3", "eligibility", 80, "coverage end before first day of service", "deny"),
    ("EL-4", "eligibility", 10, "coverage active is true and age at most 120 a", "approve"),
    ("NW-1", "network", 70, "provider in network is false and not emergency is true and requested cost more than 500 USD", "pend"),
    ("NW-2", "network", 75, "provider sanctioned is true", "deny"),
    ("NW-3", "network", 60, "provider credentialed is false and emergency is false", "escalate"),
    ("NW-4", "network", 10, "provider in network is true or emergency is true", "approve"),
    ("CO-1", "compliance", 70, "filing days more than 365 d", "deny"),
    ("CO-2", "compliance", 60, "disclosure consent is false and any diagnosis \"cancer\"", "pend"),
    ("CO-3", "compliance", 50, "request type is \"AR\" and priority is \"urgent\" and filing days more than 30 d", "pend"),
    ("FR-1", "fraud", 90, "duplicate request is true", "deny"),
    ("FR-2", "fraud", 60, "upcoding flag is true and requested cost at least 5000 USD", "escalate"),
    ("FR-3", "fraud", 50, "requested cost more than 40000 USD and not gold card is true", "escalate"),
    ("MN-1", "medical_necessity", 50, 'service is in "oxygen" and any diagnosis "hypoxemia" and (oxygen saturation at most 88 % or arterial oxygen at most 55 mm[Hg])', "approve"),
    ("MN-2", "medical_necessity", 40, 'service is in "oxygen" and oxygen saturation at least 92 % and arterial oxygen more than 60 mm[Hg]', "deny"),
    ("MN-3", "medical_necessity", 30, 'service is in "oxygen" and smoker is true', "escalate"),
    ("MN-4", "medical_necessity", 50, 'service is in "pap" and any diagnosis "apnea" and (apnea index at least 15 or (apnea index between 5 and 15 and body mass index at least 35 kg/m2))', "approve"),
    ("MN-5", "medical_necessity", 40, 'service is in "pap" and apnea index less than 5', "deny"),
    ("MN-6", "medical_necessity", 60, 'service is in "imaging" and red flag is true', "approve"),
    ("MN-7", "medical_necessity", 50, 'service is in "imaging" and any diagnosis "back-pain" and conservative weeks at least 6 wk', "approve"),
    ("MN-8", "medical_necessity", 40, 'service is in "imaging" and red flag is false and conservative weeks less than 6 wk', "deny"),
    ("MN-9", "medical_necessity", 50, 'service is in "joint" and any diagnosis "arthritis" and recent radiograph is true and conservative weeks at least 12 wk and pain score at least 6', "approve"),
    ("MN-10", "medical_necessity", 40, 'service is in "joint" and (body mass index more than 45 kg/m2 or smoker is true)', "escalate"),
    ("MN-11", "medical_necessity", 30, 'service is in "joint" and recent radiograph is false', "deny"),
    ("MN-12", "medical_necessity", 50, 'service is in "spine" and any diagnosis "back-pain" and conservative weeks at least 24 wk and not smoker is true', "approve"),
    ("MN-13", "medical_necessity", 40, 'service is in "spine" and conservative weeks less than 6 wk and not red flag is true', "deny"),
    ("MN-14", "medical_necessity", 50, 'service is in "biologic" and any diagnosis "rheumatoid" and failed therapies at least 2 and reactive protein more than 10 mg/L', "approve"),
    ("MN-15", "medical_necessity", 40, 'service is in "biologic" and failed therapies less than 1', "deny"),
    ("MN-16", "medical_necessity", 20, "gold card is true and any service with (service quantity at most 5)", "approve"),
)  # fmt: skip


def text_of(rule: tuple[str, str, int, str, str]) -> str:
    """One rule in the rule language."""
    rule_id, category, priority, when, action = rule
    head = f"rule {rule_id}\n  category {category.replace('_', ' ')}\n  priority {priority}\n"
    return f'{head}when {when}\nthen {action} because "Synthetic rule {rule_id}."\n'


def policy(catalogue: Catalogue, combine: str = "deny-overrides") -> RuleSet:
    """The thirty rules."""
    sets = {name: ValueSet(name=name, codes=frozenset(codes)) for name, codes in {**SERVICES, **DIAGNOSES}.items()}
    rules = parse_rules("\n".join(text_of(rule) for rule in _RULES), catalogue.extended(FACTS))
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
    fitting = {"oxygen": "hypoxemia", "pap": "apnea", "imaging": "back-pain", "joint": "arthritis", "spine": "back-pain",
               "biologic": "rheumatoid"}[topic]  # fmt: skip
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
