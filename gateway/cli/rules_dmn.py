"""`gateway rules dmn`: evaluate a DMN model and list its decisions; tables travel with `gateway rules table`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gateway.cli.rules_files import read_bytes
from gateway.core import exact_json
from gateway.core.errors import ConfigurationError
from gateway.rules.dmn import Model, read_model


class _EvaluateByDefault(TyperGroup):
    """`dmn MODEL.dmn …` means `dmn evaluate MODEL.dmn …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb in where the first word is a model."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["evaluate", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_EvaluateByDefault,
    no_args_is_help=True,
    help="DMN 1.5 models: evaluate, list; tables travel with `gateway rules table`.",
)
ModelArgument = Annotated[Path, typer.Argument(help="A DMN file.", exists=True, dir_okay=False)]


@app.command()
def evaluate(
    model: ModelArgument,
    decision: Annotated[str, typer.Option("--decision", help="Name of the decision or decision service.")],
    given: Annotated[str, typer.Option("--input", help="The inputs by name: a JSON file, `-`, or JSON itself.")] = "{}",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (always the case; kept for scripts).")] = True,  # noqa: ARG001
) -> None:
    """Evaluate one decision and print its value as JSON. Models it imports are looked for beside it.

    Example: gateway rules dmn evaluate loan.dmn --decision Approval --input '{"Age": 20}'
    """
    others = {
        each.name: read_bytes(each) for each in sorted(model.parent.glob("*.dmn")) if each.resolve() != model.resolve()
    }
    found = _model(model, _imported(read_bytes(model), others))
    typer.echo(exact_json.dumps(found.evaluate_json(decision, _inputs(given))).decode())


def _model(path: Path, others: dict[str, bytes]) -> Model:
    try:
        return read_model(read_bytes(path), others)
    except ConfigurationError as error:
        raise ConfigurationError(error.message, location=error.location or str(path)) from error


def _imported(data: bytes, others: dict[str, bytes]) -> dict[str, bytes]:
    """The neighbours, only for a model that imports."""
    return others if b"import" in data else {}


def _inputs(given: str) -> dict[str, Any]:
    written = given.lstrip().startswith("{")
    standard = given == "-"
    data = given.encode() if written else sys.stdin.buffer.read() if standard else read_bytes(Path(given))
    try:
        found = exact_json.loads(data.decode("utf-8-sig"))
    except ValueError as error:
        raise ConfigurationError(f"the input is not JSON: {error}", location="" if written else given) from error
    if not isinstance(found, dict):
        raise ConfigurationError("the input must be a JSON object")
    return found


@app.command("list")
def list_decisions(
    model: ModelArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with what cannot be evaluated.")] = False,
) -> None:
    """The decisions of a model.

    Example: gateway rules dmn list loan.dmn
    """
    found = _model(model, {})
    if as_json:
        typer.echo(json.dumps({"decisions": found.decisions(), "problems": found.problems}))
    else:
        typer.echo("\n".join(found.decisions()))
