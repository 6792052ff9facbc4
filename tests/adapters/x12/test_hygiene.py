"""Content of people in mutated claims reaches no acknowledgement, report or file name, unless a partner insists."""

from __future__ import annotations

import json
import random

import pytest

from adapters.x12.inbound import FixedNumbers
from adapters.x12.outbound import file_name
from adapters.x12.wire import AckPolicy, InterchangeReport, Options, Quarantined, acknowledge, read
from tests.adapters.x12.samples import NOW, claims
from tests.adapters.x12.test_fuzz import COUNT, mutated

NAME, MEMBER, STREET = "QZXNAME", "QZXMEMBER", "QZX ROAD"
PLANTED = (
    claims(2)
    .replace("ZZTEST1", NAME)
    .replace("ZZTEST2", NAME)
    .replace("M0000001", MEMBER)
    .replace("2 TEST WAY", STREET)
)
MARK = "QZX"
BUSINESS_UNIT = "CTX"
"""CTX names a claim by CLM01, the sender's own number, which a mutation may have overwritten with a name."""


def outcome(data: bytes, policy: AckPolicy) -> tuple[list[str], str]:
    """(segments of the acknowledgements, everything else that may be logged or shown)."""
    lines: list[str] = []
    said: list[object] = []
    for event in read([data], Options(mode="judge")):
        if isinstance(event, InterchangeReport):
            answer = acknowledge(event, policy, FixedNumbers(1, 1), NOW)
            lines += (answer or b"").decode("latin-1").split("~")
            said += [
                [fault.message for fault in event.faults],
                [one.as_json() for one in event.groups],
                [repr(fault) for _, one in event.transactions() for fault in one.faults],
                file_name("PLAN01", "999", 1, NOW),
            ]
        elif isinstance(event, Quarantined):
            said.append(event.as_json())
    return lines, json.dumps(said)


@pytest.mark.parametrize("copied", [False, True], ids=["values-kept", "values-copied"])
def test_planted_names_and_numbers_go_nowhere(copied: bool) -> None:
    chance, shown = random.Random(20260204), 0
    for _ in range(COUNT):
        data = mutated(PLANTED.encode(), chance)
        lines, said = outcome(data, AckPolicy(copy_values=copied))
        for line in lines:
            if MARK in line:
                assert line.startswith(("IK4*", BUSINESS_UNIT)), line
                assert copied or not line.startswith("IK4*")
                shown += line.startswith("IK4*")
        assert NAME not in said
    assert copied or shown == 0


def test_a_bad_name_is_repeated_only_where_a_partner_insists() -> None:
    data = PLANTED.replace(f"*{NAME}*", f"*{NAME}\x07*", 1).encode()
    kept, _ = outcome(data, AckPolicy())
    copied, _ = outcome(data, AckPolicy(copy_values=True))
    assert [line for line in kept if MARK in line] == []
    assert [line.split("*")[0] for line in copied if MARK in line] == ["IK4"]
