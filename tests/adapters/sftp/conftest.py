"""A server, an endpoint on it and everything a poller needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.sftp.bench import Bench
from tests.adapters.sftp.servers import start_drop, start_openssh

FOLDERS = ("inbound", "processing", "archive", "error", "outbound")


@pytest.fixture(params=["drop", "openssh"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    folder = tmp_path / "drop"
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    server = (start_drop if request.param == "drop" else start_openssh)(folder)
    yield Bench(server)
    server.stop()
