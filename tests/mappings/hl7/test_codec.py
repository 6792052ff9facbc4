"""The codec: what a frame becomes, under which keys, and how it is answered."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from adapters.hl7.wire import parse
from adapters.hl7.wire.batch import split
from gateway.core.envelope import Raw, Reception
from gateway.core.errors import Unavailable
from gateway.core.ports import Codec, Reading
from gateway.rules.catalogue import Catalogue
from mappings.facts import catalogue
from mappings.hl7_codec import Hl7Codec, routing
from mappings.hl7_to_fhir import default_program
from tests.mappings.hl7.corpus import lines, outside
from tests.mappings.hl7.test_answers import REQUEST

RECEPTION = Reception(
    tenant="t", source="hl7/clinic", received_at=datetime(2026, 3, 1, 15, 15, tzinfo=UTC), client="clinic"
)
ADT = r"""
MSH|^~\&|EHR|CLINIC|GW|PAYER|20260301101500-0500||ADT^{event}|{control}|P|2.5.1{ask}
PID|1||{number}^^^CLINIC^MR||DOE^JANE
"""


def read(text: str, codec: Codec | None = None, reception: Reception = RECEPTION) -> Reading:
    return (codec or Hl7Codec()).read(Raw.of(lines(text), "application/hl7-v2"), reception)


def answer_of(reading: Reading) -> list[str]:
    return (reading.answer(None) or b"").decode().rstrip("\r").split("\r")


def adt(event: str = "A08", control: str = "1", number: str = "7", ask: str = "") -> str:
    return ADT.format(event=event, control=control, number=number, ask=ask)


def test_a_request_starts_a_case_its_changes_join_it() -> None:
    keys = set()
    for event, kind in (("I08", "request"), ("I09", "update"), ("I10", "update"), ("I11", "cancel")):
        intake = read(REQUEST.replace("RQA^I08", f"RQA^{event}").replace("|R1|", f"|R{event}|")).intakes[0]
        assert intake.type == f"authorization.{kind}"
        assert intake.natural_key == ("EHR", "CLINIC", f"R{event}")
        assert intake.ordering_key == intake.case_key
        keys.add(intake.case_key)
    assert len(keys) == 1
    assert intake.reply["parents"] == [["trace", "T-1"]]
    assert intake.resource is not None
    claim = next(row["resource"] for row in intake.resource["entry"] if row["resource"]["resourceType"] == "Claim")
    assert claim["status"] == "cancelled"


def test_the_facts_are_those_of_the_catalogue() -> None:
    known: Catalogue = catalogue()
    facts = read(REQUEST).intakes[0].facts
    for name, value in facts.items():
        if isinstance(value, list):
            fields = known.lists[name].fields
            assert all(field in fields for record in value for field in record), name
        else:
            assert name in known.facts, name
    assert facts["request.traceNumber"] == "T-1"
    assert facts["request.priority"] == "routine"
    assert facts["provider.npi"] == "1234567893"
    assert facts["coverage.memberId"] == "M7"
    assert [(row["code"], row["quantity"], row["start"]) for row in facts["services"]] == [
        ("72148", 2, "2026-03-05"),
        ("97110", 12, "2026-03-06"),
    ]
    assert facts["patient.age"] == 56


@pytest.mark.parametrize(
    ("ask", "answers"),
    [
        ("", ["RPA P"]),  # original mode: only the RPA is due
        ("|||NE|AL", ["RPA P"]),
        ("|||AL|AL", ["ACK CA"]),  # the RPA follows by delivery
        ("|||AL|NE", ["ACK CA"]),
        ("|||NE|NE", []),
        ("|||ER|AL", []),
    ],
)
def test_requests_are_answered_as_they_ask(ask: str, answers: list[str]) -> None:
    reading = read(REQUEST.replace("|2.5.1|||AL|AL|", f"|2.5.1{ask or '|||||'}|" if not ask else f"|2.5.1{ask}|"))
    raw = reading.answer(None)
    found = []
    for part in split(raw).messages if raw else ():
        message = parse(part)
        referral = message.first("RF1")
        found.append(f"{message.code} {referral.get(1) if referral else message.get('MSA-1')}")
        assert message.get("MSA-2") == "R1"
    assert found == answers
    assert reading.intakes[0].reply["immediate"] is (answers == ["RPA P"])
    again = reading.answer(None)
    assert again == raw


@pytest.mark.parametrize(
    ("ask", "good", "bad"),
    [("", ["AA"], ["AE"]), ("|||NE|NE", [], []), ("|||AL|NE", ["CA"], ["CE"]), ("|||NE|AL", ["AA"], ["AE"]),
     ("|||AL|AL", ["CA", "AA"], ["CE"]), ("|||ER|ER", [], ["CE"])],
)  # fmt: skip
def test_messages_are_acknowledged_as_they_ask(ask: str, good: list[str], bad: list[str]) -> None:
    reading = read(adt(ask=ask))
    for error, expected in ((None, good), (Unavailable(), bad)):
        raw = reading.answer(error)
        assert [parse(part).get("MSA-1") for part in (split(raw).messages if raw else ())] == expected


def test_the_second_phase_may_go_its_own_way() -> None:
    reception = replace(RECEPTION, attributes={"application-answer": "own-connection"})
    assert [
        parse(part).get("MSA-1")
        for part in split(read(adt(ask="|||AL|AL"), None, reception).answer(None) or b"").messages
    ] == ["CA"]


def test_the_second_phase_travels_with_the_message() -> None:
    reception = replace(RECEPTION, attributes={"application-answer": "own-connection"})
    reply = read(adt(ask="|||AL|AL"), None, reception).intakes[0].reply
    assert parse(base64.b64decode(reply["application"])).get("MSA-1") == "AA"
    for ask in ("", "|||AL|NE", "|||AL|ER"):
        assert "application" not in read(adt(ask=ask), None, reception).intakes[0].reply, ask
    assert "application" not in read(adt(ask="|||AL|AL")).intakes[0].reply
    assert "application" not in read(REQUEST, None, reception).intakes[0].reply, "its answer is the decision"


def test_acknowledgements_are_never_acknowledged() -> None:
    reading = read("MSH|^~\\&|EHR|CLINIC|GW|PAYER|20260301||ACK^I08^ACK|9|P|2.5.1\nMSA|AA|R1\n")
    assert reading.answer(None) is None
    assert [intake.type for intake in reading.intakes] == ["acknowledgement.hl7"]


def test_what_nobody_maps_is_parked_not_refused() -> None:
    reading = read("MSH|^~\\&|EHR|CLINIC|GW|PAYER|20260301||ZZZ^Z01|9|P|2.5.1\nZZ1|1\n")
    assert not reading.refused
    assert reading.intakes[0].parked == "unmappable"
    assert answer_of(reading)[1] == "MSA|AA|9"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("MSH|^~\\&|EHR|CLINIC|GW|PAYER|20260301||ADT^A08||P|2.5.1\nPID|1\n", "AR"),
        ("MSH|^~\\&|EHR|CLINIC|GW|PAYER|20260301||ADT^A08|1|P|2.5.1\nPID|1\nDSC|next|F\n", "AE"),
        ("no message at all", "AR"),
    ],
)
def test_broken_messages_are_refused(text: str, code: str) -> None:
    reading = read(text)
    assert reading.refused
    assert not reading.intakes
    assert f"MSA|{code}" in (reading.answer(None) or b"").decode()


def test_merges_use_the_coarser_key() -> None:
    one, other, same = (read(adt(number=number)).intakes[0] for number in ("7", "8", "7"))
    assert one.lane == same.lane != other.lane
    assert one.lane[0] == "patient"
    merge = read(adt("A40") + "MRG|8^^^CLINIC^MR\n").intakes[0]
    assert {intake.ordering_key for intake in (one, other, merge)} == {("facility", "CLINIC")}
    assert merge.lane == (), "it stands between the messages of all patients"
    assert merge.type == "clinical.adt"


def test_clinical_messages_that_tell_name_the_patient_whose_cases_they_concern() -> None:
    text = adt("A03").replace(
        "7^^^CLINIC^MR||DOE^JANE", "7^^^CLINIC^MR~M7^^^ACME^MB~123456789^^^^SS||DOE^JANE||19700101"
    )
    named = [["person", "7", "1970-01-01"], ["person", "M7", "1970-01-01"]]
    assert read(text).intakes[0].reply["parents"] == named
    assert "parents" not in read(text.replace("ADT^A03", "ADT^A08")).intakes[0].reply
    assert read(text.replace("19700101", "1970")).intakes[0].reply["parents"] == []
    merge = read(text.replace("ADT^A03", "ADT^A40") + "MRG|6^^^CLINIC^MR\n").intakes[0].reply
    assert merge["parents"] == [*named, ["person", "6", "1970-01-01"]]
    assert merge["merged"] is True, "kept for cases that open later"
    assert "merged" not in read(text).intakes[0].reply


def test_a_message_with_several_merges_names_each_patient_with_its_own_numbers() -> None:
    """A number of one patient under another's birth date finds nobody, or a twin."""
    second = "PID|2||70^^^CLINIC^MR||ROE^RICHARD||19800101\nMRG|60^^^CLINIC^MR\n"
    text = adt("A40").replace("DOE^JANE", "DOE^JANE||19700101") + "MRG|6^^^CLINIC^MR\n" + second
    reply = read(text).intakes[0].reply
    assert reply["parents"] == [["person", "7", "1970-01-01"], ["person", "6", "1970-01-01"]]
    assert reply["others"] == [[["person", "70", "1980-01-01"], ["person", "60", "1980-01-01"]]]
    assert "others" not in read(adt("A40") + "MRG|6^^^CLINIC^MR\n").intakes[0].reply


def test_a_request_is_found_by_its_patient() -> None:
    assert read(REQUEST).intakes[0].reply["aliases"] == [["person", "7", "1970-01-01"]]


def test_a_batch_is_answered_message_by_message() -> None:
    batch = (
        "BHS|^~\\&|EHR|CLINIC|GW|PAYER|20260301||||B1\n"
        + adt(control="1").strip()
        + "\n"
        + adt(control="2").strip()
        + "\nBTS|2\n"
    )
    reading = read(batch)
    assert [intake.natural_key[2] for intake in reading.intakes] == ["1", "2"]
    assert len({intake.raw.sha256 for intake in reading.intakes}) == 2
    found = answer_of(reading)
    assert found[0].startswith("BHS")
    assert [line for line in found if line.startswith("MSA")] == ["MSA|AA|1", "MSA|AA|2"]
    assert found[-1] == "BTS|2"


def test_every_mapped_type_has_a_route_and_every_route_a_map(tmp_path: object) -> None:
    program = default_program()
    assert set(program.messages) | {"ACK", "MCF"} == set(routing()["types"])


def test_the_codec_never_raises() -> None:
    for sample in outside():
        reading = Hl7Codec().read(Raw.of(sample.raw, "application/hl7-v2"), RECEPTION)
        assert reading.refused or reading.intakes
        for intake in reading.intakes:
            assert intake.natural_key
            assert intake.ordering_key
        reading.answer(None)


STAFF = """MSH|^~\\&|HR|HOSP|GW|PAYER|20260301101500||MFN^M02^MFN_M02|M1|P|2.7
MFI|PRA^Practitioner^HL70175||UPD|||NE
MFE|MUP|1|20260310|1234567893|CWE
STF|1234567893|1234567893^^^&2.16.840.1.113883.4.6&ISO^NPI|REYES^MARIA||F|19700101|A
PRA|1234567893|||||A12345^SL^IL^20270101~X9^DEA^^20280101
CER|1|A12345|||||||||||Reyes||||||||||||||20270301||||V
MFE|MDL|2||LOCAL7|CWE
STF|LOCAL7||BAUER^TOM||M||I
"""


def test_each_entry_of_a_master_file_of_staff_is_a_case_of_its_provider() -> None:
    reading = read(STAFF)
    one, other = reading.intakes
    assert [intake.type for intake in reading.intakes] == ["provider.change"] * 2
    assert one.case_key == ("provider", "npi", "1234567893")
    assert other.case_key == ("provider", "HOSP", "LOCAL7")
    assert len({intake.natural_key for intake in reading.intakes}) == 2
    assert (one.ordering_key, one.lane) == (one.case_key, ())
    assert one.facts["provider.npi"] == "1234567893"
    assert (one.facts["provider.change"], other.facts["provider.change"]) == ("MUP", "MDL")
    assert (one.facts["provider.active"], other.facts["provider.active"]) == (True, False)
    assert one.facts["request.serviceStart"] == "2026-03-10"
    assert one.facts["credentials"] == [
        {"type": "STATE-LICENSE", "expires": "2027-03-01", "status": "active"},
        {"type": "DEA", "expires": "2028-01-01"},
    ]
    assert "credentials" not in other.facts
    assert b"BAUER" not in repr(one.resource).encode()
    assert "MSA|AA|M1" in answer_of(reading)


def test_a_key_of_ten_digits_is_an_npi_only_with_its_check_digit() -> None:
    text = STAFF[STAFF.index("MSH") : STAFF.index("MFE|MUP")] + "MFE|MAD|1||{key}|CWE\nSTF|{key}||X^Y\n"
    keys = [read(text.format(key=key)).intakes[0].case_key for key in ("1234567893", "1234567890")]
    assert keys == [("provider", "npi", "1234567893"), ("provider", "HOSP", "1234567890")]


def test_a_single_entry_keeps_the_messages_key() -> None:
    text = STAFF[: STAFF.index("MFE|MDL")]
    (intake,) = read(text).intakes
    assert intake.natural_key == ("HR", "HOSP", "M1")


def test_master_files_of_other_things_open_no_credentialing_case() -> None:
    (intake,) = read("MSH|^~\\&|HR|HOSP|GW|PAYER|20260301||MFN^M05^MFN_M05|M2|P|2.5.1\nMFI|LOC||UPD|||NE\n").intakes
    assert intake.type == "clinical.masterfile"
