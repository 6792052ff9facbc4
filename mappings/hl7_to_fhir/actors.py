"""People, organizations, places and devices named inside other segments: data types that become resources.

Each returns a Reference to a resource of the graph. Who has an identifier is one resource in all messages of a source;
who has only a name is one within the message; two identifiers never merge because their names are equal.
"""

from __future__ import annotations

from typing import Any

from adapters.hl7.wire import NULL

from . import special  # noqa: F401 - registers the small data types
from .contacts import human_name
from .datatypes import EXTENSION, datatype, identifier, period
from .environment import Env, Parts, padded, part, subs, within
from .graph import Resource, reference
from .primitives import code, string
from .vocabulary import Vocabulary, system_uri, vocabulary

_XCN = {1: "identifier.value", 2: "name.family", 3: "name.given", 4: "name.given", 5: "name.suffix", 6: "name.prefix",
        7: "qualification", 8: "identifier.assigner", 9: "identifier.system", 10: "name.use", 11: "identifier",
        12: "identifier", 13: "identifier.type", 14: "identifier.assigner", 15: "~name", 17: "~name",
        19: "name.period.start", 20: "name.period.end", 21: "name.suffix",
        22: "~identifier", 23: "~identifier"}  # fmt: skip


def practitioner(parts: Parts, env: Env) -> Resource | None:
    """XCN, CNN → Practitioner."""
    leaves = padded(parts)
    number = leaves[1]
    name = human_name(parts, 1)
    authority = subs(parts, 9) if leaves[9] else ([leaves[8]] if leaves[8] else [])
    held = identifier(number, leaves[13], authority, env)
    if held is None and name is None:
        return None
    if held is not None:
        key = f"{held.get('system') or held.get('assigner', {}).get('display', '')}|{number}"
    else:
        key = f"{env.control}|{name}"
    resource, new = env.graph.resource("Practitioner", key)
    if not new:
        return resource
    if held is not None:
        _check_digit(parts, held, 11)
        if leaves[14] and "assigner" not in held:
            held["assigner"] = {"display": leaves[14]}
        resource["identifier"] = [held]
    if name is not None:
        _name_details(parts, name, env)
        resource["name"] = [name]
    if degree := string(leaves[7]):
        target = vocabulary("DegreeLicenseCertificate").lookup(degree)
        concept: dict[str, Any] = {"text": degree}
        if target:
            concept = {"coding": [{"system": target[1], "code": target[0]}]}
        resource["qualification"] = [{"code": concept}]
    return resource


def _check_digit(parts: Parts, held: dict[str, Any], number: int) -> None:
    urls = ((number, "identifier-checkDigit"), (number + 1, "namingsystem-checkDigit"))
    found = [
        {"url": EXTENSION + url, "valueString": text} for place, url in urls if (text := string(part(parts, place)))
    ]
    if found:
        held["extension"] = found


def _name_details(parts: Parts, name: dict[str, Any], env: Env) -> None:
    if len(parts) < 11:
        return
    if kind := part(parts, 10):
        target = vocabulary("NameType").lookup(kind)
        if target and target[1].endswith("name-use"):
            name["use"] = target[0]
    if span := period(part(parts, 19), part(parts, 20), env):
        name["period"] = span
    if suffix := string(part(parts, 21)):
        name.setdefault("suffix", []).append(suffix)


@datatype("XCN", _XCN)
def xcn(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """XCN → Reference(Practitioner)."""
    found = practitioner(parts, env)
    return reference(found) if found else None


@datatype("NDL", {1: "practitioner", 2: "period.start", 3: "period.end", 4: "location", 5: "location", 6: "location",
                  7: "location", 8: "location", 9: "location", 10: "location", 11: "location"})  # fmt: skip
def ndl(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """NDL → Reference(PractitionerRole) with its Practitioner and Location."""
    person = practitioner(within(parts, 1), env)
    leaves = ["", *(part(parts, number) for number in (4, 5, 6, 7, 8, 8, 10, 11))]
    place = location(leaves, env) if len(parts) > 4 else None
    if person is None or (place is None and len(parts) == 2):
        return reference(person) if person else None
    times = [subs(parts, number) for number in (2, 3) if number < len(parts)]
    role, new = env.graph.resource("PractitionerRole", f"{person['id']}|{place['id'] if place else ''}|{times}")
    if new:
        role["practitioner"] = reference(person)
        if place:
            role["location"] = [reference(place)]
        if span := period(part(parts, 2), part(parts, 3), env):
            role["period"] = span
    return reference(role)


_XON = {1: "name", 2: "~name type", 3: "identifier.value", 4: "identifier", 5: "identifier", 6: "identifier.system",
        7: "identifier.type", 8: "identifier.assigner", 9: "~name", 10: "identifier.value"}  # fmt: skip


def organization(parts: Parts, env: Env) -> Resource | None:
    """XON → Organization. Its number is component 10, in old messages 3."""
    leaves = padded(parts)
    name = string(leaves[1])
    number = leaves[10] or leaves[3]
    held = identifier(number, leaves[7], subs(parts, 6), env) if number else None
    if held is None and (name is None or name == NULL):
        return None
    if held is not None:
        key = f"{held.get('system') or held.get('assigner', {}).get('display', '')}|{number}"
    else:
        key = f"name|{name}"
    resource, new = env.graph.resource("Organization", key)
    if new or ("name" not in resource and name):
        if held is not None:
            _check_digit(parts, held, 4)
            if leaves[8] and "assigner" not in held:
                held["assigner"] = {"display": leaves[8]}
            resource["identifier"] = [held]
        if name:
            resource["name"] = name
    return resource


@datatype("XON", _XON)
def xon(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """XON → Reference(Organization)."""
    found = organization(parts, env)
    return reference(found) if found else None


@datatype("CWE-org", {1: "identifier.value", 2: "name", 3: "identifier.system", 4: "~identifier", 5: "~name"})
def coded_organization(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """A coded organization (producer, facility, manufacturer) → Reference(Organization)."""
    number, name = code(part(parts, 1)), string(part(parts, 2))
    if number is None and name is None:
        return None
    system = system_uri(part(parts, 3))
    resource, new = env.graph.resource("Organization", f"{system}|{number}" if number else f"name|{name}")
    if new:
        if number:
            resource["identifier"] = [({"system": system} if system else {}) | {"value": number}]
        if name or number:
            resource["name"] = name or number
    return reference(resource)


_LEVELS = ((4, "si"), (7, "bu"), (8, "lvl"), (1, "wa"), (2, "ro"), (3, "bd"))
"""Component → physical type, from the outside in."""
_PL = {1: "name", 2: "name", 3: "name", 4: "name", 5: "~status", 6: "~type", 7: "name", 8: "name", 9: "description",
       10: "identifier", 11: "identifier.assigner"}  # fmt: skip
_PHYSICAL = "http://terminology.hl7.org/CodeSystem/location-physical-type"


def location(parts: Parts, env: Env) -> Resource | None:
    """PL → Location of the innermost level given, each level part of the next outer one."""
    inner: Resource | None = None
    path = ""
    leaves = padded(parts)
    for component, level in _LEVELS:
        name = leaves[component]
        if not name.strip() or name == NULL:
            continue
        told = subs(parts, component)
        path += f"/{level}:{'&'.join(told)}"
        resource, new = env.graph.resource("Location", path)
        if new:
            resource["name"] = name
            resource["mode"] = "instance"
            resource["physicalType"] = {"coding": [{"system": _PHYSICAL, "code": level}]}
            if len(told) > 1 and (held := identifier(name, "", ["", *told[1:]], env)):
                resource["identifier"] = [held]
            if inner is not None:
                resource["partOf"] = reference(inner)
        inner = resource
    if inner is None and (text := string(leaves[9])) and text != NULL:
        inner, _new = env.graph.resource("Location", f"description:{text}")
        inner["name"] = text
    if inner is not None and len(parts) > 9:
        if (text := string(leaves[9])) and inner.get("name") != text:
            inner["description"] = text
        if len(parts) > 10 and (held := identifier(leaves[10], "", [leaves[11]], env)):
            inner.setdefault("identifier", [held])
    return inner


@datatype("PL", _PL)
def pl(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """PL → Reference(Location)."""
    found = location(parts, env)
    return reference(found) if found else None


@datatype("DLD", {1: "name", 2: "!date of the discharge: the visit's end says it"})
def dld(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """DLD → Reference(Location); only the place."""
    name = string(" ".join(leaf for leaf in subs(parts, 1) if leaf))
    if not name:
        return None
    resource, _new = env.graph.resource("Location", f"discharge:{name}")
    resource["name"] = name
    return reference(resource)


@datatype(
    "EI-device", {1: "identifier.value", 2: "identifier.assigner", 3: "identifier.system", 4: "identifier.system"}
)
def device(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """EI of an instrument → Reference(Device)."""
    held = identifier(part(parts, 1), "", [part(parts, 2), part(parts, 3), part(parts, 4)], env)
    if held is None:
        return None
    resource, _new = env.graph.resource("Device", f"{held.get('system', '')}|{part(parts, 2)}|{held['value']}")
    resource["identifier"] = [held]
    return reference(resource)


@datatype("episode", {1: "identifier.value", 2: "identifier", 3: "identifier", 4: "identifier.system",
                      5: "identifier.type", 6: "identifier.assigner", 7: "identifier", 8: "identifier"})  # fmt: skip
def episode(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """CX → Reference(EpisodeOfCare); its patient is set at the end."""
    held = identifier(part(parts, 1), part(parts, 5), subs(parts, 4) if len(parts) > 4 else [], env)
    if held is None:
        return None
    resource, new = env.graph.resource("EpisodeOfCare", f"{held.get('system', '')}|{part(parts, 4)}|{held['value']}")
    if new:
        facility = part(parts, 6)
        if facility and "assigner" not in held:
            held["assigner"] = {"display": facility}
        _check_digit(parts, held, 2)
        resource |= {"identifier": [held], "status": "active"}
        env.pending.append((resource, "patient"))
    return reference(resource)


@datatype("XPN-asserter", dict.fromkeys(range(1, 16), "name"))
def reporter(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """The name of who reported → Reference(RelatedPerson)."""
    name = human_name(parts)
    if name is None:
        return None
    resource, new = env.graph.resource("RelatedPerson", f"{env.control}|reporter|{name}")
    if new:
        resource["name"] = [name]
        env.pending.append((resource, "patient"))
    return reference(resource)
