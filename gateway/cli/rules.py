"""`gateway rules`: check, test, explain, compare and publish policy; no server is needed.

A rule set is a folder (ruleset.yaml, *.rule, tables, scenarios.yaml) or the name of a shipped template.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gateway.cli.rules_codes import app as codes_app
from gateway.cli.rules_dmn import app as dmn_app
from gateway.cli.rules_files import catalogue, folder_files, load, read_json, scenarios_of, warn_of_unknown
from gateway.cli.rules_publish import register as register_publish
from gateway.cli.rules_recorded import register as register_recorded
from gateway.cli.rules_release import register
from gateway.core.errors import ConfigurationError
from gateway.rules.engine import Reviewer, evaluate
from gateway.rules.explain import RuleReport
from gateway.rules.explain import explain as explain_rules
from gateway.rules.files import assemble
from gateway.rules.proving.mutation import mutation_run, score
from gateway.rules.proving.scenarios import run_all

app = typer.Typer(no_args_is_help=True, help="Medical policy: check it, test it, explain it, release it.")
app.add_typer(codes_app, name="codes")
app.add_typer(dmn_app, name="dmn")
register(app)
register_publish(app)
register_recorded(app)

Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
RuleSetArgument = Annotated[str, typer.Argument(help="A rule set folder, or the name of a shipped template.")]


def emit(document: Any) -> None:
    """JSON to standard output."""
    typer.echo(json.dumps(document, indent=2, default=str))


@app.command()
def check(ruleset: RuleSetArgument, as_json: Json = False) -> None:
    """Read, check and pin a rule set: every misspelt fact, unit, type or value set is shown with its place.

    Example: gateway rules check policies/home-oxygen
    """
    try:
        found = load(ruleset)
    except ConfigurationError as error:
        issues = [{"code": issue.code, "location": issue.location, "text": issue.text} for issue in error.issues] or [
            {"code": error.code, "location": error.location, "text": error.message}
        ]
        if as_json:
            emit({"ok": False, "issues": issues})
        for issue in [] if as_json else issues:
            Console(stderr=True).print(f"{issue['location']}: {issue['text']} [{issue['code']}]", markup=False)
        raise typer.Exit(1) from error
    summary = {
        "ok": True,
        "id": found.ruleset.id,
        "version": found.ruleset.version,
        "hash": found.hash,
        "lock": found.lock,
    }
    if as_json:
        emit(summary)
    else:
        typer.echo(f"{found.ruleset.id} v{found.ruleset.version}: {len(found.ruleset.rules)} rules, {found.hash}")


@app.command("test")
def run_scenarios(
    folder: RuleSetArgument,
    as_json: Json = False,
    mutate: Annotated[bool, typer.Option("--mutate", help="Also try every mutant of every condition.")] = False,
) -> None:
    """Run the scenarios beside the rules; show failures, what no scenario has seen, and rules that never matched.

    Example: gateway rules test policies/home-oxygen --mutate
    """
    found = load(folder)
    scenarios = scenarios_of(folder)
    results, coverage = run_all(found, scenarios)
    failed = [result for result in results if result.differences]
    report: dict[str, Any] = {
        "ok": not failed and bool(results),
        "scenarios": len(results),
        "failed": [{"name": each.scenario.name, "differences": list(each.differences)} for each in failed],
        "coverage": round(coverage.share(found), 4),
        "notSeen": coverage.missing(found),
        "neverMatched": sorted({rule.id for rule in found.ruleset.rules} - coverage.matched),
    }
    if mutate:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("mutants", total=None)
            mutants = mutation_run(
                assemble(folder_files(folder), catalogue()),
                catalogue(),
                scenarios,
                lambda done, total: progress.update(task, completed=done, total=total),
            )
        report["mutationScore"] = round(score(mutants), 4)
        report["survivors"] = [f"{each.rule}: {each.text}" for each in mutants if not each.killed]
    if as_json:
        emit(report)
    else:
        _print_report(report)
    if not report["ok"]:
        raise typer.Exit(1)


def _print_report(report: dict[str, Any]) -> None:
    typer.echo(f"{report['scenarios'] - len(report['failed'])} of {report['scenarios']} scenarios passed")
    for each in report["failed"]:
        typer.echo(f"  FAILED {each['name']}: {'; '.join(each['differences'])}")
    typer.echo(f"conditions seen true, false and unknown: {report['coverage']:.0%}")
    for key, title in (("notSeen", "not seen"), ("neverMatched", "never matched"), ("survivors", "mutant survived")):
        for line in report.get(key, ()):
            typer.echo(f"  {title}: {line}")
    if "mutationScore" in report:
        typer.echo(f"mutation score: {report['mutationScore']:.0%}")


@app.command()
def explain(
    ruleset: RuleSetArgument,
    facts: Annotated[Path, typer.Option("--facts", exists=True, dir_okay=False, help="The facts, a JSON file.")],
    as_of: Annotated[
        datetime | None, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Day the rules are taken of.")
    ] = None,
    reviewer: Annotated[str, typer.Option(help="Id of the clinician who decided.")] = "",
    rationale: Annotated[str, typer.Option(help="The clinician's rationale.")] = "",
    as_json: Json = False,
) -> None:
    """Decide one request and say why, and for every other rule why not.

    Example: gateway rules explain home-oxygen --facts request.json
    """
    release = load(ruleset)
    found = read_json(facts)
    warn_of_unknown(found)
    day: date | None = as_of.date() if as_of else None
    person = Reviewer(reviewer, rationale) if reviewer else None
    outcome = evaluate(release, found, as_of=day, now=datetime.now(UTC), reviewer=person)
    reports = explain_rules(release, found, outcome)
    if as_json:
        requested = list(outcome.requested_information)
        emit(
            {
                "action": outcome.action,
                "code": outcome.code,
                "requestedInformation": requested,
                "tasks": list(outcome.tasks),
                "record": outcome.record.as_json(),
                "rules": [report.as_json() for report in reports],
            }
        )
        return
    typer.echo(f"{outcome.action} {outcome.code}".rstrip())
    for item in outcome.record.items:
        typer.echo(f"line {item['sequence']}: {' → '.join(item['path'])}")
        if item["note"]:
            typer.echo(f"  {item['note']}" + (f" ({item['citation']})" if item["citation"] else ""))
    for request in outcome.requested_information:
        typer.echo(f"  needed: {request['question']}")
    _print_rules(reports)


def _print_rules(reports: list[RuleReport]) -> None:
    marks = {True: "yes", False: "no", None: "unknown"}
    for report in reports:
        table = Table(title=f"{report.rule.id} {report.rule.name}: {report.status}", title_justify="left", min_width=70)
        for heading in ("", "condition", "value", "decides"):
            table.add_column(heading)
        for leaf in report.leaves:
            value = "" if leaf.value is None else str(leaf.value)
            table.add_row(marks[leaf.truth], leaf.text, value[:60], "*" if leaf.deciding else "")
        Console().print(table)
