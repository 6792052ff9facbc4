"""A server, an endpoint on it and everything a poller needs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.sftp.bench import Bench
from tests.adapters.sftp.servers import start_drop, start_openssh

FOLDERS = ("inbound", "processing", "archive", "error", "outbound")


@pytest.fixture(params=["drop", "openssh"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    # Not in pytest's own folder: OpenSSH serves another account than root's, and each new run of pytest closes it.
    with tempfile.TemporaryDirectory(prefix="sftp-") as root:
        folder = Path(root) / "drop"
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
        server = (start_drop if request.param == "drop" else start_openssh)(folder)
        yield Bench(server)
        server.stop()
