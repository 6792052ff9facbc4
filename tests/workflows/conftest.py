"""A time-skipping Temporal server for each test: a month passes in milliseconds.

Await one result at a time and always with a limit: awaiting many at once makes the server stop skipping.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from gateway import stack


@pytest.fixture
async def environment() -> AsyncIterator[WorkflowEnvironment]:
    """A running test server and its client; payloads are readable, so that recorded histories are too.

    One for each test: a case that a failed test leaves behind would keep the time of all others from passing.
    """
    path = await asyncio.to_thread(stack.test_server)
    async with await started(str(path)) as running:
        yield running


@retry(stop=stop_after_attempt(3), retry=retry_if_exception_type(RuntimeError), reraise=True)
async def started(path: str) -> WorkflowEnvironment:
    """The SDK gives a server a few seconds to come up, which a Java machine on two busy cores may miss."""
    return await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=path, data_converter=pydantic_data_converter, identity="recorder"
    )
