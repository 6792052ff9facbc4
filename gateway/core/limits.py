"""Circuit breaker: pure arithmetic over a given now (seconds of a monotonic clock).

Closed: every call may go. After `failures` in a row it opens for `rest` seconds. Then it is half-open: exactly one
probe goes, everybody else is refused until that probe has an answer; success closes, failure opens again, longer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Breaker:
    """The state of one endpoint."""

    failures: int = 5
    rest: float = 5.0
    longest_rest: float = 300.0
    probe_patience: float = 120.0
    """A probe without an answer for this long counts as lost (its worker died); another may go."""
    failed: int = 0
    opened_at: float | None = None
    probing_since: float | None = None
    times_opened: int = 0

    def wait(self, now: float) -> float:
        """Seconds until a call may be tried; 0.0 grants it (and, when half-open, takes the one probe)."""
        if self.opened_at is None:
            return 0.0
        left = self.opened_at + self.current_rest() - now
        if left > 0:
            return left
        if self.probing_since is not None and now - self.probing_since < self.probe_patience:
            return 1.0
        self.probing_since = now
        return 0.0

    def current_rest(self) -> float:
        """How long it stays open this time: doubles with each failed probe."""
        return float(min(self.rest * 2 ** max(self.times_opened - 1, 0), self.longest_rest))

    def succeeded(self) -> None:
        """A call got an answer (a refusal is an answer)."""
        self.failed = self.times_opened = 0
        self.opened_at = self.probing_since = None

    def failed_at(self, now: float) -> None:
        """A call got no answer."""
        self.failed += 1
        if self.opened_at is not None and self.probing_since is None:
            return  # it left before the circuit opened: the same outage, not another failed probe
        if self.probing_since is not None or self.failed >= self.failures:
            self.opened_at = now
            self.probing_since = None
            self.times_opened += 1
