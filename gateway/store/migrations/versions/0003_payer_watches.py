"""Subscriptions of ours at payers; the SQL stands beside this file."""

from __future__ import annotations

from gateway.store.migrations import run_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables."""
    run_file(__file__)
