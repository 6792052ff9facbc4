"""How an outside suite walks a PAS answer; nothing of the gateway's own code is used here.

Read as the published server test kits do it: the base of relative references is that of the last entry's fullUrl with
its port dropped, so a relative reference to a host with a port leads nowhere; every reference reached from the
ClaimResponse must name exactly one entry; resources of the request that come back are compared byte by byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

Element = dict[str, Any]
FULL_URL = re.compile(r"(https?://[^/\s]+/\S+|urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z")
ECHOED = ("id", "identifier")
NOT_FOLLOWED = frozenset({"request"})
"""Elements of ClaimResponse whose references may lead outside."""


class Digits(str):
    """A JSON number as it was written."""

    __slots__ = ()


def read(body: bytes) -> Element:
    """JSON with every number as its digits, so that 100.00 and 100.0 differ."""
    found: Element = json.loads(body, parse_float=Digits, parse_int=Digits)
    return found


def text(value: Any) -> bytes:
    """The bytes of an element, members in their order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def problems(request: Element, response: Element) -> Iterator[str]:
    """Everything an outside suite would object to in one answer."""
    entries = response.get("entry") or []
    if response.get("type") != "collection" or not response.get("timestamp"):
        yield "the Bundle is no collection with a timestamp"
    if not entries or entries[0]["resource"]["resourceType"] != "ClaimResponse":
        yield "the first entry is no ClaimResponse"
        return
    yield from (f"fullUrl of entry {n}" for n, e in enumerate(entries) if not FULL_URL.match(e.get("fullUrl", "")))
    if text(response["identifier"]) != text(request["identifier"]):
        yield "Bundle.identifier is not the request's"
    yield from _unresolved(entries)
    yield from _changed(request["entry"], entries)
    yield from _items(request["entry"][0]["resource"], entries[0]["resource"])


def _unresolved(entries: list[Element]) -> Iterator[str]:
    base = without_port(re.sub(r"/[^/]+/[^/]+\Z", "", entries[-1]["fullUrl"]))
    waiting, seen = [(entries[0]["resource"], NOT_FOLLOWED)], {id(entries[0]["resource"])}
    while waiting:
        resource, skipped = waiting.pop()
        for place, reference in references(resource, resource["resourceType"], skipped):
            if reference.startswith("#"):
                continue
            relative = not reference.startswith(("http://", "https://", "urn:"))
            wanted = f"{base}/{reference}" if relative else reference
            found = [e["resource"] for e in entries if e["fullUrl"] == wanted]
            if len(found) != 1:
                yield f"{place} leads to {len(found)} entries"
            waiting += [(target, frozenset()) for target in found if id(target) not in seen]
            seen |= {id(target) for target in found}


def without_port(url: str) -> str:
    """The URL as a suite rebuilds it from scheme, host and path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{parts.path}" if parts.hostname else url


def references(value: Any, place: str, skipped: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """(path, reference) of every literal reference below an element."""
    if isinstance(value, list):
        for number, child in enumerate(value):
            yield from references(child, f"{place}[{number}]")
    elif isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield f"{place}.reference", value["reference"]
        for name, child in value.items():
            if name not in skipped:
                yield from references(child, f"{place}.{name}")


def _changed(sent: list[Element], entries: list[Element]) -> Iterator[str]:
    """An entry that is one of the request's by fullUrl, id or identifier must be so by all three, and unchanged."""
    for entry in entries:
        for before in sent:
            mine, theirs = entry["resource"], before["resource"]
            if mine["resourceType"] != theirs["resourceType"]:
                continue
            one = {name: (mine.get(name), theirs.get(name)) for name in ECHOED}
            one["fullUrl"] = (entry["fullUrl"], before["fullUrl"])
            same = {name for name, (ours, given) in one.items() if ours is not None and text(ours) == text(given)}
            if same and any(text(ours) != text(given) for ours, given in one.values()):
                yield f"{mine['resourceType']}: the same {sorted(same)}, but not {sorted(set(one) - same)}"
            if entry["fullUrl"] == before["fullUrl"] and text(_blind(mine)) != text(_blind(theirs)):
                yield f"{mine['resourceType']} {entry['fullUrl']} came back changed"


def _blind(value: Any) -> Any:
    """A copy without the words of references: relative ones may come back absolute."""
    if isinstance(value, list):
        return [_blind(child) for child in value]
    if isinstance(value, dict):
        return {name: "" if name == "reference" else _blind(child) for name, child in value.items()}
    return value


def _items(claim: Element, response: Element) -> Iterator[str]:
    if response["outcome"] not in ("complete", "partial", "error"):
        yield "outcome"
    if text(response["identifier"]) != text(claim["identifier"]):
        yield "the trace number is not the request's"
    answered = [item["itemSequence"] for item in response.get("item", [])]
    submitted = [item["sequence"] for item in claim.get("item", [])]
    if not response.get("error") and answered != submitted:
        yield f"items {answered} answer {submitted}"
    traces = {item["sequence"]: _traces(item) for item in claim.get("item", [])}
    for item in response.get("item", []):
        if _traces(item) != traces[item["itemSequence"]]:
            yield f"trace numbers of item {item['itemSequence']}"


def _traces(item: Element) -> list[bytes]:
    return [text(row) for row in item.get("extension", []) if row["url"].endswith("extension-itemTraceNumber")]
