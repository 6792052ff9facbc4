"""Random, well-typed rules over the shipped catalogue, as hypothesis strategies."""

from __future__ import annotations

from datetime import date

from hypothesis import strategies as st

from gateway.rules.model import (
    CATEGORIES,
    Action,
    AllOf,
    AnyOf,
    Choice,
    Compare,
    Duration,
    Fact,
    Known,
    Literal,
    Not,
    Notification,
    Plus,
    Quantified,
    Rule,
    SetName,
    Shifted,
    Span,
    Total,
    ValueSet,
    Window,
    Within,
)

VALUE_SETS = {name: ValueSet(name=name, codes=frozenset({f"{name}-1", f"{name}-2"})) for name in ("alpha", "beta")}
NUMBERS = ("patient.age", "service.quantity", "service.amount", "this.quantity")
DATES = ("patient.birthDate", "coverage.start", "request.serviceStart", "service.start", "request.receivedAt")
CODES = ("request.type", "service.code", "facility.placeOfService", "service.modifiers", "this.code")

durations = st.builds(Duration, st.integers(0, 99), st.sampled_from(["day", "week", "month", "year"]))
day_facts = st.sampled_from(DATES).map(Fact)
windows = st.builds(Window, durations, st.sampled_from(["before", "after"]), day_facts) | durations.map(Window)
decimals = st.decimals(-9999, 9999, places=2, allow_nan=False)
numbers = decimals.map(lambda value: Literal("number", value))
texts = st.text(max_size=12).filter(lambda text: "\r" not in text)
strings = texts.map(lambda text: Literal("string", text))
days = st.dates(date(1900, 1, 1), date(2100, 1, 1))
concepts = st.sampled_from(["", "alpha", "beta"])
orders = st.sampled_from(["lt", "le", "gt", "ge", "eq", "ne"])
totals = st.builds(Total, st.just("services"), st.just("quantity"), concepts, st.none() | windows)
spans = st.builds(Span, st.sampled_from(["day", "week", "month", "year"]), day_facts, day_facts)
number_facts = st.sampled_from(NUMBERS).map(Fact)
sums = st.lists(number_facts | totals | spans, min_size=2, max_size=3).map(lambda terms: Plus(tuple(terms)))
choices = st.lists(strings, min_size=1, max_size=3).map(lambda values: Choice(tuple(values)))
sets = st.sampled_from(["alpha", "beta"]).map(SetName)

shifted = st.builds(Shifted, day_facts, durations, st.sampled_from(["after", "before"]))

leaves = st.one_of(
    st.builds(Compare, number_facts | totals | spans | sums, orders, numbers | number_facts),
    st.builds(Compare, number_facts, st.just("between"), st.tuples(numbers, numbers).map(Choice)),
    st.builds(Compare, st.sampled_from(CODES).map(Fact), st.sampled_from(["eq", "ne"]), strings),
    st.builds(Compare, st.sampled_from(CODES).map(Fact), st.sampled_from(["in", "notin"]), choices | sets),
    st.builds(Compare, st.sampled_from(CODES).map(Fact), st.just("under"), strings | sets | choices),
    st.builds(Compare, day_facts, orders, days.map(lambda day: Literal("date", day)) | day_facts),
    st.builds(Compare, day_facts, orders, shifted),
    st.builds(Compare, st.just(Fact("coverage.active")), st.sampled_from(["eq", "ne"]),
              st.booleans().map(lambda value: Literal("boolean", value))),
    st.builds(Known, st.sampled_from([*NUMBERS, *DATES, *CODES]).map(Fact)),
    st.builds(Within, day_facts, windows),
)  # fmt: skip


def _quantified(tests):
    measured = st.builds(
        Compare,
        st.just(Fact("observation.value")),
        st.sampled_from(["lt", "le", "gt", "ge"]),
        decimals.map(lambda value: Literal("number", value, "%")),
    )
    named = st.builds(Compare, st.just(Fact("observation.name")), st.just("eq"), strings)
    plain = st.sampled_from(["any", "every", "no", "latest"])
    return st.one_of(
        st.builds(Quantified, plain, st.just("observations"), concepts, measured | named, st.none() | windows),
        st.builds(Quantified, st.sampled_from(["any", "no"]), st.just("diagnoses"), concepts),
        st.builds(Quantified, st.sampled_from(["at least", "at most", "exactly"]), st.just("services"), concepts,
                  st.none() | tests, st.none(), st.integers(0, 9), st.booleans()),
    )  # fmt: skip


def _extend(inner):
    several = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return st.one_of(several.map(AllOf), several.map(AnyOf), inner.map(Not), _quantified(inner))


conditions = st.recursive(leaves, _extend, max_leaves=8)
quantifiers = _quantified(leaves)
actions = st.builds(
    Action,
    st.sampled_from(["approve", "partial", "deny", "pend", "request_info", "escalate", "not_required", "contact"]),
    st.none() | durations,
    st.none() | decimals,
    st.just(""),
    st.text("ABC123", max_size=5),
    st.just("") | st.just("nurse"),
    st.just(""),
    st.just(""),
    texts,
    st.lists(st.text("0AV", min_size=1, max_size=3), max_size=2).map(tuple),
    texts.map(str.strip),
    st.lists(st.sampled_from([*NUMBERS[:2], *DATES]), max_size=2).map(tuple),
)
rules = st.builds(
    Rule,
    id=st.from_regex(r"[A-Z][A-Z0-9-]{0,8}", fullmatch=True),
    name=texts,
    category=st.sampled_from(CATEGORIES),
    condition=conditions,
    action=actions,
    version=st.integers(1, 9),
    priority=st.integers(-9, 999),
    effective=st.none() | days,
    expiration=st.none() | days,
    author=texts,
    source=texts,
    notifications=st.lists(st.builds(Notification, st.sampled_from(["provider", "nurse"]), texts), max_size=2).map(
        tuple
    ),
)

_records = st.fixed_dictionaries(
    {},
    optional={
        "code": st.sampled_from(["alpha-1", "beta-1", "other"]),
        "quantity": st.integers(0, 9),
        "start": days.map(date.isoformat),
        "modifiers": st.lists(st.sampled_from(["RR", "NU"]), max_size=2),
    },
)
_observations = st.fixed_dictionaries(
    {},
    optional={
        "code": st.sampled_from(["alpha-1", "beta-1"]),
        "value": st.integers(50, 100),
        "unit": st.sampled_from(["%", "mg"]),
        "date": days.map(date.isoformat),
    },
)
complete_facts = st.fixed_dictionaries(
    {
        "patient.age": st.integers(0, 120),
        "coverage.active": st.booleans(),
        "request.type": st.sampled_from(["HS", "alpha-1"]),
        **{path: days.map(date.isoformat) for path in DATES if not path.startswith("service")},
        "services": st.lists(_records, min_size=1, max_size=2),
        "diagnoses": st.lists(_records, min_size=1, max_size=2),
        "observations": st.lists(_observations, min_size=1, max_size=2),
    }
)
