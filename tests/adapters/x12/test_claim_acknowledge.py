"""The 277CA: each claim's verdict, counts and amounts."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

from adapters.x12.inbound import FixedNumbers
from adapters.x12.wire import AckPolicy, InterchangeReport, Options, Separators, Transaction, read
from adapters.x12.wire.claim_acknowledge import acknowledge_claims, answerable, batches
from adapters.x12.wire.walker import DEFAULT_EFFECTS
from tests.adapters.x12.samples import NOW, claims

PLAIN, OPTIONS = AckPolicy(), Options(mode="judge")


def answer(text: str, policy: AckPolicy = PLAIN, options: Options = OPTIONS) -> Transaction:
    """The 277CA for an interchange of one 837, read again."""
    (report,) = (one for one in read([text.encode()], options) if isinstance(one, InterchangeReport))
    found = batches(read([text.encode()], replace(options, mode="units")), answerable([report]))
    data = acknowledge_claims(report, found[0], policy, FixedNumbers(7, 8), NOW, NOW)
    assert data is not None
    (transaction,) = (event for event in read([data]) if isinstance(event, Transaction))
    assert transaction.report.outcome == "accepted"
    assert (transaction.header.sender, transaction.header.receiver) == ("PLAN01", "CLINIC01")
    assert (transaction.group.group, transaction.group.version) == ("HN", "005010X214")
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


def test_which_edits_refuse_a_claim_is_the_partners_choice() -> None:
    text = claims(2).replace("1234567893", "1234567890")
    assert [status for _, status, _ in statuses(answer(text))] == ["A2", "A2"]
    strict = replace(OPTIONS, effects={**DEFAULT_EFFECTS, 7: "error"})
    found = answer(text, options=strict)
    assert [status for _, status, _ in statuses(found)] == ["A7", "A7"], "the billing provider's fault is every claim's"
    assert next(found.tree.descendants("2200D")).get("STC", 1, 2) == "562"
    lenient = replace(OPTIONS, effects={**DEFAULT_EFFECTS, 3: "report"})
    unbalanced = claims(1).replace("C0000001*60*", "C0000001*61*")
    assert [status for _, status, _ in statuses(answer(unbalanced, options=lenient))] == ["A2"]


def test_every_billing_provider_has_its_own_counts() -> None:
    text = claims(2)
    start, second = text.index("HL*1*"), text.index("HL*3*1*22*0~")
    third = text[start : text.index("HL*2*1*22")].replace("HL*1**20", "HL*3**20").replace("1234567893", "1992999999")
    moved = text[second:].replace("HL*3*1*22*0~", "HL*4*3*22*0~", 1).replace("SE*41*", "SE*46*")
    found = answer(text[:second] + third + moved)
    providers = list(found.tree.descendants("2000C"))
    assert [one.loop("2100C").get("NM1", 9) for one in providers] == ["1234567893", "1992999999"]
    assert [next(one.descendants("2200C")).segment("QTY", "QA").get(2) for one in providers] == ["1", "1"]


def test_what_an_837_may_leave_out_is_filled_in() -> None:
    text = claims(1).replace("NM1*85*2*TESTCLINIC*****XX*1234567893~", "NM1*85*2*TESTCLINIC~")
    provider = next(answer(text).tree.descendants("2100C"))
    assert (provider.get("NM1", 8), provider.get("NM1", 9)) == ("FI", "123456780")


def test_a_value_with_one_of_our_separators_makes_us_use_the_senders() -> None:
    text = claims(1).replace("*M0000001~", "*M|00001~")
    found = answer(text, AckPolicy(separators=Separators("|", ">", "^", "~")))
    assert next(found.tree.descendants("2100D")).get("NM1", 9) == "M|00001"
    plain = answer(claims(1), AckPolicy(separators=Separators("|", ">", "^", "~")))
    assert next(plain.tree.walk())[1].separators.element == "|"


def test_without_claims_or_by_policy_there_is_no_answer() -> None:
    (report,) = (event for event in read([claims(1).encode()]) if isinstance(event, InterchangeReport))
    found = batches(read([claims(1).encode()], Options(mode="units")), answerable([report]))[0]
    assert acknowledge_claims(report, [], AckPolicy(), FixedNumbers(1, 1), NOW, NOW) is None
    assert acknowledge_claims(report, found, AckPolicy(claims=False), FixedNumbers(1, 1), NOW, NOW) is None


def test_memory_grows_by_the_text_written_and_not_by_a_tree() -> None:
    data = claims(2000).encode()
    (report,) = (one for one in read([data], OPTIONS) if isinstance(one, InterchangeReport))
    found = batches(read([data], Options(mode="units")), answerable([report]))[0]
    assert acknowledge_claims(report, found, PLAIN, FixedNumbers(7, 8), NOW, NOW)  # what is made once for a guide
    tracemalloc.start()
    answer = acknowledge_claims(report, found, PLAIN, FixedNumbers(7, 8), NOW, NOW)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer is not None
    assert peak < 6 * len(answer), "the text in pieces, whole, as bytes, and what a walker remembers"
