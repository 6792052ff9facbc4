"""The window of recent messages: bounded in time, number and bytes."""

from __future__ import annotations

import asyncio

import pytest

from adapters.hl7.inbound.duplicates import Outcome, Window
from gateway.core.errors import MessageConflict

GOOD = Outcome(b"yes", good=True)


class Now:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


async def test_a_copy_gets_the_first_outcome_until_the_window_ends() -> None:
    now = Now()
    window = Window(seconds=10, entries=100, clock=now)
    assert window.claim(("a", "1"), "x") is None
    waiting = window.claim(("a", "1"), "x")
    assert isinstance(waiting, asyncio.Future)
    assert not waiting.done()
    window.settle(("a", "1"), GOOD)
    assert await waiting == GOOD
    assert window.claim(("a", "1"), "x") == GOOD
    with pytest.raises(MessageConflict):
        window.claim(("a", "1"), "y")
    now.time = 10
    assert window.claim(("a", "1"), "y") is None


async def test_what_was_not_accepted_is_not_remembered() -> None:
    window = Window(seconds=10, entries=100, clock=Now())
    assert window.claim(("a", "1"), "x") is None
    waiting = window.claim(("a", "1"), "x")
    assert isinstance(waiting, asyncio.Future)
    window.settle(("a", "1"), Outcome(b"no", good=False))
    assert (await waiting).answer == b"no"
    assert window.claim(("a", "1"), "y") is None


async def test_numbers_and_bytes_are_bounded_but_never_what_is_in_flight() -> None:
    window = Window(seconds=10, entries=5, clock=Now())
    assert window.claim(("flying",), "x") is None
    for n in range(50):
        assert window.claim((str(n),), "x") is None
        window.settle((str(n),), GOOD)
    assert len(window) <= 6
    assert window.claim(("flying",), "x") is not None
    large = Window(seconds=10, entries=1_000, clock=Now())
    for n in range(20):
        large.claim((str(n),), "x")
        large.settle((str(n),), Outcome(b"x" * 8 * 1024 * 1024, good=True))
    assert len(large) <= 10


async def test_one_that_flies_long_keeps_no_other_and_ends_on_time() -> None:
    now = Now()
    window = Window(seconds=10, entries=100, clock=now)
    assert window.claim(("flying",), "x") is None
    for n in range(50):
        now.time = n
        window.claim((str(n),), "x")
        window.settle((str(n),), GOOD)
    assert len(window) <= 12
    window.settle(("flying",), GOOD)
    assert window.claim(("flying",), "y") is None
