"""Temporal's time-skipping test server, for tests of workflows: days pass in milliseconds.

    WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(test_server()))

Await one result at a time and always with a time limit: awaiting many at once makes it stop skipping.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from gateway.stack.cache import cache_folder, locked
from gateway.stack.java import jars, java

COORDINATE = "io.temporal:temporal-test-server:1.38.0"
INSTEAD = "let the SDK download its own test server where the network has it"


def time_skipping_server(cache: Path | None = None, tell: Callable[[str], None] = lambda _: None) -> Path:
    """The path of an executable that starts it; fetched at first use.

    Raises Unavailable when Maven Central is out of reach.
    """
    folder = cache_folder(cache)
    libraries = jars(folder, COORDINATE, tell, INSTEAD)
    script = folder / f"{libraries.name}.sh"
    options = "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
    text = (
        "#!/bin/sh\n"
        f"exec {shlex.quote(str(java()))} {options} -cp {shlex.quote(str(libraries))}/'*' "
        'io.temporal.testserver.TestServer "$@"\n'
    )
    with locked(folder / f"{script.name}.lock"):
        if not script.exists() or script.read_text() != text:  # another environment's Java, perhaps gone
            new = script.with_suffix(".new")
            new.write_text(text)
            new.chmod(0o755)
            os.replace(new, script)
    return script
