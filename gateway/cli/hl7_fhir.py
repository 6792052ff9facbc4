"""`gateway hl7 to-fhir`: HL7 v2 files → FHIR Bundles, without any server."""

from __future__ import annotations

import csv
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TextIO

import orjson
import typer
from rich.console import Console
from rich.progress import track

from adapters.hl7.wire import parse
from adapters.hl7.wire.batch import split
from gateway.core.errors import ConfigurationError, GatewayError
from mappings.hl7_to_fhir import Conversion, Program, convert, default_program, load_program

EPILOG = """
Examples:

  gateway hl7 to-fhir admission.hl7

  gateway hl7 to-fhir batch.hl7 --ledger fields.csv > bundles.ndjson

  gateway hl7 to-fhir order.hl7 --partner clinic.yaml --pretty
"""
_errors = Console(stderr=True)


def _exact(value: object) -> Any:
    """Decimals keep their digits."""
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(type(value).__name__)


def to_fhir(
    file: Annotated[
        Path,
        typer.Argument(
            help="HL7 v2 file: one message, several, or a batch; - reads standard input.",
        ),
    ],
    ledger: Annotated[Path | None, typer.Option(help="Write the fate of every field to this CSV file.")] = None,
    partner: Annotated[Path | None, typer.Option(help="Partner file (YAML) laid over the tables.", exists=True)] = None,
    source: Annotated[str, typer.Option(help="Scope of the ids, as the gateway's endpoint has it.")] = "",
    pretty: Annotated[bool, typer.Option(help="Indent the JSON.")] = False,
) -> None:
    """Write one FHIR R4 Bundle (JSON) for each message to standard output, one on each line."""
    program = load_program(partner) if partner else default_program()
    messages = split(_content(file), charset=program.charset).messages
    failed = 0
    rows: TextIO | None = None
    try:
        if ledger is not None:
            rows = ledger.open("w", encoding="utf-8", newline="")
            csv.writer(rows).writerow(["message", "path", "fate", "target"])
        numbered = list(enumerate(messages, 1))
        steps = track(numbered, "messages", console=_errors, transient=True) if len(numbered) > 100 else numbered
        for number, raw in steps:
            try:
                conversion = _convert(raw, program, source)
            except GatewayError as error:
                failed += 1
                _errors.print(f"message {number}: {error} [{error.code}]", style="red", highlight=False, markup=False)
                continue
            option = orjson.OPT_INDENT_2 if pretty else 0
            typer.echo(orjson.dumps(conversion.bundle, default=_exact, option=option).decode())
            if rows is not None:
                csv.writer(rows).writerows(
                    (number, entry.path, entry.fate, entry.target) for entry in conversion.ledger.entries
                )
    except OSError as error:
        raise ConfigurationError(f"cannot write {ledger}: {type(error).__name__}") from error
    finally:
        if rows is not None:
            rows.close()
    if failed:
        raise typer.Exit(1)


def _content(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read it: {type(error).__name__}", param_hint="FILE") from error


def _convert(raw: bytes, program: Program, source: str) -> Conversion:
    return convert(parse(raw, charset=program.charset), program, source=source)


def join(app: typer.Typer) -> None:
    """Add the command to the group of HL7 commands."""
    app.command("to-fhir", epilog=EPILOG)(to_fhir)
