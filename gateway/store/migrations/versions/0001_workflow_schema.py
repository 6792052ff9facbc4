"""The first schema; the SQL stands beside this file."""

from __future__ import annotations

from gateway.store.migrations import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create schema `workflow`."""
    run_file(__file__)
