"""Writing: numbers, order, checks, round trips."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.x12.wire import InterchangeReport, Loop, Separators, Transaction, guide, read, write
from gateway.core.errors import InvalidMessage, UnsupportedMessage
from tests.adapters.x12.samples import claims, envelope, remittance, review_request, review_response

USUAL = Separators()
OTHER = Separators("|", ">", "!", "\n")


def parsed(data: bytes) -> Transaction:
    (transaction,) = (event for event in read([data]) if isinstance(event, Transaction))
    return transaction


def texts(tree: Loop, separators: Separators = USUAL) -> list[str]:
    return [segment.rendered(separators) for _, segment in tree.walk()]


@pytest.mark.parametrize("dependent", [False, True])
@pytest.mark.parametrize("services", [0, 1, 3])
def test_levels_are_numbered_in_document_order(dependent: bool, services: int) -> None:
    tree = parsed(write(guide("278_request"), review_request(dependent=dependent, services=services), envelope())).tree
    levels = [segment.fields[1:] for _, segment in tree.walk() if segment.id == "HL"]
    assert [level[0] for level in levels] == [str(at) for at in range(1, len(levels) + 1)]
    event = "5" if dependent else "4"
    assert [level[1] for level in levels[-services:] if services] == [event] * services
    assert [level[3] for level in levels] == ["1"] * (len(levels) - services - 1) + ["1" if services else "0"] + [
        "0"
    ] * services


def test_segments_go_into_guide_order() -> None:
    tree = review_request()
    event = next(tree.descendants("2000E"))
    event.items.reverse()
    plain = write(guide("278_request"), review_request(), envelope())
    assert write(guide("278_request"), tree, envelope()) == plain


@pytest.mark.parametrize(
    "separators", [OTHER, Separators("\x1d", "\x1f", "\x1e", "\x1c"), Separators("*", ":", "^", "\r")]
)
def test_what_was_read_is_written_again(separators: Separators) -> None:
    for name, data in (
        ("837P", claims(2).encode()),
        ("278_request", write(guide("278_request"), review_request(dependent=True, services=2), envelope())),
        ("278_response", write(guide("278_response"), review_response("A3", ("0Y", "0U")), envelope())),
        ("835", write(guide("835"), remittance(), envelope())),
    ):
        first = parsed(data)
        again = parsed(write(guide(name), first.tree, envelope(separators=separators)))
        assert texts(first.tree)[1:] == texts(again.tree)[1:]


@pytest.mark.parametrize("action", ["A1", "A2", "A3", "A4", "A6", "C", "CT", "NA"])
def test_every_action_code_parses_back(action: str) -> None:
    reasons = ("0Y",) if action in ("A3", "A4") else ()
    tree = parsed(write(guide("278_response"), review_response(action, reasons), envelope())).tree
    event = next(tree.descendants("2000E"))
    assert event.get("HCR", 1) == action
    assert event.first("HCR").values(3) == list(reasons)


@pytest.mark.parametrize(
    ("path", "level"),
    [("2000A", ""), ("2000A", "2010A"), ("2000B", "2010B"), ("2000C", "2010C"), ("2000D", "2010D"), ("2000E", ""),
     ("2000E", "2010EA"), ("2000F", ""), ("2000F", "2010FA")],
)  # fmt: skip
def test_a_rejection_may_stand_at_every_level(path: str, level: str) -> None:
    tree = review_response()
    event = next(tree.descendants("2000E"))
    subscriber = event.parent
    if path == "2000D":
        dependent = subscriber.add_loop("2000D")
        dependent.add("HL", "23")
        dependent.add_loop("2010D").add("NM1", "QC", "1", "ZZTEST", "KID")
    if path == "2000F":
        service = event.add_loop("2000F")
        service.add("HL", "SS")
        if level:
            service.add_loop("2010FA").add("NM1", "SJ", "1", "TEST")
    if level == "2010EA":
        event.add_loop("2010EA").add("NM1", "SJ", "1", "TEST")
    place = next(tree.descendants(path))
    (place.loop(level) if level else place).add("AAA", "N", "", "42", "R")
    again = parsed(write(guide("278_response"), tree, envelope())).tree
    found = [loop.id for loop, segment in again.walk() if segment.id == "AAA"]
    assert found == [level or path]


def test_mixed_lines_keep_their_own_decisions() -> None:
    tree = review_response("A6")
    event = next(tree.descendants("2000E"))
    for at, (action, reason) in enumerate((("A1", ""), ("A3", "0Y")), 1):
        service = event.add_loop("2000F")
        service.add("HL", "SS")
        service.add("TRN", "2", f"T1-{at}", "9012345678")
        service.add("HCR", action, "AUTH1" if action == "A1" else "", reason)
    lines = list(parsed(write(guide("278_response"), tree, envelope())).tree.descendants("2000F"))
    assert [(line.get("TRN", 2), line.get("HCR", 1)) for line in lines] == [("T1-1", "A1"), ("T1-2", "A3")]


def test_a_tree_that_breaks_its_guide_is_refused_with_issues() -> None:
    tree = review_response("A3")
    with pytest.raises(InvalidMessage) as caught:
        write(guide("278_response"), tree, envelope())
    assert [(issue.code, issue.location) for issue in caught.value.issues] == [("I9", "2000E/HCR at 12")]


@pytest.mark.parametrize("value", ["a*b", "a~b", "a:b", "a^b", "a\x1db"])
def test_a_separator_in_a_value_never_leaves(value: str) -> None:
    tree = review_request()
    next(tree.descendants("2000E")).add("MSG", value)
    with pytest.raises(InvalidMessage):
        write(guide("278_request"), tree, envelope())


def test_accents_are_folded_and_what_cannot_be_is_refused() -> None:
    tree = review_request()
    next(tree.descendants("2000E")).add("MSG", "Zoë Peña")
    assert b"MSG*Zoe Pena~" in write(guide("278_request"), tree, envelope())


def test_unknown_places_and_read_only_guides_are_refused() -> None:
    tree = review_request()
    tree.add("ZZZ", "1")
    with pytest.raises(InvalidMessage, match="no place"):
        write(guide("278_request"), tree, envelope())
    with pytest.raises(UnsupportedMessage):
        write(guide("834"), Loop("834"), envelope())


@pytest.mark.parametrize(
    "changes", [{"sender": ""}, {"sender": "X" * 16}, {"interchange_number": 10**9}, {"interchange_number": 0}]
)
def test_headers_that_do_not_fit_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidMessage):
        write(guide("278_request"), review_request(), envelope(**changes))


AMOUNT = st.decimals("0", "99999", places=2)


@given(AMOUNT, AMOUNT, AMOUNT, st.decimals("-500", "500", places=2).filter(bool))
def test_a_remittance_leaves_only_balanced(paid: Decimal, share: Decimal, provider: Decimal, error: Decimal) -> None:
    def advice(total: Decimal, adjusted: Decimal) -> Loop:
        tree = remittance(str(total), str(paid), str(adjusted))
        claim = next(tree.descendants("2100"))
        claim.items = [item for item in claim.items if isinstance(item, Loop) or item.id != "CLP"]
        claim.add("CLP", "C0000001", "1", str(paid + share), str(paid), "0", "12", "ICN1")
        claim.items.insert(0, claim.items.pop())
        if provider:
            tree.add("PLB", "NPI1", "20261231", ("WO",), str(provider))
        return tree

    good = write(guide("835"), advice(paid - provider, share), envelope())
    (report,) = (event for event in read([good]) if isinstance(event, InterchangeReport))
    assert report.outcome == "accepted"
    for wrong in (advice(paid - provider + error, share), advice(paid - provider, share + error)):
        with pytest.raises(InvalidMessage):
            write(guide("835"), wrong, envelope())
