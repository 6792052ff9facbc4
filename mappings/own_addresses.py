"""Where a sender keeps what it sent: the addresses of resources in a plain R4 message.

An EHR's feed sends resources that it has: alone, or in a Bundle whose fullUrls and references lead to its own server
(R4 2.36.4.1). A urn names an entry within one Bundle only, so it is no address; nor is an id under a urn, unless the
entry replaces a resource of that id (PUT).
"""

from __future__ import annotations

from typing import Any

from adapters.fhir.wire import BundleIndex
from adapters.fhir.wire.references import ABSOLUTE, HISTORY, RELATIVE


def address(entry: dict[str, Any]) -> str:
    """The address of an entry's resource at its sender: absolute, or `Type/id` below its base; "" when it has none."""
    url = str(entry.get("fullUrl", ""))
    if ABSOLUTE.match(url) or RELATIVE.match(url):
        return HISTORY.sub("", url)
    resource = entry.get("resource") or {}
    replaces = (entry.get("request") or {}).get("method") == "PUT"
    identity = resource.get("id")
    return f"{resource.get('resourceType')}/{identity}" if identity and (not url or replaces) else ""


def meant(index: BundleIndex, reference: Any, holder: int = 0) -> str:
    """The address of what a Reference, held by entry `holder`, means at the sender; "" when it names none."""
    value = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(value, str) or value.startswith("#"):
        return ""
    found = index.find(value, holder)
    if len(found) == 1:
        return address(index.rows[found[0]])
    target = HISTORY.sub("", value)
    if RELATIVE.match(target):
        base = ABSOLUTE.match(str(index.rows[holder].get("fullUrl", "")))
        return f"{base[1]}/{target}" if base else target
    return target if ABSOLUTE.match(target) else ""
