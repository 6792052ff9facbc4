"""Many waits, one timer: each ends in its own time, and nobody's cancellation is taken for a timeout."""

from __future__ import annotations

import asyncio
import time

import pytest

from adapters.hl7.inbound.deadline import Deadline


async def wait(deadline: Deadline, seconds: float, work: float) -> str:
    try:
        with deadline(seconds):
            await asyncio.sleep(work)
    except TimeoutError:
        return "late"
    return "done"


async def test_each_ends_in_its_time() -> None:
    deadline = Deadline()
    began = time.monotonic()
    tasks = []
    for number in range(50):
        tasks.append(asyncio.create_task(wait(deadline, 1, 0 if number % 2 else 60)))
        await asyncio.sleep(0.004)
    assert await asyncio.gather(*tasks) == ["late", "done"] * 25
    assert 1.15 < time.monotonic() - began < 30
    assert not any(task.cancelling() for task in tasks)


async def test_a_shorter_wait_after_a_longer_one() -> None:
    deadline = Deadline()
    long = asyncio.create_task(wait(deadline, 60, 1))
    await asyncio.sleep(0)
    began = time.monotonic()
    assert await wait(deadline, 0.05, 60) == "late"
    assert time.monotonic() - began < 30
    assert await long == "done"


async def test_a_cancellation_stays_one() -> None:
    deadline = Deadline()
    task = asyncio.create_task(wait(deadline, 5, 5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_and_late_at_once_is_cancelled() -> None:
    deadline = Deadline()
    task = asyncio.create_task(wait(deadline, 0.01, 5))
    await asyncio.sleep(0)
    time.sleep(0.05)  # noqa: ASYNC251 - both must come in the same turn
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_errors_pass_and_nothing_is_kept() -> None:
    deadline = Deadline()
    with pytest.raises(KeyError), deadline(5):
        raise KeyError
    for _ in range(100):
        assert await wait(deadline, 5, 0) == "done"
    assert len(deadline._waits) <= 1
