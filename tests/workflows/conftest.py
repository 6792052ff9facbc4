"""A time-skipping Temporal server for each test: a month passes in milliseconds.

Await one result at a time and always with a limit: awaiting many at once makes the server stop skipping.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from gateway import stack


@pytest.fixture
async def environment() -> AsyncIterator[WorkflowEnvironment]:
    """A running test server and its client; payloads are readable, so that recorded histories are too.

    One for each test: a case that a failed test leaves behind would keep the time of all others from passing.
    """
    path = await asyncio.to_thread(stack.test_server)
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(path), data_converter=pydantic_data_converter, identity="recorder"
    ) as running:
        yield running
