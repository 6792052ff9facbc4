"""The guard: whatever happens to whom, the server ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from gateway.core.errors import Unavailable
from gateway.stack.process import Launch, Server, born, end_orphan, read_json, run, running, write_json


def gone(pid: int, patience: float = 10.0) -> bool:
    """Whether a process ends in time."""
    deadline = time.monotonic() + patience
    while born(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not born(pid)


def launch(folder: Path, program: str, **options: object) -> Launch:
    """A Python program as a server."""
    return Launch(
        name="a server",
        command=[sys.executable, "-c", textwrap.dedent(program)],
        log=folder / "server.log",
        record=folder / "server.json",
        **options,  # type: ignore[arg-type]
    )


SLEEPER = "import time; time.sleep(600)"
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_it_ends_when_asked_to(tmp_path: Path) -> None:
    server = Server(launch(tmp_path, SLEEPER))
    record = read_json(tmp_path / "server.json")
    assert record["pid"] == server.pid
    assert running(record)
    server.stop()
    assert not running(record)
    assert not (tmp_path / "server.json").exists()


def test_one_that_does_not_listen_is_ended_with_its_children(tmp_path: Path) -> None:
    server = Server(launch(tmp_path, STUBBORN, grace=0.3))
    server.wait_until(lambda: (tmp_path / "server.log").read_text().strip().isdigit(), 10)
    child = int((tmp_path / "server.log").read_text())
    server.stop()
    assert gone(server.pid)
    assert gone(child)


def test_the_servers_own_signal_handling_is_not_disturbed(tmp_path: Path) -> None:
    program = "import signal; print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, flush=True)"
    run(launch(tmp_path, program))
    assert (tmp_path / "server.log").read_text() == "True\n"


@pytest.mark.parametrize("victim", ["parent", "guard", "group"])
@pytest.mark.parametrize("in_thread", [False, True])
def test_no_orphan_is_left_by_a_kill(tmp_path: Path, victim: str, in_thread: bool) -> None:
    program = f"""
import threading, time, sys
from pathlib import Path
from gateway.stack.process import Launch, Server
def start():
    global server
    server = Server(Launch(name="x", command=[sys.executable, "-c", {SLEEPER!r}],
                           log=Path({str(tmp_path)!r}, "log"), record=Path({str(tmp_path)!r}, "server.json")))
if {in_thread}:
    thread = threading.Thread(target=start); thread.start(); thread.join(); time.sleep(0.3)
else:
    start()
print("up", flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        record = read_json(tmp_path / "server.json")
        assert running(record)  # a thread that ends does not take the server with it
        if victim == "group":
            os.killpg(parent.pid, signal.SIGKILL)
        else:
            os.kill(record["guard"] if victim == "guard" else parent.pid, signal.SIGKILL)
        assert gone(record["pid"])
    finally:
        parent.kill()
        parent.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal at a parent's death is Linux's")
def test_a_guard_killed_before_its_server_has_asked_for_the_signal_leaves_no_orphan() -> None:
    """On a busy machine the server's first instructions may come after the guard's last."""
    program = f"""
import json, os, sys, time
from gateway.stack import guard
guard.os.closerange = lambda *_: time.sleep(1)
task = {{"command": [sys.executable, "-c", {SLEEPER!r}], "lifeline": os.pipe()[0], "parent": os.getppid(),
        "stop_signal": 15, "grace": 1, "user": None, "reach": False, "folder": None}}
sys.argv = ["guard", json.dumps(task)]
guard.main()
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = json.loads(process.stdout.readline())["pid"]
    process.kill()
    process.communicate()
    try:
        assert gone(pid)
    finally:
        if born(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_forked_sibling_that_holds_the_lifeline_does_not_keep_it_alive(tmp_path: Path) -> None:
    program = f"""
import os, sys, time
from pathlib import Path
from gateway.stack.process import Launch, Server
server = Server(Launch(name="x", command=[sys.executable, "-c", {SLEEPER!r}],
                       log=Path({str(tmp_path)!r}, "log"), record=Path({str(tmp_path)!r}, "server.json")))
sibling = os.fork()
if sibling == 0:
    os.close(1)
    time.sleep(30)
    os._exit(0)
print(sibling, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    sibling = int(parent.stdout.readline())
    try:
        record = read_json(tmp_path / "server.json")
        parent.kill()
        parent.communicate()
        assert gone(record["pid"])
    finally:
        os.kill(sibling, signal.SIGKILL)


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    server = Server(launch(tmp_path, "import sys; sys.exit('the disk is full')"))
    with pytest.raises(Unavailable, match="the disk is full"):
        server.wait_until(lambda: False, 10)
    server.stop()


def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    task = Launch(name="x", command=["/nowhere/x"], log=tmp_path / "log", record=tmp_path / "x.json")
    with pytest.raises(Unavailable, match="No such file"):
        run(task)


def test_an_orphan_of_a_crash_is_ended_at_the_next_start_but_no_stranger(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEPER]) as orphan:
        write_json(tmp_path / "a.json", {"pid": orphan.pid, "born": "another time"})
        end_orphan(tmp_path / "a.json")
        assert orphan.poll() is None
        write_json(tmp_path / "a.json", {"pid": orphan.pid, "born": born(orphan.pid)})
        end_orphan(tmp_path / "a.json")
        assert orphan.wait(10) == -signal.SIGTERM
    assert not (tmp_path / "a.json").exists()
