"""Where `gateway rules` finds things: rule set folders, shipped templates, the fact catalogue, JSON files."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import typer

from gateway.core import exact_json
from gateway.core.errors import ConfigurationError
from gateway.rules import templates
from gateway.rules.catalogue import Catalogue, catalogue_of
from gateway.rules.files import assemble, read_yaml
from gateway.rules.proving.scenarios import Scenario, read_scenarios
from gateway.rules.release import Release, release

MAX_FILE = 64_000_000
"""Bytes of one file."""


@cache
def catalogue() -> Catalogue:
    """The catalogue as shipped with the mappings."""
    return catalogue_of(read_yaml(resources.files("mappings").joinpath("facts.yaml").read_bytes(), "facts.yaml"))


def folder_files(name: str) -> dict[str, bytes]:
    """The files of a folder or template by name. Raises ConfigurationError when there is neither."""
    path = Path(name)
    if not path.is_dir():
        if name in templates.names():
            return templates.files_of(name)
        raise ConfigurationError(f"no folder and no template {name!r}; templates: {', '.join(templates.names())}")
    return {each.name: read_bytes(each) for each in sorted(path.iterdir()) if each.is_file()}


def load(name: str) -> Release:
    """The release of a folder or template."""
    return release(assemble(folder_files(name), catalogue()), catalogue())


def scenarios_of(name: str) -> list[Scenario]:
    """The scenarios beside a rule set. Raises ConfigurationError when there are none."""
    files = folder_files(name)
    if "scenarios.yaml" not in files:
        raise ConfigurationError("no scenarios.yaml beside the rules", location=name)
    return read_scenarios(files["scenarios.yaml"])


def read_bytes(path: Path) -> bytes:
    """A file within the limit. Raises ConfigurationError."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise ConfigurationError("the file is too large", location=str(path))
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError("the file cannot be read", location=str(path)) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ConfigurationError."""
    try:
        found = exact_json.loads(read_bytes(path).decode("utf-8-sig"))
    except ValueError as error:
        raise ConfigurationError(f"not JSON: {error}", location=str(path)) from error
    if not isinstance(found, dict):
        raise ConfigurationError("a JSON object is needed", location=str(path))
    return found


def warn_of_unknown(facts: Mapping[str, Any]) -> None:
    """Say on standard error which facts the catalogue has not, and what may be meant: no rule looks at them."""
    known = catalogue()
    names = [*known.facts, *known.lists]
    for name in facts:
        if name not in names:
            near = ", ".join(difflib.get_close_matches(name, names))
            typer.echo(f"unknown fact {name}" + (f"; near: {near}" if near else ""), err=True)
