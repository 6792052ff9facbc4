"""Messages made to hurt: thousands of repetitions, equal numbers, segments. Time must grow with size, not its square.

These would run for hours, and end at the suite's timeout, if anything here compared each with each.
"""

from __future__ import annotations

from collections import Counter

import pytest

from adapters.hl7.wire import parse
from gateway.core.errors import Unmappable
from mappings.hl7_to_fhir import convert
from tests.mappings.hl7.corpus import lines, of_kind

HEADER = r"MSH|^~\&|EHR|CLINIC|GW|PAYER|20260301||{kind}|1|P|2.5.1" + "\n"


def converted(kind: str, body: str) -> tuple[dict[str, object], Counter[str]]:
    message = parse(lines(HEADER.format(kind=kind) + body))
    conversion = convert(message)
    fates = Counter(entry.fate for entry in conversion.ledger.entries)
    assert fates.total() == sum(1 for _ in message.leaves())
    return conversion.bundle, fates


def test_fifty_thousand_identifiers() -> None:
    numbers = "~".join(f"{number}^^^A{number}" for number in range(50_000))
    bundle, fates = converted("ADT^A08", f"PID|1||{numbers}||DOE^JANE\n")
    assert len(of_kind(bundle, "Patient")[0]["identifier"]) == 500
    assert fates["carried"] == 2 * (50_000 - 500)


@pytest.mark.parametrize(
    "segment",
    ["OBR|1|P1^LAB|F1|718-7^Hemoglobin^LN||||||||||||9^HO^ADA|^^^a@b.example", "SPM|1|S1&LAB||BLD", "GT1|1||DOE^JOHN",
     "IN1|1|PPO|ACME|Acme|1 ST^^X|||||||||||DOE^JO|SPO", "NK1|1|DOE^JO", "DG1|1||A^a^I10|||A"],
)  # fmt: skip
def test_thousands_of_equal_segments(segment: str) -> None:
    kind = {"OBR": "ORU^R01", "SPM": "ORU^R01"}.get(segment[:3], "ADT^A08")
    start = "PID|1||7^^^C^MR\nPV1|1|I\n" + ("OBR|1|P1\n" if kind == "ORU^R01" else "")
    converted(kind, start + f"{segment}\n" * 5_000)


def test_thousands_of_procedures_with_authorizations() -> None:
    body = "PID|1||7^^^C^MR\n" + "DG1|1||A^a^I10\n" * 2_000 + "PR1|1||72148^MRI^C4\nAUT|P|A|B|||||1\n" * 2_000
    bundle, _ = converted("RQA^I08", body)
    assert len(of_kind(bundle, "Claim")[0]["item"]) == 2_000


def test_thousands_of_lines_of_a_document() -> None:
    text = "x" * 1_000
    body = "PID|1||7^^^C^MR\nTXA|1|11506-3^Note^LN|TX\n" + f"OBX|1|TX|11506-3^Note^LN||{text}||||||F\n" * 9_000
    bundle, _ = converted("MDM^T02", body)
    content = of_kind(bundle, "DocumentReference")[0]["content"]
    assert len(content) == 1
    assert len(content[0]["attachment"]["data"]) > 9_000_000


def test_too_many_segments_are_parked() -> None:
    with pytest.raises(Unmappable):
        converted("ADT^A08", "PID|1||7^^^C^MR\n" + "NTE|1||x\n" * 10_000)
