"""What a stranger types: every verb explains itself with an example, and wrong settings are said, not traced."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from gateway.cli.main import build
from gateway.core.errors import ConfigurationError
from gateway.core.settings import read_settings

ROOT = Path(__file__).parents[3]


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Each verb by its words."""
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, inner in command.commands.items():
        yield from verbs(inner, (*path, name))


def test_every_verb_has_an_example_and_every_option_is_explained() -> None:
    found = dict(verbs(get_command(build())))
    assert len(found) > 40
    assert [name for name, verb in found.items() if "Example" not in f"{verb.help}{verb.epilog}"] == []
    unexplained = [
        f"{name} {option.name}"
        for name, verb in found.items()
        for option in verb.params
        if option.param_type_name == "option" and not option.help
    ]
    assert unexplained == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"http": "abc"}, "http: not an address host:port: abc"),
        ({"mllp": "127.0.0.1:99999"}, "mllp: not an address"),
        ({"profile": "nope", "edge_processes": 0}, r"profile: Input should be 'demo' or 'production'; edge_processes:"),
        ({"nosuch": 1}, "nosuch: Extra inputs are not permitted"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        read_settings(**given)


@pytest.mark.parametrize("text", ["a: [", "- 1", "\x00"])
def test_a_settings_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "gateway.yaml").write_text(text)
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "gateway.yaml"))
    with pytest.raises(ConfigurationError, match="no YAML mapping"):
        read_settings()
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "other.yaml"))
    with pytest.raises(ConfigurationError, match="names no file"):
        read_settings()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("run", "--http", "abc"), 1, "error http: not an address host:port: abc"),
        (("run", "--role", "nope"), 2, "choose from edge"),
        (("nosuch",), 2, "No such command"),
        (("tasks", "again", "abc", "--reviewer", "ops"), 1, "no task of a payer"),
        (("tasks", "again", "0:1:review:1", "--reviewer", "ops"), 1, "no task of a payer"),
    ],
)
def test_wrong_usage_has_no_traceback(tmp_path: Path, words: tuple[str, ...], code: int, told: str) -> None:
    environment = {**os.environ, "GATEWAY_STATE": str(tmp_path), "COLUMNS": "200"}
    command = [sys.executable, "-m", "gateway", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
