"""A gateway ends with the one who started it, however that one ended: a killed test run leaves nothing running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.stack import addresses_of
from tests.e2e.running import ROOT, wait_for
from tests.gateway.stack.test_up import descendants, wait_gone

PARENT = """
import sys
from pathlib import Path
from tests.e2e.running import running
with running(Path(sys.argv[1])):
    print("serving", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("phase", "number"), [("starting", signal.SIGKILL), ("serving", signal.SIGTERM)])
def test_a_gateway_ends_with_its_killed_parent(tmp_path: Path, phase: str, number: int) -> None:
    state = tmp_path / "state"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(state)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdout is not None
        if phase == "serving":
            assert parent.stdout.readline() == b"serving\n"
        else:
            wait_for("a server is started", 60, lambda: list((state / "run").glob("*.json")))
        processes = descendants(parent.pid)
        assert len(processes) > (10 if phase == "serving" else 2)
        parent.send_signal(number)
    assert wait_gone(processes) == set()
    assert addresses_of(state) is None
