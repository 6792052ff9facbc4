"""One gateway for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.running import Gateway, running


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A running gateway."""
    with running(tmp_path_factory.mktemp("gateway") / "state") as found:
        yield found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs real servers, and the first test waits for them to be built."""
    for item in items:
        if "/e2e/" in str(item.path):
            item.add_marker(pytest.mark.connected)
            item.add_marker(pytest.mark.timeout(600))
