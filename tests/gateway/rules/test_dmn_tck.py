"""The DMN TCK, from a checkout outside of the project (GATEWAY_DMN_TCK): an independent oracle for tables and FEEL."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.gateway.rules.tck import run

ROOT = os.environ.get("GATEWAY_DMN_TCK")
needs_kit = pytest.mark.skipif(not ROOT, reason="GATEWAY_DMN_TCK names no checkout of dmn-tck/tck")
LEVEL = {level: Path(ROOT or ".") / "TestCases" / f"compliance-level-{level}" for level in (2, 3)}


@needs_kit
def test_compliance_level_two_passes_as_a_whole():
    results = list(run(LEVEL[2]))
    assert [f"{each.name} {each.detail}" for each in results if not each.passed] == []
    assert len(results) == 116
    # An engine that answers null to everything would pass these few: the figure to read ours beside.
    assert sum(each.null_passes for each in results) == 11


@needs_kit
def test_every_table_case_passes():
    results = [*run(LEVEL[2], tables_only=True), *run(LEVEL[3], tables_only=True)]
    assert [f"{each.name} {each.detail}" for each in results if not each.passed] == []
    assert len(results) == 102
    assert sum(each.null_passes for each in results) == 0
