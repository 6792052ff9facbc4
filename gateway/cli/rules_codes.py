"""`gateway rules codes`: value sets from the public code lists a user has downloaded."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.rules_files import read_bytes
from gateway.core.errors import ConfigurationError
from gateway.rules.codes.layouts import LAYOUTS, read_codes
from gateway.rules.codes.model import Chosen, select, value_set
from gateway.rules.documents import read_value_set, write_value_set
from gateway.rules.files import CODES

app = typer.Typer(
    no_args_is_help=True, help="Value sets from public code lists: HCPCS II, ICD-10-CM, POS, LCD articles."
)
SHOWN = 20

File = Annotated[Path, typer.Argument(help="A code list as published.", exists=True, dir_okay=False)]
Layout = Annotated[str, typer.Option("--layout", help=f"How the file is laid out: {', '.join(LAYOUTS)}.")]
Select = Annotated[list[str], typer.Option("--select", help="A code, a beginning (E11*) or a range (A00-B99); repeat.")]
On = Annotated[datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="Only codes in use on this day.")]
Group = Annotated[str, typer.Option("--group", help="Only this group of an article, or modifier (HCPCS).")]
Document = Annotated[str, typer.Option("--document", help="The article, LCD or NCD, where a file holds several.")]
Headings = Annotated[bool, typer.Option("--headings", help="Also headings, for conditions with `is under`.")]
Licensed = Annotated[bool, typer.Option("--licensed", help="Also CPT and CDT codes: you have the licence.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
FirstDay = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day of the release.")]
DayAfter = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day after its last.")]


def _chosen(
    file: Path, layout: str, wanted: list[str], on: datetime | None, group: str, document: str, flags: tuple[bool, bool]
) -> Chosen:
    source = read_codes(read_bytes(file), layout, document=document)
    part = group or ("procedure" if layout == "hcpcs" else "")
    day = on.date() if on else None
    return select(source, wanted, on=day, group=part, headings=flags[0], licensed=flags[1])


@app.command("list")
def list_codes(
    file: File,
    layout: Layout,
    wanted: Select = [],  # noqa: B006 - typer copies it
    on: On = None,
    group: Group = "",
    document: Document = "",
    headings: Headings = False,
    licensed: Licensed = False,
    as_json: Json = False,
) -> None:
    """Look into a code list: what a choice would take, with titles. Writes nothing.

    Example: gateway rules codes list icd10cm-order.txt --layout icd10cm --select 'E11*'
    """
    chosen = _chosen(file, layout, wanted, on, group, document, (headings, licensed))
    if as_json:
        rows = [{"code": each.code, "title": each.title, "group": each.group} for each in chosen.codes]
        typer.echo(json.dumps({**_facts(chosen), "codes": rows}, indent=1))
        return
    table = Table("code", "title", "group", box=None)
    for each in chosen.codes[:SHOWN]:
        table.add_row(each.code, each.title[:80], each.group)
    Console().print(table)
    _tell(chosen)


@app.command()
def load(
    file: File,
    layout: Layout,
    into: Annotated[Path, typer.Option("--into", help="The rule set's folder.", exists=True, file_okay=False)],
    name: Annotated[str, typer.Option("--name", help="The value set's name.")],
    release: Annotated[str, typer.Option("--release", help="The publisher's release, e.g. FY2026 or 2026-01.")],
    wanted: Select = [],  # noqa: B006 - typer copies it
    on: On = None,
    group: Group = "",
    document: Document = "",
    headings: Headings = False,
    licensed: Licensed = False,
    title: Annotated[str, typer.Option(help="What the set is called.")] = "",
    source: Annotated[str, typer.Option(help="Where the file is published; its name when absent.")] = "",
    effective: FirstDay = None,
    until: DayAfter = None,
    as_json: Json = False,
) -> None:
    """Write <name>.codes.json beside the rules: the codes, the release and its days, and the hash of the file.

    The set of that name in ruleset.yaml keeps its title and question and has no codes of its own. A release of the
    rule set names the file's hash in its lock.
    Example: gateway rules codes load HCPC2026_JAN_ANWEB.txt --layout hcpcs --into policies/oxygen --name home-oxygen
    --release 2026-01 --effective 2026-01-01 --select E1390-E1392 --select K0738
    """
    chosen = _chosen(file, layout, wanted, on, group, document, (headings, licensed))
    listed = ", ".join(chosen.source.documents)
    found = value_set(
        chosen,
        name=name,
        version=release,
        title=title,
        source=(source or file.name) + (f" ({listed})" if listed else ""),
        effective=effective.date() if effective else None,
        expiration=until.date() if until else None,
    )
    content = write_value_set(found)
    read_value_set(name, content)  # refused now rather than when the rule set is read
    target = into / f"{name}{CODES}"
    try:
        target.write_text(json.dumps(content, indent=0, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError("the file cannot be written", location=str(target)) from error
    if as_json:
        typer.echo(json.dumps({**_facts(chosen), "file": str(target), "origin": found.origin}, indent=1))
        return
    typer.echo(f"{target}: {found.origin}")
    _tell(chosen)


def _facts(chosen: Chosen) -> dict[str, Any]:
    return {
        "system": chosen.source.system,
        "fileHash": chosen.source.hash,
        "documents": list(chosen.source.documents),
        "groups": list(chosen.source.groups),
        "inFile": len(chosen.source.codes),
        "chosen": len(chosen.codes),
        "licensedLeftOut": chosen.licensed,
    }


def _tell(chosen: Chosen) -> None:
    typer.echo(f"{len(chosen.codes)} of {len(chosen.source.codes)} {chosen.source.system} codes")
    if chosen.source.groups:
        typer.echo(f"groups: {', '.join(chosen.source.groups)}")
    if chosen.licensed:
        typer.echo(f"{chosen.licensed} codes of a licensed system (CPT, CDT) left out; --licensed takes them")
