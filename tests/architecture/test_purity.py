"""Pure rooms stay pure at run time: a fresh interpreter imports each, and no client library came along.

The import contracts see source only; a dependency that loads a network stack by itself would escape them.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.tree import ROOT

FOREIGN = ("asyncio", "ssl", "aiokafka", "faststream", "temporalio", "asyncpg", "httpx", "paramiko", "zeep", "uvicorn")
PURE = (
    "gateway.core",
    "gateway.rules",
    "gateway.stages",
    "mappings",
    "adapters.fhir.wire",
    "adapters.hl7.wire",
    "adapters.sftp.wire",
    "adapters.soap.wire",
    "adapters.x12.wire",
)
IMPURE = {"gateway.core.settings": "pydantic-settings loads asyncio; only the roots that read settings import it"}

PROGRAM = """
import importlib, pkgutil, sys
name, impure, foreign = sys.argv[1], sys.argv[2].split(), sys.argv[3].split()
package = importlib.import_module(name)
for module in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
    if module.name not in impure:
        importlib.import_module(module.name)
print(*[found for found in foreign if found in sys.modules])
"""


def loaded(name: str, impure: str = " ".join(IMPURE)) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, name, impure, " ".join(FOREIGN)]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("name", PURE)
def test_nothing_impure_is_loaded(name: str) -> None:
    assert loaded(name) == []


def test_the_check_can_fail() -> None:
    assert "asyncio" in loaded("gateway.core", impure="")
    assert {"asyncpg", "asyncio"} <= set(loaded("gateway.infra.postgres"))
