"""Answers that CORE clients pick up; the SQL stands beside this file."""

from __future__ import annotations

from gateway.store.migrations import run_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the index of answers by where they lie."""
    run_file(__file__)
