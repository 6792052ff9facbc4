"""Write the expectations of all cases anew (`PYTHONPATH=. python <this file>`); then read the difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.mappings.x12.bench import plain, read_bytes

HERE = Path(__file__).parent


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(plain(value), indent=1) + "\n")


for case in sorted([*(HERE / "cases").iterdir(), *(HERE / "eligibility").iterdir()]):
    (intake,) = read_bytes((case / "request.x12").read_bytes()).intakes
    write(case / "bundle.json", intake.resource)
    write(case / "facts.json", intake.facts)
for case in sorted((HERE / "other").iterdir()):
    intakes = read_bytes((case / "message.x12").read_bytes()).intakes
    write(case / "expected.json", [{"type": one.type, "facts": one.facts, "resource": one.resource} for one in intakes])
