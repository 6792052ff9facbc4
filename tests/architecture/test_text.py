"""What no file may contain: SQL outside .sql files, retries in adapters, hosts, machine paths, traces of tools."""

from __future__ import annotations

import re
from pathlib import Path

from tests.architecture.tree import PRODUCTION, ROOT, python_files, strings, text_files

SQL = re.compile(
    r"\bSELECT\b.+\bFROM\b|\bSELECT\s+\w+\(|\bINSERT\s+INTO\b|\bUPDATE\s+[\w.]+\s+SET\b|\bDELETE\s+FROM\b"
    r"|\b(CREATE|ALTER|DROP)\s+(TABLE|ROLE|SCHEMA|INDEX|DATABASE|POLICY)\b",
    re.DOTALL,
)
SQL_ALLOWED = {
    Path("gateway/store/migrations/env.py"): "the advisory lock under which the .sql files of migrations run",
}


def test_sql_lives_in_sql_files() -> None:
    found = {path for path in python_files(*PRODUCTION) for _, text in strings(path) if SQL.search(text)}
    assert found == set(SQL_ALLOWED)


REPEATING = re.compile(r"\bsleep\s*\(|\btenacity\b|\bAsyncRetrying\b|\bretry\s*\(|@retry\b")
"""`retry_after` and the MSA-1 action `retry` say what the other side asks for; they repeat nothing."""


def test_adapters_do_not_retry_or_wait() -> None:
    found = {
        f"{path}:{number}"
        for path in python_files("adapters")
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
        if REPEATING.search(line)
    }
    assert found == set()


def test_batches_that_ignore_keys_are_banned() -> None:
    """The broker's batch publishing drops the key of each record, and with it the order per case (D3)."""
    name = "publish" + "_batch"
    assert [path for path in python_files(*PRODUCTION, "benchmarks") if name in (ROOT / path).read_text("utf-8")] == []


def joined(*halves: tuple[str, str]) -> str:
    return "|".join(re.escape(one + other) for one, other in halves)


HOSTS = joined(
    ("pypi", ".org"), ("python", "hosted.org"), ("repo1.", "maven"), ("maven", ".org"), ("proxy.", "golang"),
    ("registry.", "npmjs"), ("crates", ".io"), ("temporal", ".download"), ("rubygems", ".org"),
)  # fmt: skip
PATHS = r"(?<![\w.:/])/(?:work|home|root|Users|tmp)/[\w.-]+"
TOOLS = r"\b(?:" + joined(("clau", "de"), ("anthro", "pic"), ("open", "ai"), ("chat", "gpt"), ("co", "pilot")) + r")\b"
FORBIDDEN = re.compile(f"{HOSTS}|{PATHS}|{TOOLS}", re.IGNORECASE)
"""Written in halves, so that this file passes too."""


def test_no_host_path_or_tool_is_named() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {hit[0]}"
        for path in text_files()
        if (hit := FORBIDDEN.search(path.read_text(encoding="utf-8", errors="replace")))
    }
    assert found == set()
