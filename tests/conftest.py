"""What all tests share: which of them stay together when the suite runs in two processes (`make test`), and how
generated examples are chosen.

Tests that start Kafka, Temporal or a whole gateway run one after the other in one process, all others beside them in
the second: two stacks at once are more than two cores start in time.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples each time, and no limit on the time of one: a run fails for a reason, never by chance. Asking for a
# number of examples explores: new ones each time, and what failed is tried first in the next run.
settings.register_profile(
    "gateway",
    deadline=None,
    derandomize="GATEWAY_HYPOTHESIS_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("gateway")

ROOT = Path(__file__).parent
SERVERS = tuple(ROOT / folder for folder in ("e2e", "gateway/cluster", "gateway/stack"))
SHARED = (ROOT / "gateway/store", ROOT / "workflows")
"""Folders whose tests share a server that is cheap to start: together, but beside anything."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the group of each test."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in SERVERS):
            item.add_marker(pytest.mark.xdist_group("servers"))
        for folder in SHARED:
            if item.path.is_relative_to(folder):
                item.add_marker(pytest.mark.xdist_group(folder.name))
