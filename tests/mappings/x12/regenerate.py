"""Write the expectations of all cases anew (`PYTHONPATH=. python <this file>`); then read the difference."""

from __future__ import annotations

import json
from pathlib import Path

from tests.mappings.x12.bench import plain, read_case

for case in sorted((Path(__file__).parent / "cases").iterdir()):
    reading = read_case(case)
    (intake,) = reading.intakes
    for name, value in (("bundle", intake.resource), ("facts", intake.facts)):
        (case / f"{name}.json").write_text(json.dumps(plain(value), indent=1) + "\n")
