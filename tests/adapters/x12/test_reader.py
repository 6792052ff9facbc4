"""Reading: trees, units, policies by partner, memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from adapters.x12.wire import (
    AckPolicy,
    InterchangeReport,
    Limits,
    Loop,
    Options,
    Quarantined,
    Transaction,
    Unit,
    acknowledge,
    guide,
    read,
    write,
)
from adapters.x12.wire.registry import NAMES
from adapters.x12.wire.walker import DEFAULT_EFFECTS
from tests.adapters.x12.samples import CLAIM_HEAD, CLAIM_UNIT, NOW, claims, envelope, remittance, review_request

PLAIN, JUDGE = Options(), Options(mode="judge")


def only(data: bytes | str, kind: type, options: Options = PLAIN) -> list:
    raw = data.encode() if isinstance(data, str) else data
    return [event for event in read([raw], options) if isinstance(event, kind)]


def codes(data: bytes | str, options: Options = JUDGE) -> list[tuple[str, str, str]]:
    """(segment, element, code) of every fault of every set."""
    return [
        (fault.segment, f"{fault.element}", fault.code)
        for report in only(data, InterchangeReport, options)
        for _, one in report.transactions()
        for fault in one.faults
    ]


def test_the_tree_of_a_claim() -> None:
    (transaction,) = only(claims(2), Transaction)
    first, second = transaction.tree.descendants("2300")
    assert first.get("CLM", 1) == "C0000001"
    assert first.get("CLM", 5, 1) == "11"
    assert first.up("2000B").loop("2010BA").get("NM1", 9) == "M0000001"
    assert [line.get("SV1", 1, 2) for line in second.loops("2400")] == ["99213", "87070"]
    assert first.segment("HI", "ABK").get(1, 2) == "J0300"
    assert first.segment("HI", "BK") is None
    assert first.get("CLM", 19) == ""


def test_units_are_the_loops_of_the_whole_tree_with_their_parents() -> None:
    (transaction,) = only(claims(3), Transaction)
    whole = [[segment.text for _, segment in loop.walk()] for loop in transaction.tree.descendants("2300")]
    units = only(claims(3), Unit, Options(mode="units"))
    assert [[segment.text for _, segment in unit.loop.walk()] for unit in units] == whole
    assert [unit.ordinal for unit in units] == [1, 2, 3]
    assert units[2].loop.up("2000B").loop("2010BA").get("NM1", 9) == "M0000003"
    assert units[2].loop.up("2000A").loop("2010AA").get("NM1", 3) == "TESTCLINIC"


def many_claims(count: int) -> Iterator[bytes]:
    """A long file in chunks, never whole."""
    yield CLAIM_HEAD.encode()
    for at in range(1, count + 1):
        yield CLAIM_UNIT.format(level=at + 1, number=at).encode()
    yield f"SE*{11 + 15 * count + 1 - 1}*0001~GE*1*42~IEA*1*000000042~".encode()


@pytest.mark.parametrize("mode", ["judge", "units"])
def test_memory_does_not_grow_with_the_file(mode: str) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        events = sum(1 for _ in read(many_claims(count), Options(mode=mode)))
        assert events == (count + 1 if mode == "units" else 1)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(20)
    assert peak(3600) < 1.5 * peak(1200) < 40_000_000


def test_every_guide_loads_and_every_rule_speaks_of_places_it_has() -> None:
    for name in NAMES:
        found = guide(name)
        assert found.nodes[0].id == "ST"
        loops = {node.loop.id for node in found.nodes}
        assert not found.unit or found.unit in loops
        names = {node.id for node in found.nodes}
        rules = {id(rule): rule for node in found.nodes for rule in node.loop.rules}
        for rule in rules.values():
            for path in rule.paths():
                assert set(path.loops) <= loops
                assert not path.segment or path.segment in names


def test_the_request_and_the_response_of_a_review_are_told_apart() -> None:
    data = write(guide("278_request"), review_request(), envelope())
    assert only(data, Transaction)[0].guide is guide("278_request")
    turned = data.replace(b"*0007*13*", b"*0007*11*")
    assert only(turned, Transaction)[0].guide is guide("278_response")


def test_the_character_set_is_the_partners_choice() -> None:
    text = claims(1).replace("PAT*", "PÄT*")
    assert ("NM1", "4", "6") in codes(text)
    assert codes(text, Options(mode="judge", character_set="utf8")) == []
    (transaction,) = only(text, Transaction, Options(character_set="utf8"))
    assert next(transaction.tree.descendants("2010BA")).get("NM1", 4) == "PÄT"


def test_code_lists_that_are_configured_are_checked() -> None:
    options = Options(mode="judge", code_sets={"place_of_service": frozenset({"22"})})
    assert ("CLM", "5", "7") in codes(claims(1), options)
    assert codes(claims(1), Options(mode="judge", code_sets={"place_of_service": frozenset({"11"})})) == []


@pytest.mark.parametrize(
    ("effect", "outcome"), [("reject", "rejected"), ("error", "accepted_with_errors"), ("report", "accepted")]
)
def test_what_a_balance_does_is_the_partners_choice(effect: str, outcome: str) -> None:
    text = claims(1).replace("C0000001*60*", "C0000001*61*")
    (report,) = only(text, InterchangeReport, Options(effects={**DEFAULT_EFFECTS, 3: effect}))
    assert report.outcome == outcome


@pytest.mark.parametrize(
    ("usage", "wanted", "code"), [("T", "P", "020"), ("P", "T", "020"), ("T", "T", "000"), ("P", "", "000")]
)
def test_test_data_on_a_production_endpoint_and_the_reverse_are_refused(usage: str, wanted: str, code: str) -> None:
    (report,) = only(claims(1).replace("*1*T*:", f"*1*{usage}*:"), InterchangeReport, Options(usage=wanted))
    assert report.code == code


class Numbers:
    def interchange(self) -> int:
        return 1

    def group(self, count: int) -> int:
        return 1


def test_no_content_of_people_leaves_unless_the_partner_wants_it() -> None:
    planted = ["ZZTEST1", "M0000001", "19801332", "PLANTED"]
    text = claims(1).replace("19800102", "19801332").replace("PAT*", "PLANTED\x07*").replace("ZZTEST1", "ZZTEST1" * 10)
    (report,) = only(text, InterchangeReport)
    plain = (acknowledge(report, AckPolicy(), Numbers(), NOW) or b"").decode()
    assert not [value for value in planted if value in plain]
    assert not [value for value in planted if value in str(report.as_json()) or value in repr(report)]
    copied = (acknowledge(report, AckPolicy(copy_values=True), Numbers(), NOW) or b"").decode()
    assert "19801332" in copied
    assert "\x07" not in copied
    quiet = (acknowledge(report, AckPolicy(business_units=False), Numbers(), NOW) or b"").decode()
    assert "CTX*CLM01" not in quiet


@pytest.mark.parametrize(("old", "new", "verdict"), [("", "", "A"), ("*34*", "**", "R")])
def test_a_remittance_has_no_st03_and_still_a_complete_999(old: str, new: str, verdict: str) -> None:
    text = write(guide("835"), remittance(), envelope()).decode()
    assert "~ST*835*0001~" in text
    (report,) = only(text.replace(old, new, 1), InterchangeReport)
    answer = (acknowledge(report, AckPolicy(), Numbers(), NOW) or b"").decode()
    names = [line.split("*")[0] for line in answer.split("~")]
    assert [name for name in names if name not in ("IK3", "IK4", "CTX", "TA1")] == [
        "ISA", "GS", "ST", "AK1", "AK2", "IK5", "AK9", "SE", "GE", "IEA", "",
    ]  # fmt: skip
    assert "~AK2*835*0001~" in answer
    assert f"~IK5*{verdict}" in answer


def test_two_senders_in_one_file_get_their_own_answers_only() -> None:
    other = claims(1).replace("CLINIC01", "CLINIC02").replace("C0000001", "D0000009")
    answers = [
        acknowledge(report, AckPolicy(), Numbers(), NOW).decode()
        for report in only(claims(1).replace("*60*", "**") + other.replace("*60*", "**"), InterchangeReport)
    ]
    assert "CLINIC02" not in answers[0]
    assert "D0000009" not in answers[0]
    assert "CLINIC01" not in answers[1]
    assert "C0000001" not in answers[1]
    assert "D0000009" in answers[1]


def test_leaves_and_walk_cover_every_value() -> None:
    (transaction,) = only(claims(1), Transaction)
    for loop, segment in transaction.tree.walk():
        assert isinstance(loop, Loop)
        values = [value for _, value in segment.leaves()]
        assert all(value in segment.text for value in values)
        plain = segment.text.replace(":", "*").split("*")[1:]
        assert values == [value for value in plain if value]


@pytest.mark.parametrize(
    ("old", "new"),
    [("SE*41*", f"SE*{'9' * 6000}*"), ("GE*1*", f"GE*{'9' * 6000}*"), ("IEA*1*", f"IEA*{'9' * 6000}*"),
     ("*60*", "*9E999999*"), ("*60*", f"*{'9' * 6000}*"), ("*40*UN", "*9E999999*UN"), ("*20*UN", "*NaN*UN"),
     ("HL*2*1", f"HL*{'9' * 6000}*1")],
)  # fmt: skip
def test_monstrous_numbers_are_only_wrong(old: str, new: str) -> None:
    (report,) = only(claims(2).replace(old, new), InterchangeReport)
    assert report.outcome == "rejected"


def test_the_number_of_envelopes_is_limited() -> None:
    text = claims(1)
    body = text[text.index("ST*") : text.index("GE*")]
    flood = text.replace(body, "".join(f"ST*837*{at:04d}~SE*2*{at:04d}~" for at in range(1, 2000)))
    options = Options(mode="judge", limits=Limits(max_envelopes=100))
    events = list(read([flood.encode()], options))
    assert [type(event) for event in events] == [InterchangeReport, Quarantined]
    assert events[0].code == "024"
    assert len(events[0].groups[0].transactions) < 101


@pytest.mark.parametrize("extra", ["IEA~\nLX*1~\n", "IEAX*1*000000042~\n", "TA1X*1~\n"])
def test_near_control_segments_lose_nothing(extra: str) -> None:
    text = claims(1).replace("LX*1~\n", extra + "LX*1~\n", 1)
    events = list(read([text.encode()], Options(mode="judge")))
    assert all(event.outcome == "rejected" for event in events if isinstance(event, InterchangeReport))
    covered = sum(event.length for event in events)
    assert covered >= len(text.encode()) - 3


def test_a_name_that_begins_like_a_control_segment_is_one_wrong_segment() -> None:
    data = claims(3).replace("HI*ABK:J0300~\n", "HI*ABK:J0300~\nIEAX*1~\n", 2).replace("SE*56*", "SE*58*")
    assert codes(data) == [("???", "0", "1")] * 2
    (report,) = only(data, InterchangeReport, JUDGE)
    assert [one.units for _, one in report.transactions()] == [3]


def test_control_structure_alone_is_read_without_guides() -> None:
    control = Options(mode="control")
    (report,) = only(claims(3).replace("*60*", "**"), InterchangeReport, control)
    assert report.outcome == "accepted"
    assert [(one.segments, one.guide, one.faults) for _, one in report.transactions()] == [(56, "", [])]
    (report,) = only(claims(3).replace("SE*56*", "SE*55*").replace("GE*1*42", "GE*2*41"), InterchangeReport, control)
    assert [(group.codes, [one.codes for one in group.transactions]) for group in report.groups] == [
        (["4", "5"], [["4"]])
    ]
    (report,) = only(claims(3).replace("IEA*1*", "IEA*2*"), InterchangeReport, control)
    assert report.code == "021"
    (report,) = only(
        claims(1).split("HL*")[0].split("BHT")[0] + "SE*2*0001~GE*1*42~IEA*1*000000042~", InterchangeReport, control
    )
    assert report.outcome == "accepted"
