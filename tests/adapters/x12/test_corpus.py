"""The outside corpus: every file gives the same result for all chunk sizes; every mutation its stated outcome."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from adapters.x12.inbound import FixedNumbers
from adapters.x12.wire import (
    AckPolicy,
    InterchangeReport,
    Options,
    Quarantined,
    Separators,
    Transaction,
    acknowledge,
    read,
    split,
    write,
)
from tests.adapters.x12.claim_answers import claim_answers
from tests.adapters.x12.samples import NOW, envelope

OUTSIDE = os.environ.get("GATEWAY_OUTSIDE_DATA", "")
ROOT = Path(OUTSIDE) / "x12"
pytestmark = pytest.mark.skipif(not OUTSIDE, reason="GATEWAY_OUTSIDE_DATA is not set")

FILES = sorted(
    path for path in ROOT.rglob("*") if OUTSIDE and path.is_file() and path.suffix not in (".md", ".csv", ".json")
)

EXPECTED = {
    "m02": ("TA1*000000101*240101*1200*R*021", None),
    "m03": ("TA1*000000101*240101*1200*R*023", None),
    "m06": ("TA1*000000101*249901*1200*R*014", None),
    "m07": ("TA1*000000101*240101*1200*R*017", None),
    "m09": (None, ["AK9*R*1*1*0*4"]),
    "m10": (None, ["AK9*R*7*1*0*5"]),
    "m12": (None, ["AK9*R*1*1*0*1"]),
    "m13": (None, ["IK5*R*4", "AK9*R*1*1*0"]),
    "m14": (None, ["IK5*R*3", "AK9*R*1*1*0"]),
    "m16": (None, ["IK5*R*I6", "AK9*R*1*1*0"]),
    "m17": (None, ["IK5*A", "IK5*R*23", "AK9*P*2*2*1"]),
    "m18": (None, ["IK3*CLM*22*2300*8", "CTX*CLM01:C00000001", "IK4*2*782*1", "IK5*R*5", "AK9*R*1*1*0"]),
    "m19": (None, ["IK3*DMG*20*2010*8", "IK4*2*1251*8", "IK5*R*5", "AK9*R*1*1*0"]),
    "m21": (None, ["IK3*HL*37*2000*8", "IK4*2*734*7", "IK5*R*5", "AK9*R*1*1*0"]),
    "m24": (None, [*(f"IK3*NM1*{17 + 22 * at}*2010*8" for at in range(10)), "IK5*R*5", "AK9*R*1*1*0"]),
    "m25": (None, ["IK3*NM1*17*2010*8", "IK4*4*1036*6", "IK5*R*5", "AK9*R*1*1*0"]),
    "m32": (None, ["IK3*CLM*22*2300*8", "CTX*CLM01:C00000001", "IK4*2*782*I12", "IK5*E*5", "AK9*E*1*1*1"]),
    "m33": (None, ["IK5*A", "AK9*A*1*1*1"]),
    "m35": (None, ["IK5*A", "AK9*A*1*1*1"]),
}
"""Per mutation of the manifest: the refusing TA1, or the body of the 999 after AK2 (m24 without its IK4)."""


def result(data: bytes, size: int) -> list[object]:
    chunks = (data[at : at + size] for at in range(0, len(data), size))
    return [
        event.as_json()
        for event in read(chunks, Options(mode="judge"))
        if isinstance(event, InterchangeReport | Quarantined)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_chunks_make_no_difference(path: Path) -> None:
    data = path.read_bytes()
    wanted = result(data, 1 << 20)
    for size in (1, 7, 106, 8192):
        assert result(data, size) == wanted
    text = data.decode("latin-1")
    for _, offset, piece in split([data]):
        assert text[offset : offset + len(piece)] == piece


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_interchange_ends_in_exactly_one_way(path: Path) -> None:
    for event in read([path.read_bytes()], Options(mode="judge")):
        if isinstance(event, InterchangeReport):
            answer = (acknowledge(event, AckPolicy(), FixedNumbers(1, 1), NOW) or b"").decode("latin-1")
            assert not ("*R*" + event.code + "~" in answer and "GS*FA" in answer and event.faults)
            if answer:
                (own,) = (one for one in read([answer.encode()]) if isinstance(one, InterchangeReport))
                assert own.outcome == "accepted"
                assert acknowledge(own, AckPolicy(), FixedNumbers(1, 1), NOW) is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_accepted_837_has_its_277ca(path: Path) -> None:
    for answer in claim_answers(path.read_bytes()):
        (own,) = (one for one in read([answer]) if isinstance(one, InterchangeReport))
        assert own.outcome == "accepted"


def manifest() -> dict[str, list[dict[str, str]]]:
    return (
        json.loads((ROOT / "derived" / "MANIFEST.json").read_text()) if OUTSIDE else {"837P_mutations": [], "278": []}
    )


@pytest.mark.parametrize("row", manifest()["837P_mutations"], ids=lambda row: row["file"][15:18])
def test_each_mutation_gets_its_acknowledgement(row: dict[str, str]) -> None:
    data = (ROOT / "derived" / row["file"]).read_bytes()
    (report,) = (event for event in read([data], Options(mode="judge")) if isinstance(event, InterchangeReport))
    of_claims = b"".join(claim_answers(data)).decode()
    assert bool(of_claims) == (report.outcome != "rejected")
    if "m32" in row["file"]:
        assert of_claims.count("~STC*A7:178*") == 1
    answer = (acknowledge(report, AckPolicy(), FixedNumbers(1, 1), NOW) or b"").decode().split("~")
    refusal, body = EXPECTED[row["file"][15:18]]
    if refusal:
        assert answer[1:-1] == [refusal, "IEA*0*000000001"]
        return
    assert answer[1] == "TA1*000000101*240101*1200*A*000"
    assert answer[2].startswith("GS*FA*PAYER999*SENDER123*")
    assert answer[2].endswith("*X*005010X231A1")
    wanted = ("IK3", "CTX", "IK5", "AK9") if "m24" in row["file"] else ("IK3", "CTX", "IK4", "IK5", "AK9")
    assert [line for line in answer if line[:3] in wanted] == body


@pytest.mark.parametrize("row", manifest()["278"], ids=lambda row: row["file"])
def test_each_review_is_written_as_it_was_read(row: dict[str, str]) -> None:
    events = list(read([(ROOT / "derived" / row["file"]).read_bytes()]))
    (first,) = (event for event in events if isinstance(event, Transaction))
    good = (
        row["file"] != "278/278_3_3_2_Response.x12"
    )  # its requester has one separator too few: NM108 holds the number
    assert (first.report.outcome == "accepted") == good
    data = write(first.guide, first.tree, envelope(), validate=good)
    (again,) = (event for event in read([data]) if isinstance(event, Transaction))
    plain = Separators()
    assert [s.rendered(plain) for _, s in again.tree.walk()][1:] == [s.rendered(plain) for _, s in first.tree.walk()][
        1:
    ]
    assert again.report.segments == first.report.segments


def test_other_separators_are_parsed_like_the_plain_file() -> None:
    def faults(name: str) -> list[object]:
        data = next(ROOT.rglob(name)).read_bytes()
        (report,) = (event for event in read([data], Options(mode="judge")) if isinstance(event, InterchangeReport))
        return [[one.as_json()["warnings"], one.segments, one.outcome] for _, one in report.transactions()]

    assert faults("m33_alt_delims.x12") == faults("m35_spaces_after_term.x12")


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("sample275_with_HL7_valid_BIN01.edi", "accepted"), ("sample275_with_HL7_invalid_BIN01.edi", "rejected")],
)
def test_attachments_with_right_and_wrong_lengths(name: str, outcome: str) -> None:
    data = (ROOT / "staedi" / name).read_bytes()
    events = list(read([data]))
    (transaction,) = (event for event in events if isinstance(event, Transaction))
    (report,) = (event for event in events if isinstance(event, InterchangeReport))
    content = next(transaction.tree.descendants("2110B")).first("BIN").binary()
    assert content.startswith(b"<levelone")
    assert content.rstrip().endswith(b"</levelone>")
    assert report.outcome == outcome
    answer = acknowledge(report, AckPolicy(), FixedNumbers(1, 1), NOW).decode()
    assert ("IK5*A~" in answer) == (outcome == "accepted")
