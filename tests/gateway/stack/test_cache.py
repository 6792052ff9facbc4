"""The cache: whole folders or none, one build for many runs, resumable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.errors import Unavailable
from gateway.stack.cache import cache_folder, provide


def test_the_platform_convention_and_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "authorization-gateway"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder().is_relative_to(tmp_path / "home")
    assert cache_folder(tmp_path / "mine") == tmp_path / "mine"


def test_a_failed_build_leaves_nothing_and_the_next_one_continues(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def build(target: Path, work: Path) -> None:
        seen.append(sorted(path.name for path in work.iterdir()))
        (target / "half").write_text("x")
        (work / "downloaded").write_text("x")
        if len(seen) == 1:
            raise Unavailable

    with pytest.raises(Unavailable):
        provide(tmp_path, "tool-1", build)
    assert not (tmp_path / "tool-1").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    folder = provide(tmp_path, "tool-1", build)
    assert (folder / "half").exists()
    assert seen == [[], ["downloaded"]]
    assert not (tmp_path / "work" / "tool-1").exists()
    provide(tmp_path, "tool-1", build)
    assert len(seen) == 2


def test_two_runs_share_one_build(tmp_path: Path) -> None:
    program = f"""
import os, sys, time
from pathlib import Path
from gateway.stack.cache import provide
def build(target, work):
    with open({str(tmp_path / "built")!r}, "a") as file:
        file.write("once\\n")
    (target / "a").write_text("1"); time.sleep(0.5); (target / "b").write_text("2")
folder = provide(Path({str(tmp_path / "cache")!r}), "tool-1", build)
assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]
"""
    runs = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(4)]
    assert [run.wait(30) for run in runs] == [0, 0, 0, 0]
    assert (tmp_path / "built").read_text() == "once\n"


def test_a_killed_build_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from gateway.stack.cache import provide
def build(target, work):
    (target / "half").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
provide(Path({str(tmp_path)!r}), "tool-1", build)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    folder = provide(tmp_path, "tool-1", lambda target, _work: (target / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
