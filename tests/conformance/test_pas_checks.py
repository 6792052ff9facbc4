"""Every numbered requirement of the guide is shown by a test, or said to be somebody else's."""

from __future__ import annotations

import re

from tests.conformance.test_checks import functions, table

STATEMENTS = {
    "ainfo": 7, "conf": 16, "metric": 2, "priv": 3, "prof": 10, "prof-ben": 1, "prof-sub": 1, "spec": 73, "use": 6,
}  # fmt: skip
"""How many requirements the guide numbers of each kind (PAS 2.2.1 narrative, 119 in all)."""
REQUIREMENTS = "tests/mappings/fhir/test_requirements.py"


def numbers_of(name: str) -> set[str]:
    """The requirements a test of REQUIREMENTS is named by: test_prof_4_and_spec_65_the_prior … → prof-4, spec-65."""
    found, kind = set(), ""
    for word in name.removeprefix("test_").split("_"):
        if word in STATEMENTS:
            kind = word
        elif word.isdigit() and kind:
            found.add(f"{kind}-{word}")
        elif word != "and":
            break
    return found


def test_every_requirement_of_the_guide_is_shown_or_said_to_be_anothers() -> None:
    known = {f"{kind}-{number}" for kind, count in STATEMENTS.items() for number in range(1, count + 1)}
    assert len(known) == 119
    named = set().union(*(numbers_of(name) for name in functions(REQUIREMENTS)))
    listed = set(re.findall(rf"\b(?:{'|'.join(STATEMENTS)})-\d+\b", table("pas-checks.md")))
    assert named <= known
    assert listed <= known
    assert sorted(known - named - listed) == []
