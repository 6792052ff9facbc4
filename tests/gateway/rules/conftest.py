"""What the tests of the rule engine share: the catalogue as the gateway ships it, and a clock that stands still."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.rules.catalogue import Catalogue, catalogue_of
from gateway.rules.files import read_yaml

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The shipped fact catalogue."""
    return catalogue_of(read_yaml((ROOT / "mappings" / "facts.yaml").read_bytes()))


@pytest.fixture
def now() -> datetime:
    """A fixed instant."""
    return NOW
