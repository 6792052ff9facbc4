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

GROUPS = ("stack", "topics", "lag", "x12", "hl7", "fhir", "rules", "send")
"""Modules of this package that hold an `app` of their own."""


VERBS = ("run", "demo", "trace", "doctor")
"""Modules of this package that hold one command, a function of the same name."""


def build() -> typer.Typer:
    """Join all groups into the root command."""
    for name in GROUPS:
        app.add_typer(importlib.import_module(f"gateway.cli.{name}").app, name=name)
    for name in VERBS:
        app.command(name)(getattr(importlib.import_module(f"gateway.cli.{name}"), name))
    return app


def main() -> None:
    """Entry point of the `gateway` command. No traceback reaches a user unless GATEWAY_TRACEBACK=1."""
    try:
        build()()
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
