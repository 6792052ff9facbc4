"""`gateway rules diff | shadow | table`: compare versions, try one on recorded cases, look into tables."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from gateway.cli.rules_files import catalogue, folder_files, load, read_bytes, read_json
from gateway.cli.rules_recorded import STATE, State, Tenant, recorded_cases
from gateway.core.errors import ConfigurationError
from gateway.rules.diff import diff as diff_rulesets
from gateway.rules.dmn.exchange import read_table_of, write_model
from gateway.rules.files import assemble
from gateway.rules.proving.shadow import Case, Difference, conflicts, shadow_run
from gateway.rules.tables.analysis import analyse
from gateway.rules.tables.grids import read_table, write_csv, write_document, write_xlsx
from gateway.rules.tables.model import Table

Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
Before = Annotated[str, typer.Argument(help="The rule set in use: a folder or a template.")]
After = Annotated[str, typer.Argument(help="The candidate: a folder or a template.")]


def emit(document: Any) -> None:
    """JSON to standard output."""
    typer.echo(json.dumps(document, indent=2, default=str))


def diff(before: Before, after: After, as_json: Json = False) -> None:
    """What changed, word by word: [-gone-] and {+come+}. Exit code 0 whether or not there are changes.

    Example: gateway rules diff policies/imaging-v1 policies/imaging-v2
    """
    old, new = (assemble(folder_files(name), catalogue()) for name in (before, after))
    changes = diff_rulesets(old, new, catalogue())
    if as_json:
        emit([{"what": each.what, "how": each.how, "text": each.text} for each in changes])
        return
    for each in changes:
        typer.echo(f"{each.what} {each.how}:\n{each.text.rstrip()}\n")
    typer.echo(f"{len(changes)} changes")


def shadow(
    before: Before,
    after: After,
    cases: Annotated[
        Path | None, typer.Option("--cases", exists=True, help="A folder of fact files (JSON), or one JSON list.")
    ] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Take the decisions the running gateway has recorded of this rule set.")
    ] = False,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Recorded since this day; 90 days when absent.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many, the newest.")] = 10_000,
    tenant: Tenant = "demo",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """What the candidate would have decided otherwise on recorded cases, with the reasons of both.

    Cases are files (each a facts object, or {id, facts, asOf}) or, with --recorded, what the running gateway decided.
    Example: gateway rules shadow imaging new-imaging --cases recorded/
    """
    current, candidate = load(before), load(after)
    if recorded is (cases is not None):
        raise ConfigurationError("either --cases or --recorded says what to run on")
    begin = since.date() if since else datetime.now(UTC).date() - timedelta(days=90)
    found = list(_cases(cases)) if cases else recorded_cases(state, tenant, current.ruleset.id, begin, limit)
    count, differences = shadow_run(
        current, candidate, track(found, description="cases", console=Console(stderr=True), transient=True)
    )
    pairs, dead = conflicts(candidate, [case.facts for case in found], datetime.now(UTC))
    if as_json:
        emit(
            {
                "cases": count,
                "differences": [_difference(each) for each in differences],
                "conflicts": pairs,
                "neverMatched": dead,
            }
        )
        return
    for each in differences:
        typer.echo(f"{each.case} line {each.sequence}: {each.before} → {each.after}")
        typer.echo(f"  before: {' → '.join(each.why_before)}\n  after:  {' → '.join(each.why_after)}")
    for pair in pairs:
        typer.echo(f"conflict: {pair}")
    typer.echo(f"{len(differences)} lines of {count} cases would be decided otherwise")


def _difference(each: Difference) -> dict[str, Any]:
    return {
        "case": each.case,
        "line": each.sequence,
        "before": each.before,
        "after": each.after,
        "whyBefore": list(each.why_before),
        "whyAfter": list(each.why_after),
    }


def _cases(path: Path) -> list[Case]:
    documents: list[tuple[str, Any]] = []
    if path.is_dir():
        documents = [(each.stem, read_json(each)) for each in sorted(path.glob("*.json"))]
    else:
        body = json.loads(read_bytes(path))
        documents = [(str(index), each) for index, each in enumerate(body if isinstance(body, list) else [body], 1)]
    found = []
    for name, document in documents:
        if not isinstance(document, dict):
            raise ConfigurationError("a case is a JSON object", location=name)
        facts = document.get("facts", document)
        day = date.fromisoformat(document["asOf"]) if "asOf" in document else datetime.now(UTC).date()
        found.append(Case(id=str(document.get("id", name)), facts=facts, as_of=day, now=datetime.now(UTC)))
    return found


def table(
    source: Annotated[Path, typer.Argument(help="A table: .csv, .xlsx, .yaml or .dmn.", exists=True, dir_okay=False)],
    to: Annotated[
        Path | None, typer.Option("--to", help="Write it in another form: .csv, .xlsx, .yaml or .dmn.")
    ] = None,
    category: Annotated[str, typer.Option(help="Category of a table that comes from DMN.")] = "medical_necessity",
    rule_set: Annotated[str, typer.Option("--ruleset", help="Where its value sets are, for DMN.")] = "",
    as_json: Json = False,
) -> None:
    """Look for gaps, overlaps and unreachable rows of a decision table, and carry it from one form to another.

    Exit code 1 when its hit policy forbids an overlap it has.
    Example: gateway rules table walkers.csv --to walkers.xlsx
    """
    data = read_bytes(source)
    found = read_table_of(data, category=category) if source.suffix == ".dmn" else read_table(source.name, data)
    if to is not None:
        sets = load(rule_set).ruleset.value_sets if rule_set else {}
        to.write_bytes(_written(found, to.suffix, sets))
    report = analyse(found)
    document = {
        "id": found.id,
        "hit": found.hit,
        "rows": len(found.rows),
        "gaps": report.gaps,
        "overlaps": report.overlaps,
        "unreachable": report.unreachable,
        "broken": report.broken,
        "complete": report.complete,
    }
    if as_json:
        emit(document)
    else:
        for kind in ("gaps", "overlaps", "unreachable", "broken"):
            for line in document[kind]:  # type: ignore[attr-defined]
                typer.echo(f"{kind}: {line}")
        typer.echo(f"{found.id}: {len(found.rows)} rows, hit policy {found.hit}")
    if report.broken:
        raise typer.Exit(1)


def _written(found: Table, suffix: str, sets: Any) -> bytes:
    if suffix == ".csv":
        return write_csv(found)
    if suffix == ".xlsx":
        return write_xlsx(found)
    if suffix == ".dmn":
        return write_model(found, sets)
    if suffix in (".yaml", ".json"):
        return json.dumps(write_document(found), indent=1, ensure_ascii=False).encode()
    raise ConfigurationError("a table is written as .csv, .xlsx, .yaml or .dmn")


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to a group."""
    for verb in (diff, shadow, table):
        app.command()(verb)
