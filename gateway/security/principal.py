"""Who is calling, and what a scope allows (SMART App Launch 2.2.0, "Scopes and launch context", system scopes).

    scope  = "system/" ( type | "*" ) "." permissions
    permissions = one or more of c r u d s, in this order; the older "read", "write" and "*" are read as rs, cud, cruds

Patient and user scopes mean nothing to a backend service and grant nothing. Fine-grained scopes (with a query) are
not handled: they grant nothing either, because granting more than was asked is worse than granting less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

SCOPE = re.compile(r"system/(?P<type>\*|[A-Z][A-Za-z]{2,40})\.(?P<verbs>(?=[cruds])c?r?u?d?s?|read|write|\*)\Z")
OLDER = {"read": "rs", "write": "cud", "*": "cruds"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated sender. Comes from credentials only, never from a message."""

    tenant: str
    client: str
    scopes: frozenset[str] = frozenset()
    organizations: frozenset[str] = frozenset()
    """Identifiers of the sending systems and organizations that this client speaks for (ISA06, NPI)."""
    lenient: bool = False
    """Profile rules are warnings for this partner (its agreement says so)."""
    method: str = "token"
    """How it was authenticated: `token`, `certificate` or `demo`."""

    def may(self, resource_type: str, verbs: str) -> bool:
        """Whether the scopes grant all these interactions (letters of `cruds`) on a resource type."""
        return set(verbs) <= granted(self.scopes, resource_type)


def granted(scopes: Iterable[str], resource_type: str) -> set[str]:
    """The interactions that scopes grant on a resource type, as letters of `cruds`."""
    letters: set[str] = set()
    for scope in scopes:
        if (match := SCOPE.match(scope)) and match["type"] in {"*", resource_type}:
            letters |= set(OLDER.get(match["verbs"], match["verbs"]))
    return letters


def narrowed(requested: Iterable[str], registered: Iterable[str]) -> frozenset[str]:
    """What a token gets: of each requested scope, the part that the registration covers.

    A requested `system/*.rs` under the registration `system/Claim.cruds` yields `system/Claim.rs`.
    """
    allowed = list(registered)
    result = set()
    for scope in requested:
        if (match := SCOPE.match(scope)) is None:
            continue
        wanted = set(OLDER.get(match["verbs"], match["verbs"]))
        types = {match["type"]} if match["type"] != "*" else {"*", *_types(allowed)}
        for name in types:
            letters = wanted & granted(allowed, name)
            if letters and not (name != "*" and wanted & granted(allowed, "*") == letters and match["type"] == "*"):
                result.add(f"system/{name}.{''.join(letter for letter in 'cruds' if letter in letters)}")
    return frozenset(result)


def _types(scopes: Iterable[str]) -> set[str]:
    return {match["type"] for scope in scopes if (match := SCOPE.match(scope)) and match["type"] != "*"}
