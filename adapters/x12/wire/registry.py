"""Which guides exist, and which one a functional group and its transaction sets follow."""

from __future__ import annotations

from functools import cache

from adapters.x12.wire.guide import Guide, load

NAMES = (
    "278_request", "278_response", "278_inquiry", "278_inquiry_response", "270", "271", "276", "277", "277CA",
    "837P", "837I", "837D", "835", "275", "834",
    "999",
)  # fmt: skip
"""Files in `guides/`, without `.yaml`."""

IDENTIFIERS: dict[str, tuple[str, ...]] = {
    "005010X217": ("278_request", "278_response"),
    "005010X217E1": ("278_request", "278_response"),
    "005010X217E2": ("278_request", "278_response"),
    "005010X215": ("278_inquiry", "278_inquiry_response"),
    "005010X279A1": ("270", "271"),
    "005010X212": ("276", "277"),
    "005010X214": ("277CA",),
    "005010X222A1": ("837P",),
    "005010X222A2": ("837P",),
    "005010X223A2": ("837I",),
    "005010X223A3": ("837I",),
    "005010X224A2": ("837D",),
    "005010X224A3": ("837D",),
    "005010X221A1": ("835",),
    "005010X210": ("275",),
    "005010X211": ("275",),
    "005010X220A1": ("834",),
    "005010X231": ("999",),
    "005010X231A1": ("999",),
}
"""GS08 as senders use it → guides that may be meant. Later errata (X222A2 …) read like the mandated ones."""

GROUPS: dict[str, tuple[str, ...]] = {
    "270": ("HS",), "271": ("HB",), "276": ("HR",), "277": ("HN",), "278": ("HI",), "275": ("PI",), "834": ("BE",),
    "835": ("HP",), "837": ("HC",), "999": ("FA",), "997": ("FA",),
}  # fmt: skip
"""Transaction set → GS01."""


@cache
def guide(name: str) -> Guide:
    """A guide by its file name, read once. Raises ConfigurationError for a table that cannot be read."""
    return load(name)


def version_known(version: str) -> bool:
    """Whether GS08 is one that is served here."""
    return version in IDENTIFIERS


def guides_of(group: str, version: str) -> tuple[Guide, ...]:
    """The guides a group with this GS01 and GS08 may hold; empty when the two do not go together."""
    return tuple(one for one in map(guide, IDENTIFIERS.get(version, ())) if one.functional_group == group)


def choose(guides: tuple[Guide, ...], transaction: str, second: tuple[str, ...]) -> Guide | None:
    """The guide of a transaction set, by ST01 and, where needed, a value of its second segment."""
    named = [one for one in guides if one.transaction == transaction]
    for one in named:
        if one.when is None or (
            second[:1] == (one.when[0],) and second[one.when[1] : one.when[1] + 1] == (one.when[2],)
        ):
            return one
    return named[0] if named else None
