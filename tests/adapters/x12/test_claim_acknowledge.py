"""The 277CA: each claim's verdict, counts and amounts."""

from __future__ import annotations

from adapters.x12.wire import Options, Transaction, Unit, guide, read, write
from adapters.x12.wire.claim_acknowledge import acknowledge_claims, status_of
from tests.adapters.x12.samples import NOW, claims, envelope


def answer(text: str) -> Transaction:
    units = (event for event in read([text.encode()], Options(mode="units")) if isinstance(event, Unit))
    tree = acknowledge_claims(units, payer=("TESTPLAN", "TP1"), reference="ACK1", now=NOW, received=NOW)
    assert tree is not None
    data = write(guide("277CA"), tree, envelope())
    (transaction,) = (event for event in read([data]) if isinstance(event, Transaction))
    assert transaction.report.outcome == "accepted"
    return transaction


def statuses(transaction: Transaction) -> list[tuple[str, str, str]]:
    return [
        (loop.get("TRN", 2), loop.get("STC", 1, 1), loop.get("STC", 3))
        for loop in transaction.tree.descendants("2200D")
    ]


def test_good_claims_go_into_adjudication() -> None:
    found = answer(claims(3))
    assert statuses(found) == [(f"C000000{at}", "A2", "WQ") for at in (1, 2, 3)]
    totals = next(found.tree.descendants("2200B"))
    assert (totals.get("TRN", 2), totals.segment("QTY", "90").get(2), totals.segment("AMT", "YU").get(2)) == (
        "REF1",
        "3",
        "180",
    )
    assert totals.segment("QTY", "AA") is None


def test_an_unbalanced_claim_is_refused_alone() -> None:
    found = answer(claims(3).replace("C0000002*60*", "C0000002*61*"))
    assert statuses(found) == [("C0000001", "A2", "WQ"), ("C0000002", "A7", "U"), ("C0000003", "A2", "WQ")]
    provider = next(found.tree.descendants("2200C"))
    assert [(s.get(1), s.get(2)) for s in provider.segments("QTY")] == [("QA", "2"), ("QC", "1")]
    assert [(s.get(1), s.get(2)) for s in provider.segments("AMT")] == [("YU", "120"), ("YY", "61")]


def test_dates_span_the_lines_and_patients_are_named() -> None:
    text = claims(1).replace(
        "LX*2~\nSV1*HC:87070*20*UN*1***1~\nDTP*472*D8*20260101", "LX*2~\nSV1*HC:87070*20*UN*1***1~\nDTP*472*D8*20260103"
    )
    claim = next(answer(text).tree.descendants("2200D"))
    assert claim.segment("DTP", "472").get(3) == "20260101-20260103"
    assert claim.parent.loop("2100D").get("NM1", 3) == "ZZTEST1"


def test_which_edits_refuse_a_claim_is_a_choice() -> None:
    text = claims(1).replace("1234567893", "1234567890")
    (unit,) = (event for event in read([text.encode()], Options(mode="units")) if isinstance(event, Unit))
    assert status_of(unit.faults) == (("A2", "20", "PR"),)
    assert status_of(unit.faults, frozenset({3, 7})) == (("A7", "562", "85"),)


def test_without_claims_there_is_nothing_to_answer() -> None:
    assert acknowledge_claims([], payer=("P", "1"), reference="R", now=NOW, received=NOW) is None
