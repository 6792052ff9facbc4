"""The guard: runs one server and ends it when the one who asked for it is gone, however that one ended.

    python -S guard.py '{"command": […], "lifeline": 5, "parent": 123, "stop_signal": 15, "grace": 20, "user": null}'

The parent keeps the write end of the `lifeline` pipe and never writes: end of file says that it wants the server
stopped or was killed. Because a forked sibling may hold that end too, the parent's process id is watched as well.
The guard has a session of its own, so a Ctrl-C or a SIGKILL aimed at the parent's process group does not hit it; and
the server asks the kernel (Linux) for a signal at the guard's death, so not even killing the guard leaves an orphan.
The guard has one thread: the kernel sends that signal when the *thread* ends that started the server.

One line of JSON on standard output, once the server is started: `{"pid": …}`. Exit code: the server's.
Runs by path with the standard library alone, so that it is up in some 20 ms and never imports the gateway.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from typing import Any

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 28, 47, 2
SECBIT_NO_SETUID_FIXUP = 4
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CAPABILITY_VERSION_3 = 0x20080522
POLL_SECONDS = 0.5
IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


def become(uid: int, gid: int, *, reach: bool) -> None:
    """Give up root for another user.

    `reach`: keep the one capability that lets it pass folders closed to it (a home of mode 700): reading and
    searching where the kernel has that to give, else (most containers) overriding. Nothing else is kept.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if reach:
        # access(2), which PostgreSQL asks about its own programs, else answers as if nothing had been kept
        libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if reach and not any(_keep(libc, capability) for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE)):
        print("no capability to pass closed folders", file=sys.stderr)  # noqa: T201 - the log of the server


def _keep(libc: ctypes.CDLL, capability: int) -> bool:
    bits = 1 << capability
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)
    if libc.capset(ctypes.byref(header), ctypes.byref(sets)) != 0:
        return False
    return bool(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0)


def spawn(task: dict[str, Any]) -> int:
    """Start the server in a process group of its own; its process id. Output goes to our standard error (the log)."""
    guard = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        for name in IGNORED:
            signal.signal(name, signal.SIG_DFL)  # an ignored signal stays ignored in the program started
        os.dup2(2, 1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.closerange(3, 1 << 20)
        if task["user"]:
            become(*task["user"], reach=task["reach"])
        if sys.platform == "linux":  # after the change of user, which would clear it
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, task["stop_signal"], 0, 0, 0)
        if os.getppid() != guard:
            os._exit(0)  # the guard was killed before we could ask
        os.chdir(task["folder"] or "/")
        os.execvpe(task["command"][0], task["command"], os.environ)  # noqa: S606 - the stack names the program
    except OSError as error:
        print(f"{task['command'][0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 - the log of the server
    finally:
        os._exit(127)


def ended(pid: int) -> int | None:
    """The server's exit code, or None while it runs."""
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def stop(pid: int, stop_signal: int, grace: float) -> int:
    """Ask the server to end, and after `grace` seconds end its whole process group."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, stop_signal)
    deadline = time.monotonic() + grace
    while (code := ended(pid)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if code is None else code


def main() -> int:
    """Run one server to its end or its parent's."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    for name in IGNORED:
        signal.signal(name, signal.SIG_IGN)  # the lifeline decides, not a signal meant for somebody else
    pid = spawn(task)
    with contextlib.suppress(OSError):
        os.write(1, json.dumps({"pid": pid}).encode() + b"\n")
        os.close(1)
    while (code := ended(pid)) is None:
        readable, _, _ = select.select([task["lifeline"]], [], [], POLL_SECONDS)
        if readable or os.getppid() != task["parent"]:
            code = stop(pid, task["stop_signal"], task["grace"])
            break
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
