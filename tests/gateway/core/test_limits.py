"""The circuit breaker as a state machine: whatever callers do, one probe at a time, and rest that grows by probes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.limits import Breaker

STEPS = st.lists(
    st.tuples(st.sampled_from(["call", "answer", "fail", "pass"]), st.floats(0.0, 400.0)), min_size=1, max_size=60
)


@given(STEPS)
def test_open_refuses_everybody_and_half_open_lets_one_go(steps: list[tuple[str, float]]) -> None:
    """Calls that were granted end in any order; the others never go out."""
    breaker, now, granted = Breaker(), 0.0, list[float]()
    for action, seconds in steps:
        if action == "pass":
            now += seconds
        elif action == "call":
            was_open, probing = breaker.opened_at, breaker.probing_since
            wait = breaker.wait(now)
            assert wait >= 0.0
            if wait == 0.0:
                granted.append(now)
                if was_open is not None:
                    assert now >= was_open + breaker.current_rest()
                    assert probing is None or now - probing >= breaker.probe_patience
                    assert breaker.wait(now) > 0.0
        elif granted:
            granted.pop(0)
            if action == "answer":
                breaker.succeeded()
                assert breaker.wait(now) == 0.0
            else:
                breaker.failed_at(now)
        assert breaker.rest <= breaker.current_rest() <= breaker.longest_rest


def test_it_opens_after_as_many_failures_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.failed_at(0.0)
    breaker.succeeded()
    for _ in range(4):
        breaker.failed_at(0.0)
    assert breaker.wait(0.0) == 0.0
    breaker.failed_at(0.0)
    assert breaker.wait(1.0) == 4.0


def test_each_failed_probe_doubles_the_rest_up_to_its_limit() -> None:
    breaker, now = Breaker(failures=1), 0.0
    breaker.failed_at(now)
    rests = []
    for _ in range(8):
        rests.append(breaker.wait(now))
        now += rests[-1]
        assert breaker.wait(now) == 0.0
        breaker.failed_at(now)
    assert rests == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


def test_calls_that_left_before_it_opened_do_not_lengthen_the_rest() -> None:
    """Many at once meet one outage: that is one failure of the endpoint, not fifty failed probes."""
    breaker = Breaker()
    for _ in range(50):
        assert breaker.wait(0.0) == 0.0
    for number in range(50):
        breaker.failed_at(float(number) / 100)
    assert breaker.current_rest() == breaker.rest
    assert breaker.wait(0.5) <= breaker.rest


def test_a_probe_that_never_answers_is_replaced() -> None:
    breaker = Breaker(failures=1)
    breaker.failed_at(0.0)
    assert breaker.wait(5.0) == 0.0
    assert breaker.wait(5.0 + 119.0) == 1.0
    assert breaker.wait(5.0 + 120.0) == 0.0
    assert breaker.wait(5.0 + 121.0) == 1.0
