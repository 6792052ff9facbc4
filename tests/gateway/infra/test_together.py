"""Questions of a moment are asked as one; each who asked gets his own answer, or the error of all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.core.errors import Unavailable
from gateway.infra.together import Together


class Doubler:
    """Answers each number with its double."""

    def __init__(self, *failures: Exception) -> None:
        self.asked: list[list[int]] = []
        self.failures = list(failures)

    async def __call__(self, questions: Sequence[int]) -> Sequence[int]:
        self.asked.append(list(questions))
        if self.failures:
            raise self.failures.pop()
        return [2 * question for question in questions]


async def test_what_comes_within_a_moment_is_asked_as_one() -> None:
    ask = Doubler()
    together = Together(ask, seconds=0.01)
    assert await asyncio.gather(*(together(number) for number in range(5))) == [0, 2, 4, 6, 8]
    assert await together(7) == 14
    assert ask.asked == [[0, 1, 2, 3, 4], [7]]


async def test_no_more_than_so_many_are_asked_as_one() -> None:
    ask = Doubler()
    together = Together(ask, seconds=0.01, most=2)
    assert await asyncio.gather(*(together(number) for number in range(5))) == [0, 2, 4, 6, 8]
    assert ask.asked == [[0, 1], [2, 3], [4]]


async def test_an_error_is_everybodys_and_the_next_moment_is_another() -> None:
    together = Together(Doubler(Unavailable()), seconds=0.01)
    found = await asyncio.gather(together(1), together(2), return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable, Unavailable]
    assert await together(3) == 6


async def test_who_no_longer_waits_disturbs_nobody() -> None:
    ask = Doubler()
    together = Together(ask, seconds=0.02)
    first, second = asyncio.create_task(together(1)), asyncio.create_task(together(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 4
    with pytest.raises(asyncio.CancelledError):
        await first
