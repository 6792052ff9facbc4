"""What every X12 → FHIR mapping builds on: the envelope a unit came in, and the Bundle under construction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from mappings.bundle_echo import derived_uuid
from mappings.x12_278_terms import SUBMITTER

Element = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmission:
    """The envelope a transaction came in: ISA06, ISA08, ISA13, GS02, GS03, GS06, ST02, and its ordinal inside ST."""

    sender: str = ""
    receiver: str = ""
    interchange: str = ""
    application_sender: str = ""
    application_receiver: str = ""
    group: str = ""
    transaction: str = ""
    ordinal: str = "1"
    """Number of the unit in its transaction set; `1.2` where one unit is several messages."""
    sender_qualifier: str = "ZZ"
    receiver_qualifier: str = "ZZ"
    usage: str = "P"

    def as_json(self) -> dict[str, Any]:
        """For `reply`: what the way back needs to address its answer."""
        return asdict(self)

    @property
    def natural_key(self) -> tuple[str, ...]:
        """What makes a resend the same message."""
        return (
            self.sender,
            self.receiver,
            self.interchange,
            self.group,
            self.transaction,
            self.ordinal,
        )


class Build:
    """The Bundle under construction: entries in order, each with a derived address."""

    def __init__(self, transmission: Transmission) -> None:
        self.entries: list[Element] = []
        self._name: Callable[[str], str] = lambda name: derived_uuid(*transmission.natural_key, name)

    def add(self, resource: Element, name: str) -> Element:
        """Append a resource and return a reference to it. An equal one already there is used again."""
        for entry in self.entries:
            if {k: v for k, v in entry["resource"].items() if k != "id"} == resource:
                return {"reference": entry["fullUrl"]}
        id_ = self._name(name)
        url = f"urn:uuid:{id_}"
        self.entries.append(
            {"fullUrl": url, "resource": {"resourceType": resource["resourceType"], "id": id_} | resource}
        )
        return {"reference": url}

    def name(self, name: str) -> str:
        """The derived UUID of a name."""
        return self._name(name)

    def bundle(self, first: Element, name: str, number: str, created: str) -> Element:
        """The Bundle with `first` in front; `number` (BHT03 or the like) identifies it, `created` is an instant."""
        id_ = self._name(name)
        head = {"fullUrl": f"urn:uuid:{id_}", "resource": {"resourceType": first["resourceType"], "id": id_} | first}
        return {
            "resourceType": "Bundle",
            "id": self._name("Bundle"),
            "identifier": {"system": SUBMITTER, "value": number},
            "type": "collection",
            "timestamp": created,
            "entry": [head, *self.entries],
        }
