"""Processor time of a running gateway by role and server, from Linux's /proc: what a case costs, whatever else runs.

On a machine that others use, rates say little and processor time says nearly the same each time (waiting for a core is
not in it; sharing one's caches is).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tests.e2e.running import Gateway


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in listed.read_text().split():
                yield from _with_children(int(child))


def _seconds(pid: int) -> float:
    """Of all threads that live (nanoseconds in schedstat; ticks of 10 ms would be too coarse)."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            total += int(thread.read_text().split()[0])
    return total / 1e9


def seconds(gateway: Gateway) -> dict[str, float]:
    """Seconds so far by role and server, and of this process (`client`)."""
    processes = dict(gateway.pids())
    for file in (gateway.state / "run").glob("*.json"):
        record = json.loads(file.read_text(encoding="utf-8"))
        if re.fullmatch("kafka|temporal|postgres", file.stem):
            processes[file.stem] = int(record["pid"])
    found = {name: sum(map(_seconds, _with_children(pid))) for name, pid in processes.items()}
    return found | {"client": time.process_time()}


def per_case(before: Mapping[str, float], after: Mapping[str, float], cases: int) -> dict[str, float]:
    """Milliseconds of each per case, the dearest first."""
    spent = {name: (value - before.get(name, 0.0)) / cases * 1000 for name, value in after.items()}
    return dict(sorted(spent.items(), key=lambda row: -row[1]))


def line(costs: Mapping[str, float]) -> str:
    """One line for a person."""
    parts = ", ".join(f"{name} {value:.1f}" for name, value in costs.items() if value >= 0.05)
    return f"processor time per case: {sum(costs.values()):.1f} ms ({parts})"
