"""Three-valued logic after Kleene: True, False, and None for unknown."""

from __future__ import annotations

from gateway.rules.model import Truth


def both(first: Truth, second: Truth) -> Truth:
    """Kleene and."""
    if first is False or second is False:
        return False
    return None if first is None or second is None else True


def either(first: Truth, second: Truth) -> Truth:
    """Kleene or."""
    if first is True or second is True:
        return True
    return None if first is None or second is None else False


def negate(value: Truth) -> Truth:
    """Kleene not."""
    return None if value is None else not value
