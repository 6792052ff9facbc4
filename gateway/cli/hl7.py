"""`gateway hl7`."""

from __future__ import annotations

import typer

from gateway.cli import hl7_fhir

app = typer.Typer(no_args_is_help=True, help="HL7 v2: convert, check and exchange messages.")
hl7_fhir.join(app)


@app.callback()
def group() -> None:
    """HL7 v2: convert, check and exchange messages."""
