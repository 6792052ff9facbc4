"""`gateway hl7 to-fhir`: HL7 v2 files → FHIR Bundles, without any server."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import track

from adapters.hl7.wire import parse
from gateway.cli.hl7_files import messages, read
from gateway.core.errors import ConfigurationError, GatewayError
from mappings.hl7_to_fhir import Conversion, Program, convert, default_program, load_program

EPILOG = """
Examples:

  gateway hl7 to-fhir admission.hl7

  gateway hl7 to-fhir batch.hl7 --ledger fields.csv > bundles.ndjson

  gateway hl7 to-fhir order.hl7 --partner clinic.yaml --pretty
"""
Row = tuple[int | str, str, str, str]
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
            help="HL7 v2 file: one message, several, a batch, or MLLP frames; - reads standard input.",
        ),
    ],
    ledger: Annotated[Path | None, typer.Option(help="Write the fate of every field to this CSV file.")] = None,
    partner: Annotated[Path | None, typer.Option(help="Partner file (YAML) laid over the tables.", exists=True)] = None,
    source: Annotated[str, typer.Option(help="Scope of the ids, as the gateway's endpoint has it.")] = "",
    pretty: Annotated[bool, typer.Option(help="Indent the JSON.")] = False,
) -> None:
    """Write one FHIR R4 Bundle (JSON) for each message to standard output, one on each line."""
    program = load_program(partner) if partner else default_program()
    found = messages(read(file), program.charset)
    failed = 0
    with _ledger(ledger) as keep:
        numbered = list(enumerate(found, 1))
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
            keep((number, entry.path, entry.fate, entry.target) for entry in conversion.ledger.entries)
    if failed:
        raise typer.Exit(1)


@contextmanager
def _ledger(path: Path | None) -> Iterator[Callable[[Iterable[Row]], None]]:
    """Write rows to the file; forget them where there is none. Raises ConfigurationError."""
    if path is None:
        yield lambda _rows: None
        return

    def keep(rows: Iterable[Row]) -> None:
        try:
            writer.writerows(rows)
        except OSError as error:
            raise _unwritable(path, error) from error

    try:
        target = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise _unwritable(path, error) from error
    with target:
        writer = csv.writer(target)
        keep([("message", "path", "fate", "target")])
        yield keep


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"cannot write {path}: {error.strerror}")


def _convert(raw: bytes, program: Program, source: str) -> Conversion:
    return convert(parse(raw, charset=program.charset), program, source=source)


def join(app: typer.Typer) -> None:
    """Add the command to the group of HL7 commands."""
    app.command("to-fhir", epilog=EPILOG)(to_fhir)
