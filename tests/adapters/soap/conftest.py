"""Fixtures of the CORE edge's tests."""

from __future__ import annotations

import pytest

from adapters.soap.settings import SoapSettings
from tests.adapters.soap.bench import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench(SoapSettings(receivers=("PLAN0009", "UMO0000001"), payload_types=(r"X12_27[08]_Request_\w+",)))
