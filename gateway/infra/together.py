"""Questions asked one by one and answered many at a time: one statement for what came within a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Together(Generic[Question, Answer]):
    """Collects questions for `seconds` after the first, at most `most`, and asks them as one.

    `ask` gives the answers in the order of the questions. What it raises, each who waits gets.
    """

    def __init__(
        self, ask: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]], *, seconds: float, most: int = 200
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._most = most
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._asking: set[asyncio.Task[None]] = set()

    async def __call__(self, question: Question) -> Answer:
        """The answer, which is a moment longer on its way."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if len(self._waiting) == 1:
            task = asyncio.create_task(self._later())
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        return await answer

    async def _later(self) -> None:
        await asyncio.sleep(self._seconds)
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), self._most):
            await self._answer(waiting[start : start + self._most])

    async def _answer(self, asked: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._ask([question for question, _ in asked])
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(asked, answers, strict=True):
            if not future.done():
                future.set_result(answer)
