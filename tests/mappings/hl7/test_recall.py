"""What is kept for the next message: the same as converting again, a copy for each, bounded, and no patients."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.hl7.wire import parse
from gateway.core.errors import GatewayError
from mappings.hl7_to_fhir import Program, build, convert, recall
from tests.mappings.hl7.corpus import lines, of_kind, outside

MESSAGE = (
    r"MSH|^~\&|{sender}|HOSP|GW|PAYER|20260301101500{zone}||ADT^A01|{id}|P|2.5.1" + "\n"
    "PID|1||{id}^^^HOSP^MR||DOE^JANE|||{sex}|||1 MAIN ST^^TOWN||^PRN^PH^^^217^5550199\n"
    "PV1|1|I|W1^101^A^HOSP||||{doctor}|||||||7\n"
    "DG1|1||M54.16^Radiculopathy^I10|Back pain\n"
    "IN1|1|PPO01^Gold^L|ACME01^^^NAIC|Acme Health Plan|PO BOX 9^^PEORIA\n"
)
REYES = "1234567893^REYES^MARIA^^^DR^^^NPI&2.16.840.1.113883.4.6&ISO"


def converted(program: Program, number: int, **parts: str) -> dict[str, Any]:
    said = {"sender": "EHR", "zone": "", "sex": "F", "doctor": REYES} | parts
    return convert(parse(lines(MESSAGE.format(id=str(number), **said))), program).bundle


def test_another_message_gets_the_same_and_a_copy_of_its_own() -> None:
    program = build()
    first = converted(program, 1)
    for kind in ("Practitioner", "Location", "Organization"):
        for resource in of_kind(first, kind):
            resource["identifier"] = resource["name"] = "changed"
    of_kind(first, "Condition")[0]["code"]["coding"][0]["code"] = "changed"
    assert len(program.memory) > 3
    assert converted(program, 2) == converted(build(), 2)


def test_a_doctor_named_twice_is_one_resource() -> None:
    program = build()
    converted(program, 1)
    twice = f"{REYES}|{REYES}"
    assert converted(program, 2, doctor=twice) == converted(build(), 2, doctor=twice)
    assert len(of_kind(converted(program, 3, doctor=twice), "Practitioner")) == 1


def test_ids_of_one_sender_are_not_given_to_another() -> None:
    program = build()
    converted(program, 1)
    assert converted(program, 1, sender="OTHER") == converted(build(), 1, sender="OTHER")


@pytest.mark.parametrize("doctor", ["^REYES^MARIA", f"{REYES}^^L^^^NPI^^^^^20250101", r"7\S\8^REYES^MARIA^^^^^^NPI"])
def test_what_belongs_to_a_message_is_not_kept(doctor: str) -> None:
    """A person without a number is the message's own; times take the message's zone; escapes its character set."""
    program = build()
    converted(program, 1, doctor=doctor)
    assert not any(doctor == text for _, _, text in program.memory)
    assert converted(program, 2, doctor=doctor, zone="+0900") == converted(build(), 2, doctor=doctor, zone="+0900")


def test_unknown_codes_are_told_each_time() -> None:
    program = build()
    text = MESSAGE.format(sender="EHR", zone="", id="1", sex="F", doctor=REYES).replace("5550199", "5550199|||XX^Odd^L")
    found = [convert(parse(lines(text)), program).unmapped for _ in range(3)]
    assert found == [(("MaritalStatus", "XX"),)] * 3


def test_patients_are_not_kept() -> None:
    program = build()
    converted(program, 4711)
    kept = repr(list(program.memory.items()))
    assert not any(told in kept for told in ("4711", "DOE", "MAIN", "5550199"))


def test_no_more_is_kept_than_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "ENTRIES", 20)
    program = build()
    for number in range(50):
        converted(program, number, doctor=f"{number}^REYES^MARIA^^^^^^NPI")
    assert 0 < len(program.memory) <= 20
    converted(program, 51, doctor=f"8^{'X' * 300}^MARIA^^^^^^NPI")
    assert max(len(text) for _, _, text in program.memory) <= recall.LONGEST


def test_a_message_becomes_the_same_whatever_came_before() -> None:
    program, fresh = build(), build()
    samples = [sample for sample in outside() if len(sample.raw) < 20_000]
    for sample in (*samples, *samples):
        fresh.memory.clear()
        try:
            expected = convert(sample.message(), fresh)
        except GatewayError:
            continue
        found = convert(sample.message(), program)
        assert (found.bundle, found.unmapped) == (expected.bundle, expected.unmapped)
        assert found.ledger.entries == expected.ledger.entries
