"""What all tests share: which of them stay together when the suite runs in two processes (`make test`), and how
generated examples are chosen.

Tests that start Kafka, Temporal or a whole gateway share what they start, so those of one stack run one after the other
in one process: those around the gateway that everybody asks, and those around gateways that ask payers. All others run
wherever there is time.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# The same examples each time, and no limit on the time of one: a run fails for a reason, never by chance. Asking for a
# number of examples explores: new ones each time, and what failed is tried first in the next run.
settings.register_profile(
    "gateway",
    deadline=None,
    derandomize="GATEWAY_HYPOTHESIS_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("gateway")

TOGETHER = {
    "tests/e2e/test_payer": "payers",
    "tests/e2e/test_ehr": "payers",
    "tests/e2e/": "servers",
    "tests/gateway/cluster/": "servers",
    "tests/gateway/stack/": "servers",
    "tests/gateway/store/": "store",
    "tests/workflows/": "workflows",
}
"""Beginning of a test's id → those it stays with; the first that fits. Store and workflows share a server each that is
cheap to start."""


class Scheduling(LoadScopeScheduling):
    """Sends what stays together to one process, the largest group first. (xdist's own groups are marks that it writes
    into ids, which this pytest computes anew.)"""

    def _split_scope(self, nodeid: str) -> str:
        return next((name for start, name in TOGETHER.items() if nodeid.startswith(start)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """How tests are distributed (`pytest -n 2`)."""
    return Scheduling(config, log)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Tests are not named after bytes: packed ones change with the clock, and both processes must name a test alike."""
    return argname if isinstance(val, bytes) else None
