"""What is being done and how long it took: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table


class Progress(Protocol):
    """Told by one thread per part; must be safe for that."""

    def doing(self, part: str, text: str) -> None:
        """The part is now at this step."""

    def done(self, part: str, text: str) -> None:
        """The part has reached its end."""

    def close(self) -> None:
        """No more will come."""


class Silent:
    """Says nothing."""

    def doing(self, part: str, text: str) -> None:
        """Ignore."""

    def done(self, part: str, text: str) -> None:
        """Ignore."""

    def close(self) -> None:
        """Ignore."""


class Lines:
    """One plain line for each new step; repeated counts of the same step (`… 120`) are not repeated."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begin: dict[str, float] = {}
        self._last: dict[str, str] = {}
        self._lock = threading.Lock()

    def doing(self, part: str, text: str) -> None:
        """Print the step once."""
        step = text.rstrip("0123456789 ")
        with self._lock:
            self._begin.setdefault(part, time.monotonic())
            if self._last.get(part) != step:
                self._last[part] = step
                self._console.print(f"{part}: {text}", highlight=False, markup=False)

    def done(self, part: str, text: str) -> None:
        """Print the end with the seconds it took."""
        with self._lock:
            seconds = time.monotonic() - self._begin.setdefault(part, time.monotonic())
            self._console.print(f"{part}: {text} ({seconds:.1f} s)", highlight=False, markup=False)

    def close(self) -> None:
        """Nothing to do."""


class Display:
    """A line with a spinner for each part, refreshed in place."""

    def __init__(self, console: Console) -> None:
        self._begin: dict[str, float] = {}
        self._rows: dict[str, tuple[str, float | None]] = {}
        self._spinner = Spinner("dots")
        self._lock = threading.Lock()
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=8)
        self._live.start()

    def _render(self) -> Table:
        table = Table.grid(padding=(0, 1))
        with self._lock:
            for part, (text, seconds) in self._rows.items():
                now = time.monotonic() - self._begin[part]
                mark = self._spinner if seconds is None else "[green]✓[/green]"
                table.add_row(mark, part, text, f"[dim]{now if seconds is None else seconds:.1f} s[/dim]")
        return table

    def doing(self, part: str, text: str) -> None:
        """Show the step."""
        with self._lock:
            self._begin.setdefault(part, time.monotonic())
            self._rows[part] = (text, None)

    def done(self, part: str, text: str) -> None:
        """Show the end with the seconds it took."""
        with self._lock:
            begin = self._begin.setdefault(part, time.monotonic())
            self._rows[part] = (text, time.monotonic() - begin)

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._live.stop()


def on_console() -> Progress:
    """The display for standard error: live on a terminal, else lines."""
    console = Console(stderr=True)
    return Display(console) if console.is_terminal else Lines(console)
