"""What a case keeps when a further message joins it."""

from __future__ import annotations

from typing import Any

from gateway.store.context import joined_context


def context(kind: str, **facts: Any) -> dict[str, Any]:
    return {"type": kind, "facts": facts, "resource": {"of": kind}, "reply": {"rail": kind}}


REQUEST = context("authorization.request", services=[{"sequence": 1}], documents=[{"type": "PY"}])


def test_an_update_takes_the_place_of_the_request() -> None:
    update = context("authorization.update", services=[{"sequence": 1}, {"sequence": 2}])
    assert joined_context(REQUEST, update) == update


def test_an_attachment_adds_its_documents_and_changes_nothing_else() -> None:
    sent = {"documents": [{"type": "28570-0", "controlNumber": "A1"}], "request.traceNumber": "A1"}
    joined = joined_context(REQUEST, context("authorization.attachment", **sent))
    assert joined["resource"] == REQUEST["resource"]
    assert joined["reply"] == REQUEST["reply"]
    assert joined["facts"]["services"] == [{"sequence": 1}]
    assert joined["facts"]["documents"] == [{"type": "PY"}, *sent["documents"]]


def test_the_same_attachment_twice_counts_once() -> None:
    attachment = context("authorization.attachment", documents=[{"type": "28570-0"}])
    once = joined_context(REQUEST, attachment)
    assert joined_context(once, attachment) == once
    assert REQUEST["facts"]["documents"] == [{"type": "PY"}]


def test_the_request_that_was_decided_is_kept_until_another_is() -> None:
    def update(number: int) -> dict[str, Any]:
        return context("authorization.update", services=[{"sequence": number}])

    refused = joined_context(REQUEST, update(2), "A3")
    decided = {"facts": REQUEST["facts"], "resource": REQUEST["resource"], "reply": REQUEST["reply"]}
    assert refused == update(2) | {"standing": decided}
    assert joined_context(refused, update(3), "AA") == update(3) | {"standing": decided}
    assert joined_context(refused, update(3), "A1")["standing"]["facts"] == update(2)["facts"]
    assert joined_context(REQUEST, update(2), "AA") == update(2)
