"""Lines of business from the file that the settings name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app import App
from gateway.core.errors import ConfigurationError
from gateway.core.settings import Settings
from tests.gateway.stages.fakes import envelope

EXAMPLE = """
lines:
  - name: qhp-ffe
    when: ['plan is in ("SILVER-1", "GOLD-1")']
    legal_clock: false
    hours: {standard: 360}
  - {name: state-x, tenant: acme, sources: [sftp/clearinghouse-a], hours: {expedited: 24}, extension_days: 7}
"""


def app(path: Path | None) -> App:
    return App(Settings(lines=path))


def test_the_example_of_the_decision_record_is_read(tmp_path: Path) -> None:
    file = tmp_path / "lines.yaml"
    file.write_text(EXAMPLE, encoding="utf-8")
    lines = app(file).lines
    assert lines.of(envelope(facts={"coverage.plan": "GOLD-1"})).legal_clock is False
    assert lines.of(envelope()).extension_days == 7
    assert app(None).lines.of(envelope()).name == "all"


@pytest.mark.parametrize(
    "text", ["lines: 7", "- x", "lines: [{name: X}]", "lines: [{name: a, when: ['nothing is 1']}]"]
)
def test_a_faulty_file_stops_the_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "lines.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError):
        _ = app(file).lines
    with pytest.raises(ConfigurationError):
        _ = app(tmp_path / "absent.yaml").lines
