"""Programs that were downloaded or built, once per user and version.

A finished folder appears by rename and is never changed again, so a run that was cut off leaves nothing half done;
a lock file makes two runs share one build instead of racing. What a build may reuse when it is tried again
(downloaded modules, compiled packages) is kept in `work/` until it succeeds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

APPLICATION = "authorization-gateway"


def cache_folder(setting: Path | None = None) -> Path:
    """The user's cache folder by the platform's convention; XDG_CACHE_HOME is honoured everywhere."""
    if setting is not None:
        return setting.expanduser().resolve()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / APPLICATION
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / APPLICATION
    return Path.home() / ".cache" / APPLICATION


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel frees it however the holder ends. `waiting` is told of a wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def provide(
    cache: Path, name: str, build: Callable[[Path, Path], None], waiting: Callable[[], None] = lambda: None
) -> Path:
    """The folder `<cache>/<name>`, made by `build(target, work)` when it is not there yet.

    `build` fills `target`, a fresh folder; `work` survives a failed build. Whatever it raises goes through, and
    the next call tries again.
    """
    final = cache / name
    if final.is_dir():
        return final
    with locked(cache / f"{name}.lock", waiting):
        if final.is_dir():  # somebody else built it while we waited
            return final
        for leftover in cache.glob(f".{name}-*"):  # of a run that was killed; nobody else is here now
            shutil.rmtree(leftover)
        work = cache / "work" / name
        work.mkdir(parents=True, exist_ok=True)
        target = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
        try:
            build(target, work)
            target.chmod(0o755)
            target.rename(final)
        finally:
            shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    return final
