"""The command line: one module per group of verbs; each builds a typer app named `app`, joined in `main`."""

from __future__ import annotations

from gateway.cli.main import main

__all__ = ["main"]
