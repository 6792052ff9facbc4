"""Golden cases: each folder holds an input, the acknowledgement it gets and the report on it.

After a wanted change, GATEWAY_UPDATE_CASES=1 rewrites the expectations; read the difference before committing it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from adapters.x12.inbound import FixedNumbers
from adapters.x12.wire import AckPolicy, InterchangeReport, Options, Quarantined, acknowledge, read
from tests.adapters.x12.samples import NOW

CASES = sorted(path.parent for path in Path(__file__).parent.glob("cases/*/input.x12"))


def judged(data: bytes) -> tuple[str, dict[str, object]]:
    answers, interchanges, quarantined = [], [], []
    for event in read([data], Options(mode="judge")):
        if isinstance(event, InterchangeReport):
            interchanges.append(event.as_json())
            answer = acknowledge(event, AckPolicy(line_ends=True), FixedNumbers(1, 1), NOW)
            answers.append((answer or b"").decode("latin-1"))
        elif isinstance(event, Quarantined):
            quarantined.append(event.as_json())
    return "".join(answers), {"interchanges": interchanges, "quarantined": quarantined}


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_case(case: Path) -> None:
    answer, report = judged((case / "input.x12").read_bytes())
    text = json.dumps(report, indent=1) + "\n"
    if os.environ.get("GATEWAY_UPDATE_CASES"):
        (case / "ack.x12").write_text(answer, newline="")
        (case / "report.json").write_text(text)
    assert answer == (case / "ack.x12").read_text()
    assert text == (case / "report.json").read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_an_acknowledgement_is_itself_accepted_and_answered_by_nothing(case: Path) -> None:
    answer, report = judged((case / "input.x12").read_bytes())
    if not answer:
        return
    again, verdict = judged(answer.encode("latin-1"))
    assert again == ""
    assert {one["outcome"] for one in verdict["interchanges"]} == {"accepted"}
    assert report["quarantined"] == [] or "TA1" in answer or "999" in answer


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_refusing_ta1_never_stands_beside_a_999(case: Path) -> None:
    for event in read([(case / "input.x12").read_bytes()], Options(mode="judge")):
        if isinstance(event, InterchangeReport):
            answer = (acknowledge(event, AckPolicy(), FixedNumbers(1, 1), NOW) or b"").decode("latin-1")
            refused = f"*R*{event.code}~" in answer and "TA1*" in answer
            assert not (refused and "GS*FA" in answer)
            assert bool(event.faults) == refused or event.acknowledgements or not answer
