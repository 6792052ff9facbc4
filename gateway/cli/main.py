"""The root of the command line: joins the groups; exit codes 0 fine, 1 a problem shown, 2 wrong usage."""

from __future__ import annotations

import importlib
import os
import sys

import typer
from rich.console import Console

from gateway.core.errors import GatewayError

app = typer.Typer(
    name="gateway",
    help="Integration gateway for health care: FHIR, HL7 v2, X12, SOAP in; decisions out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

GROUPS = ("stack", "topics", "x12", "hl7", "fhir", "rules", "send", "tasks", "case", "metrics")
"""Modules of this package that hold an `app` of their own."""


VERBS = ("run", "demo", "trace", "lag", "doctor")
"""Modules of this package that hold one command, a function of the same name."""


def build(only: str | None = None) -> typer.Typer:
    """Join all groups into the root command, or `only` the one that is asked for: importing all takes seconds."""
    known = only in GROUPS or only in VERBS
    for name in GROUPS:
        if not known or name == only:
            app.add_typer(importlib.import_module(f"gateway.cli.{name}").app, name=name)
    for name in VERBS:
        if not known or name == only:
            app.command(name)(getattr(importlib.import_module(f"gateway.cli.{name}"), name))
    if known:
        app.callback()(_root)  # typer would take a single command for the whole program
    return app


def _root() -> None:
    """Keep the commands below the root."""


def main() -> None:
    """Entry point of the `gateway` command. No traceback reaches a user unless GATEWAY_TRACEBACK=1."""
    try:
        build(sys.argv[1] if len(sys.argv) > 1 else None)()
    except GatewayError as error:
        if os.environ.get("GATEWAY_TRACEBACK"):
            raise
        Console(stderr=True).print(f"[red]error[/red] {error}", highlight=False)
        for issue in error.issues:
            Console(stderr=True).print(
                f"  {issue.location}: {issue.text} [{issue.code}]", highlight=False, markup=False
            )
        sys.exit(1)
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(130)
