"""`gateway x12 to-fhir`: X12 files → FHIR Bundles and facts, without any server."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TextIO

import orjson
import typer
from rich.console import Console
from rich.progress import track

from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import ConfigurationError
from mappings.x12_codec import X12Codec

EPILOG = """
Examples:

  gateway x12 to-fhir request.278

  gateway x12 to-fhir claims.837 --ledger fields.csv > bundles.ndjson

  gateway x12 to-fhir request.278 --facts --pretty
"""
_errors = Console(stderr=True)


def to_fhir(
    file: Annotated[Path, typer.Argument(help="X12 file of any number of interchanges; - reads standard input.")],
    ledger: Annotated[Path | None, typer.Option(help="Write the fate of every element to this CSV file.")] = None,
    facts: Annotated[bool, typer.Option("--facts", help="Write type, keys, facts and Bundle instead.")] = False,
    pretty: Annotated[bool, typer.Option(help="Indent the JSON.")] = False,
) -> None:
    """Write one FHIR R4 Bundle (JSON) for each patient event, inquiry or claim to standard output, one on each line.

    Exit code 0: everything was mapped; 1: something was refused or has no mapping (told on standard error).
    """
    reception = Reception(tenant="cli", source="file", received_at=datetime.now(UTC), client="cli")
    reading = X12Codec().read(Raw.of(_content(file), "application/edi-x12"), reception)
    for issue in reading.issues:
        _errors.print(f"{issue.location}: {issue.text} [{issue.code}]", style="red", highlight=False, markup=False)
    option = orjson.OPT_INDENT_2 if pretty else 0
    number = unmapped = 0
    rows: TextIO | None = None
    try:
        if ledger is not None:
            rows = ledger.open("w", encoding="utf-8", newline="")
            csv.writer(rows).writerow(["message", "path", "fate", "target"])
        is_large = file.name != "-" and file.stat().st_size > 1 << 20
        # iter: counting the messages would map every one of them twice
        messages = track(iter(reading.intakes), "messages", console=_errors) if is_large else reading.intakes
        for number, intake in enumerate(messages, 1):
            if intake.resource is None:
                unmapped += bool(intake.parked)
                reason = intake.parked or "it has no canonical form of its own"
                _errors.print(
                    f"message {number}: {intake.type}: {reason}", style="yellow", highlight=False, markup=False
                )
                continue
            typer.echo(
                orjson.dumps(_whole(intake) if facts else intake.resource, default=_exact, option=option).decode()
            )
            if rows is not None and intake.ledger is not None:
                csv.writer(rows).writerows(
                    (number, entry.path, entry.fate, entry.target) for entry in intake.ledger.entries
                )
    except OSError as error:
        raise ConfigurationError(f"cannot write {ledger}: {type(error).__name__}") from error
    finally:
        if rows is not None:
            rows.close()
    if not number and not reading.issues:
        _errors.print("no interchange with anything to map", style="red")
    if unmapped or reading.issues or not number:
        raise typer.Exit(1)


def _whole(intake: Intake) -> dict[str, Any]:
    return {
        "type": intake.type,
        "naturalKey": intake.natural_key,
        "caseKey": intake.case_key,
        "facts": intake.facts,
        "resource": intake.resource,
    }


def _exact(value: object) -> Any:
    """Decimals keep their digits."""
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(type(value).__name__)


def _content(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read it: {type(error).__name__}", param_hint="FILE") from error


def join(app: typer.Typer) -> None:
    """Add the command to the group of X12 commands."""
    app.command("to-fhir", epilog=EPILOG)(to_fhir)
