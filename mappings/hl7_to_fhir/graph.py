"""The resources of one message: deterministic ids, references, and the Bundle they end in.

Ids are UUIDs of version 5 over `scope|type|key`. A key is an identifier with its assigner where the message gives one
(the same order, visit or person in a later message gets the same id); otherwise the message's control id with the
segment's number, so two segments never merge because some of their fields are equal.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

Resource = dict[str, Any]
_NAMESPACE = bytes.fromhex("6f1d2d4e7c0b5a6b9e3f8c1a2b3c4d5e")
DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


def deterministic_id(name: str) -> str:
    """UUID version 5 of a name in our namespace."""
    digest = hashlib.sha1(_NAMESPACE + name.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


known_id = lru_cache(maxsize=8192)(deterministic_id)
"""For resources that come again in message after message. Bounded; kinds about a patient are never kept."""
RECURRING = frozenset({"Organization", "Practitioner", "Location", "Device"})


def absent(reason: str = "unknown") -> dict[str, Any]:
    """An element without a value that says so."""
    return {"extension": [{"url": DATA_ABSENT, "valueCode": reason}]}


class Graph:
    """Resources in the order they were made; the first use of a key makes the resource, later uses find it."""

    __slots__ = ("_by_id", "_by_kind", "_used", "keys", "scope")

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self._by_id: dict[str, Resource] = {}
        self.keys: dict[tuple[str, str], Resource] = {}
        """(type, key) → resource, in the order they were made."""
        self._by_kind: dict[str, list[Resource]] = {}
        self._used: dict[tuple[str, str], int] = {}

    def resource(self, kind: str, key: str) -> tuple[Resource, bool]:
        """The resource of a type and key, and whether it was made just now. A key ending in `*` is global."""
        found = self.keys.get((kind, key))
        if found is not None:
            return found, False
        name = f"{kind}|{key}" if key.endswith("*") else f"{self.scope}|{kind}|{key}"
        identifier = known_id(name) if kind in RECURRING else deterministic_id(name)
        made = {"resourceType": kind, "id": identifier}
        self.put((kind, key), made)
        return made, True

    def put(self, key: tuple[str, str], made: Resource) -> None:
        """Take in a resource of a type and key that is not here yet."""
        self._by_id[made["id"]] = self.keys[key] = made
        held = self._by_kind.get(key[0])
        if held is None:
            self._by_kind[key[0]] = [made]
        else:
            held.append(made)

    def of_kind(self, kind: str) -> list[Resource]:
        """The resources of a type, in the order they were made."""
        return self._by_kind.get(kind, [])

    def add(self, kind: str, key: str) -> Resource:
        """A new resource, even where the key was used before: the second gets the number 2 in its key."""
        made, new = self.resource(kind, key)
        while not new:
            number = self._used[kind, key] = self._used.get((kind, key), 1) + 1
            made, new = self.resource(kind, f"{key}#{number}")
        return made

    def find(self, pointer: dict[str, Any] | None) -> Resource | None:
        """The resource a reference of ours points at."""
        return self._by_id.get(str((pointer or {}).get("reference", "")).removeprefix("urn:uuid:"))

    def drop(self, resource: Resource) -> None:
        """Take a resource out again (it turned out to be empty)."""
        del self._by_id[resource["id"]]
        del self.keys[next(key for key in reversed(self.keys) if self.keys[key] is resource)]
        held = self._by_kind[resource["resourceType"]]
        if held[-1] is resource:
            held.pop()
        else:
            held[:] = [kept for kept in held if kept is not resource]

    def bundle(self, identifier: str, timestamp: str | None) -> Resource:
        """The message Bundle: MessageHeader first, then the resources as they came."""
        rows = list(self.keys.values())
        if len(self.of_kind("MessageHeader")) != 1 or rows[0]["resourceType"] != "MessageHeader":
            rest = [resource for resource in rows if resource["resourceType"] != "MessageHeader"]
            rows = self.of_kind("MessageHeader") + rest
        bundle: Resource = {"resourceType": "Bundle", "id": deterministic_id(f"{self.scope}|Bundle|{identifier}")}
        bundle["identifier"] = {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{bundle['id']}"}
        bundle["type"] = "message"
        if timestamp:
            bundle["timestamp"] = timestamp
        bundle["entry"] = [{"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource} for resource in rows]
        return bundle


def reference(resource: Resource, display: str = "") -> dict[str, Any]:
    """A reference to a resource of the same Bundle."""
    value = {"reference": f"urn:uuid:{resource['id']}", "type": resource["resourceType"]}
    if display:
        value["display"] = display
    return value
