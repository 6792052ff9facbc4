"""One authorization whatever rail speaks of it: asked on one, asked about, revised and answered on another."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

import pytest

from gateway import samples as messages
from gateway.cli.send import mllp_exchange
from tests.e2e.pas import inquire, request, response, submit, update
from tests.e2e.running import Gateway, wait_for
from tests.e2e.test_protocols import left_in_drop
from tests.e2e.test_updates import cases, rejection
from tests.mappings.fhir.test_response import actions_of

X12_PEOPLE = {"MEMBER77": "M12345678", "1111111112": "1234567893"}
"""Member and requester of the sample 278, for an inquiry."""
RQA = "\r".join(
    (
        r"MSH|^~\&|EHR|CLINIC|GW|PAYER|{stamp}-0500||RQA^{event}^RQA_I08|{control}|P|2.5.1|||{ack}|AL||UNICODE UTF-8",
        r"RF1|P^Pending^HL70283|R^Routine^HL70280|MED||O|{referral}^EHR|20260301",
        r"PRD|RP^Referring^HL70286|LOPEZ^EVA^M^^DR|||||1234567893^NPI",
        r"PID|1||7^^^CLINIC^MR||DOE^JANE||19700101|F",
        r"IN1|1|PPO|ACME|Acme||||||||||||||||||||||||||||||||H{referral}",
        r"PR1|1||X1001^Demonstration^L||20260305",
        r"AUT|PPO^Plan^L|ACME^Acme^L|Acme|20260305|20260405|{number}||2",
        "",
    )
)


def now() -> datetime:
    return datetime.now(UTC)


def answers_278(gateway: Gateway, sample: messages.Sample, data: bytes) -> str:
    """The 278 response the clearinghouse finds in its folder."""
    found = left_in_drop(gateway, data, f"{sample.trace}.x12", 2)
    return next(text for text in found if "ST*278*" in text)


def naming(data: bytes, certification: str, number: str) -> bytes:
    """The sample 278 as a revision (S) or cancellation (3) of an authorization."""
    event = data.replace(b"UM*HS*I*", f"UM*HS*{certification}*".encode())
    event = event.replace(b"HI*ABK:I10~", f"REF*BB*{number}~\nHI*ABK:I10~".encode())
    return event.replace(b"SE*17*", b"SE*18*")


def inquiry_278(sample: messages.Sample, number: str = "", member: str = "MEMBER77", npi: str = "1111111112") -> bytes:
    """A 278 inquiry (005010X215) by member and requester, and by authorization number where one is given."""
    data = sample.data.replace(b"005010X217", b"005010X215").replace(b"BHT*0007*13*", b"BHT*0007*28*")
    data = data.replace(b"M12345678", member.encode()).replace(b"1234567893", npi.encode())
    line_trace = f"TRN*1*{sample.trace}-1".encode()
    kept = [line for line in data.split(b"\n") if not line.startswith((b"SV1", b"HL*5", line_trace))]
    data = b"\n".join(kept).replace(b"HL*4*3*EV*1", b"HL*4*3*EV*0")
    named = f"REF*BB*{number}~\n".encode() if number else b""
    data = data.replace(b"UM*HS*I*3*11:B*****Y~\nHI*ABK:I10~\n", named)
    data = re.sub(rb"(BHT\*0007\*28\*[^~]*)~", rb"\1*RD~", data)
    count = data[data.index(b"\nST*") : data.index(b"\nSE*")].count(b"~") + 1
    return data.replace(b"SE*17*", b"SE*%d*" % count)


def rqa(event: str, referral: str, number: str = "") -> bytes:
    control = f"C{now():%H%M%S%f}"
    text = RQA.format(
        stamp=f"{now():%Y%m%d%H%M%S}", event=event, control=control, referral=referral, number=number, ack="NE"
    )
    return text.encode()


def test_what_x12_asked_for_is_found_by_fhir(gateway: Gateway) -> None:
    sample = messages.request_278("X1001", now())
    told = answers_278(gateway, sample, sample.data)
    number = next(line for line in told.split("~") if line.strip().startswith("HCR*A1*")).split("*")[2].strip()
    (found,) = inquire(gateway, number, **X12_PEOPLE)
    assert actions_of(response(found)["item"]) == ["A1"]
    assert response(found)["preAuthRef"] == number
    assert response(found)["request"]["extension"][0]["valueCode"] == "unsupported"
    assert response(found)["identifier"][0]["value"] == sample.trace
    everything = inquire(gateway, "", **X12_PEOPLE)
    assert number in {response(bundle).get("preAuthRef") for bundle in everything}
    assert inquire(gateway, number) == []


def test_what_hl7_asked_for_is_found_by_fhir(gateway: Gateway) -> None:
    referral = f"R{now():%H%M%S%f}"
    answer = asyncio.run(mllp_exchange(gateway.mllp, rqa("I08", referral)))
    assert "MSA|AA" in answer
    people = {"MEMBER77": f"H{referral}", "1111111112": "1234567893"}

    def decided() -> bool:
        return [actions_of(response(bundle)["item"]) for bundle in inquire(gateway, "", **people)] == [["A1"]]

    wait_for("the decision in an inquiry", 30, decided)


def test_what_fhir_asked_for_is_revised_and_answered_by_x12(gateway: Gateway) -> None:
    asked = request("http", "X1001")
    number = response(submit(gateway, asked))["preAuthRef"]
    before = cases(gateway)
    sample = messages.request_278("X1002", now())
    told = answers_278(gateway, sample, naming(sample.data, "S", number))
    assert f"TRN*2*{sample.trace}*" in told
    assert f"HCR*A6*{number}" in told
    assert cases(gateway) == before
    (found,) = inquire(gateway, number, **X12_PEOPLE)
    assert actions_of(response(found)["item"]) == ["A6"]


def test_what_fhir_asked_for_is_cancelled_by_x12_and_then_closed_to_fhir(gateway: Gateway) -> None:
    asked = request("http", "X1001")
    number = response(submit(gateway, asked))["preAuthRef"]
    sample = messages.request_278("X1001", now())
    told = answers_278(gateway, sample, naming(sample.data, "3", number))
    assert "HCR*C" in told
    assert rejection(submit(gateway, update(asked, "http", add="X1002")))[0] == "33"


def test_a_denial_on_fhir_is_not_revised_by_x12_either(gateway: Gateway) -> None:
    asked = request("http", "X1001", "X1004")
    number = response(submit(gateway, asked))["preAuthRef"]
    denied = update(asked, "http", cancel=1)
    assert actions_of(response(submit(gateway, denied))["item"]) == ["C", "A3"]
    sample = messages.request_278("X1001", now())
    told = answers_278(gateway, sample, naming(sample.data, "S", number))
    assert "AAA*N**33*N" in told
    assert "HCR*" not in told


@pytest.mark.parametrize(("event", "action"), [("I10", "A1"), ("I11", "C")])
def test_what_fhir_asked_for_is_revised_or_cancelled_by_hl7(gateway: Gateway, event: str, action: str) -> None:
    number = response(submit(gateway, request("http", "X1001")))["preAuthRef"]
    before, referral = cases(gateway), f"R{now():%H%M%S%f}"
    answer = asyncio.run(mllp_exchange(gateway.mllp, rqa(event, referral, number)))
    assert f"RPA^{event}" in answer
    people = {"MEMBER77": f"H{referral}", "1111111112": "1234567893"}

    def told() -> list[list[str]]:
        return [actions_of(response(bundle)["item"]) for bundle in inquire(gateway, number, **people)]

    wait_for("the decision in an inquiry", 30, lambda: told() == [[action]])
    assert cases(gateway) == before


def test_what_x12_asked_for_is_revised_and_answered_by_fhir(gateway: Gateway) -> None:
    sample = messages.request_278("X1001", now())
    told = answers_278(gateway, sample, sample.data)
    number = next(line for line in told.split("~") if line.strip().startswith("HCR*A1*")).split("*")[2].strip()
    before = cases(gateway)
    asked = request("http", "X1002")
    change = update(asked, "http", number=number)
    answer = response(submit(gateway, change))
    assert actions_of(answer["item"]) == ["A6"]
    assert answer["preAuthRef"] == number
    assert cases(gateway) == before


def test_what_fhir_asked_for_is_found_by_an_x12_inquiry(gateway: Gateway) -> None:
    number = response(submit(gateway, request("http", "X1001", "X1004")))["preAuthRef"]
    sample = messages.request_278("X1001", now())
    told = answers_278(gateway, sample, inquiry_278(sample, number))
    assert "*005010X215" in told
    assert "BHT*0007*49*" in told
    assert f"TRN*2*{sample.trace}*" in told
    assert f"HCR*A2*{number}" in told
    assert f"HCR*A1*{number}" in told
    assert "HCR*A3**0V" in told
    other = messages.request_278("X1001", now())
    nothing = answers_278(gateway, other, inquiry_278(other, number, member="SOMEONE"))
    assert "AAA*N**AA*C" in nothing
    assert "HCR*" not in nothing


def test_what_hl7_asked_for_is_found_by_an_x12_inquiry(gateway: Gateway) -> None:
    referral = f"R{now():%H%M%S%f}"
    assert "MSA|AA" in asyncio.run(mllp_exchange(gateway.mllp, rqa("I08", referral)))
    people = {"MEMBER77": f"H{referral}", "1111111112": "1234567893"}

    def decided() -> bool:
        return [actions_of(response(bundle)["item"]) for bundle in inquire(gateway, "", **people)] == [["A1"]]

    wait_for("the decision in an inquiry", 30, decided)
    sample = messages.request_278("X1001", now())
    told = answers_278(gateway, sample, inquiry_278(sample, member=f"H{referral}", npi="1234567893"))
    assert "HCR*A1*" in told


def question(
    gateway: Gateway, number: str = "", referral: str = "", member: str = "M12345678", npi: str = "1234567893"
) -> str:
    """Ask by HL7 v2 after an authorization: by its number (RQA^I08), or by the referral's (REF^I15)."""
    stamp, control = f"{now():%Y%m%d%H%M%S}", f"Q{now():%H%M%S%f}"
    event, structure = ("RQA^I08", "RQA_I08") if number else ("REF^I15", "REF_I12")
    segments = [
        rf"MSH|^~\&|EHR|CLINIC|GW|PAYER|{stamp}||{event}^{structure}|{control}|P|2.5.1",
        f"RF1|P|||||{referral}" if referral else "",
        f"AUT|PPO|ACME||||{number}" if number else "",
        f"PRD|RP^Referring^HL70286|LOPEZ^EVA|||||{npi}^NPI",
        "PID|1||7^^^CLINIC^MR||DOE^JANE||19700101|F",
        f"IN1|1|PPO|ACME|Acme|{'|' * 31}{member}",
    ]
    data = "".join(f"{part}\r" for part in segments if part).encode()
    return asyncio.run(mllp_exchange(gateway.mllp, data))


def test_what_fhir_asked_for_is_found_by_an_hl7_inquiry(gateway: Gateway) -> None:
    before = cases(gateway)
    number = response(submit(gateway, request("http", "X1001", "X1004")))["preAuthRef"]
    told = question(gateway, number, member="MEMBER77", npi="1111111112")
    assert "RPA^I08" in told
    assert "MSA|AA|" in told
    assert "RF1|A^" in told
    assert told.count("\rPR1|") == 2
    assert told.count(f"|{number}^") == 2
    assert "|0|" in told[told.rindex("\rAUT|") :], "nothing is granted of the second service"
    assert cases(gateway) == before + 1, "the question is no case"
    for other in ({"member": "SOMEONE", "npi": "1111111112"}, {"member": "MEMBER77", "npi": "1098765432"}):
        refused = question(gateway, number, **other)
        assert "MSA|AE|" in refused
        assert "|204^" in refused
        assert "PR1|" not in refused


def test_what_x12_asked_for_is_found_by_an_hl7_inquiry(gateway: Gateway) -> None:
    sample = messages.request_278("X1005", now())
    answers_278(gateway, sample, sample.data)
    told = question(gateway, referral=sample.trace)
    assert "RRI^I15" in told
    assert "RF1|P^" in told
    assert "X1005" in told


def test_what_hl7_asked_for_is_told_to_an_hl7_inquiry_as_it_stands(gateway: Gateway) -> None:
    referral = f"R{now():%H%M%S%f}"
    assert "MSA|AA" in asyncio.run(mllp_exchange(gateway.mllp, rqa("I08", referral)))
    wait_for("the approval", 30, lambda: "RF1|A^" in question(gateway, referral=referral, member=f"H{referral}"))
    assert "X1001" in question(gateway, referral=referral, member=f"H{referral}")
