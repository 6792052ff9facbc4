"""The in-memory stores keep the contracts."""

from __future__ import annotations

import pytest

from gateway.testing import FixedClock
from tests.adapters.fhir.edge.contracts import IssuedContract, JtiContract, SubscriptionsContract
from tests.adapters.fhir.edge.fakes import MemoryIssued, MemorySubscriptions
from tests.gateway.security.keys import MemoryJtiStore


class TestMemorySubscriptions(SubscriptionsContract):
    @pytest.fixture
    def subject(self) -> MemorySubscriptions:
        return MemorySubscriptions(FixedClock())


class TestMemoryIssued(IssuedContract):
    @pytest.fixture
    def subject(self) -> MemoryIssued:
        return MemoryIssued(FixedClock())


class TestMemoryJti(JtiContract):
    @pytest.fixture
    def subject(self) -> MemoryJtiStore:
        return MemoryJtiStore()
