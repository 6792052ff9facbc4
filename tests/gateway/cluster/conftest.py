"""One real Kafka for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.stack import Stack, StackSettings
from gateway.stack.progress import Silent


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a fresh Kafka."""
    settings = StackSettings(state=tmp_path_factory.mktemp("cluster"))
    with Stack(settings, {"kafka"}, Silent()).up() as addresses:
        yield addresses.kafka
