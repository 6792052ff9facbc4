"""Complex v2 data types → FHIR data types. Each declares which components it maps; the ledger reads that.

A converter takes the components of one repetition, the `Env` and the vocabulary bound to the row, and returns plain
FHIR JSON, or None when there is nothing to say. What it returns belongs to the caller, who may add to it. Data types of
the guide that are not here run from tables/hl7/datatypes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import primitives
from .cursor import Components
from .environment import Env, Parts, part, subs, within
from .vocabulary import Vocabulary, system_uri, table_uri

Convert = Callable[[Parts, Env, Vocabulary | None], Any]


@dataclass(frozen=True, slots=True)
class DataType:
    """A converter and the components it maps: number → element."""

    name: str
    convert: Convert
    components: Components
    leaf: Callable[[str, Env], Any] | None = None
    """For simple types: the same for the one leaf there is."""


REGISTRY: dict[str, DataType] = {}
EXTENSION = "http://hl7.org/fhir/StructureDefinition/"


def datatype(name: str, components: dict[int, str]) -> Callable[[Convert], Convert]:
    """Register a converter under the name rows use."""

    def register(convert: Convert) -> Convert:
        REGISTRY[name] = DataType(name, convert, Components(components))
        return convert

    return register


def hd(subs: list[str], env: Env) -> tuple[str, str]:
    """HD → (system URI or "", name of the authority). A partner's file may give namespaces a URI."""
    namespace = subs[0]
    universal = subs[1] if len(subs) > 1 else ""
    kind = subs[2].upper() if len(subs) > 2 else ""
    if universal:
        if kind == "ISO" or (not kind and universal.replace(".", "").isdigit()):
            return f"urn:oid:{universal}", namespace
        if kind in {"UUID", "GUID"}:
            return f"urn:uuid:{universal.lower()}", namespace
        if kind in {"URI", "URL"} and " " not in universal:
            return universal, namespace
        return env.systems.get(universal, ""), namespace or universal
    return env.systems.get(namespace, ""), namespace


NPI = "http://hl7.org/fhir/sid/us-npi"
SSN = "http://hl7.org/fhir/sid/us-ssn"
_TYPED_SYSTEMS = {"NPI": NPI, "SS": SSN, "SSN": SSN}
TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"


def authority_of(kind: str, authority: list[str], env: Env) -> tuple[str, str, str]:
    """Type (table 0203) and assigning authority of an identifier → the type, its system or "", the authority's name."""
    system, name = hd(authority, env) if authority else ("", "")
    kind = primitives.code(kind) or ""
    if kind == "SSN":
        kind = "SS"
    return kind, system or _TYPED_SYSTEMS.get(kind) or _TYPED_SYSTEMS.get(name, ""), name


def identifier(value: str, kind: str, authority: list[str], env: Env) -> dict[str, Any] | None:
    """Value, type (table 0203) and assigning authority → Identifier."""
    if not primitives.string(value) or value == '""':
        return None
    result: dict[str, Any] = {}
    kind, system, name = authority_of(kind, authority, env)
    if kind:
        result["type"] = {"coding": [{"system": TYPES, "code": kind}]}
    if system:
        result["system"] = system
    result["value"] = value
    if name.strip():
        result["assigner"] = {"display": name}
    return result


def numbered(parts: Parts, env: Env) -> tuple[str, str] | None:
    """System (or "") and number of a CX, for keys; None where it names nothing."""
    value = parts[1]
    if not primitives.string(value) or value == '""':
        return None
    return authority_of(part(parts, 5), subs(parts, 4) if len(parts) > 4 else [], env)[1], value


@datatype("CX", {1: "value", 2: "extension", 3: "extension", 4: "system", 5: "type", 6: "assigner", 7: "period.start",
                 8: "period.end", 9: "extension", 10: "extension"})  # fmt: skip
def cx(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """CX → Identifier."""
    result = identifier(parts[1], part(parts, 5), subs(parts, 4) if len(parts) > 4 else [], env)
    if result is None or len(parts) < 3:
        return result
    extensions: list[dict[str, Any]] = []
    if parts[2] or part(parts, 3):
        extensions += [
            {"url": EXTENSION + url, "valueString": text}
            for number, url in ((2, "identifier-checkDigit"), (3, "namingsystem-checkDigit"))
            if (text := primitives.string(part(parts, number)))
        ]
    if len(parts) > 6:
        facility = parts[6]
        if facility.strip() and "assigner" not in result:
            result["assigner"] = {"display": facility}
        for number in (6, 9, 10):
            if (text := primitives.string(part(parts, number))) and not (number == 6 and "assigner" not in result):
                extensions.append({"url": f"urn:gateway:hl7v2:CX.{number}", "valueString": text})
        if span := period(part(parts, 7), part(parts, 8), env):
            result["period"] = span
    if extensions:
        result["extension"] = extensions
    return result


@datatype("EI", {1: "value", 2: "assigner", 3: "system", 4: "system"})
def ei(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """EI → Identifier."""
    authority = [part(parts, 2), part(parts, 3), part(parts, 4)]
    return identifier(part(parts, 1), "", authority, env)


@datatype("EI-sub", {1: "value"})
def ei_sub(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """An EI inside one component (EIP, PL.10) → Identifier."""
    held = [*subs(parts, 1), "", "", ""]
    return identifier(held[0], "", held[1:4], env)


def period(start: str, end: str, env: Env) -> dict[str, str] | None:
    """Two v2 times → Period; None when neither is one, the end left out when it lies before the start."""
    result = {}
    if start and (value := primitives.date_time(start, env.zone)):
        result["start"] = value
    if (
        end
        and (value := primitives.date_time(end, env.zone))
        and value[:10] >= result.get("start", "")[: len(value)][:10]
    ):
        result["end"] = value
    return result or None


@datatype("DR", {1: "start", 2: "end"})
def dr(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """DR → Period."""
    return period(part(parts, 1), part(parts, 2), env)


def coding(code: str, display: str, system: str, version: str = "") -> dict[str, Any] | None:
    """One triplet → Coding; a text alone is no coding."""
    value = primitives.code(code) if code and code != '""' else None
    if value is None:
        return None
    result: dict[str, Any] = {}
    if uri := system_uri(system):
        result["system"] = uri
    result["code"] = value
    if display.strip() and display != '""':
        result["display"] = display
    if version.strip():
        result["version"] = version
    return result


def mapped_coding(code: str, vocabulary: Vocabulary) -> dict[str, Any] | None:
    """A code's target in a vocabulary as Coding."""
    target = vocabulary.lookup(code)
    if target is None:
        return None
    return {"system": target[1].strip(), "code": target[0]} if target[1] else {"code": target[0]}


_CWE = {number: f"coding[{index}]" for index, group in enumerate(((1, 2, 3, 7), (4, 5, 6, 8), (10, 11, 12, 13)))
        for number in group} | {9: "text", 14: "coding[0]"}  # fmt: skip


@datatype("CWE", _CWE)
def cwe(parts: Parts, env: Env, vocabulary: Vocabulary | None) -> Any:
    """CE, CF, CNE, CWE, IS, ID → CodeableConcept. The target coding first, the original kept beside it."""
    first, text = part(parts, 1), part(parts, 2)
    codings: list[dict[str, Any]] = []
    own = coding(first, text, part(parts, 3), part(parts, 7))
    if vocabulary is not None and own is not None:
        target = mapped_coding(own["code"], vocabulary)
        if target is None:
            env.unmapped.append((vocabulary.name, own["code"]))
        if "system" not in own and (target is None or not target.get("system")) and vocabulary.table:
            own["system"] = table_uri(vocabulary.table) or own.get("system", "")
            if not own["system"]:
                del own["system"]
        if target is not None and (target.get("system"), target["code"]) != (own.get("system"), own["code"]):
            codings.append(target)
            if "system" not in own and vocabulary.table and table_uri(vocabulary.table):
                own["system"] = table_uri(vocabulary.table)
            if (target.get("system"), target["code"]) == (own.get("system"), own["code"]):
                codings.pop()
    if own is not None:
        codings.append(own)
    if len(parts) > 4:
        codings += _alternates(parts)
    result: dict[str, Any] = {"coding": codings} if codings else {}
    original = part(parts, 9) or (text if own is None and text != '""' else "") or (
        first if own is None and first != '""' else "")  # fmt: skip
    if original.strip():
        result["text"] = original
    return result or None


def _alternates(parts: Parts) -> list[dict[str, Any]]:
    found = (
        coding(part(parts, 4), part(parts, 5), part(parts, 6), part(parts, 8)),
        coding(part(parts, 10), part(parts, 11), part(parts, 12), part(parts, 13)),
    )
    return [value for value in found if value is not None]


@datatype("Coding", _CWE)
def cwe_coding(parts: Parts, env: Env, vocabulary: Vocabulary | None) -> Any:
    """CWE → one Coding: the target where there is one, else the original; the other codings go nowhere."""
    concept = cwe(parts, env, vocabulary)
    if not concept or "coding" not in concept:
        return None
    best: dict[str, Any] = concept["coding"][0]
    display = part(parts, 2)
    return best | ({"display": display} if display and "display" not in best else {})


@datatype("code", {1: "", 2: "", 3: ""})
def cwe_code(parts: Parts, env: Env, vocabulary: Vocabulary | None) -> Any:
    """ID, IS or CWE → a code of a required binding; None where the map does not know it."""
    value = primitives.code(part(parts, 1)) or ""
    if vocabulary is None:
        return value or None
    target = vocabulary.lookup(value)
    if target is None and value:
        env.unmapped.append((vocabulary.name, value))
    return target[0] if target else None


@datatype("text", dict.fromkeys(range(1, 12), ""))
def cwe_text(parts: Parts, _env: Env, _vocabulary: Vocabulary | None) -> Any:
    """A coded or composite value as text: its display where there is one, else all its parts."""
    display = parts[2] if len(parts) == 4 else ""
    leaves = (leaf for component in range(1, len(parts)) for leaf in subs(parts, component))
    words = [display] if display else [leaf for leaf in leaves if leaf.strip() and leaf != '""']
    return " ".join(words) or None


@datatype("CQ", {1: "value", 2: "unit"})
def cq(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """CQ → Quantity; the unit may be packed as sub-components."""
    value = primitives.number(part(parts, 1))
    return None if value is None else {"value": value} | unit(within(parts, 2))


def unit(parts: Parts) -> dict[str, Any]:
    """Units as CE → the unit parts of a Quantity."""
    code, text, system = part(parts, 1), part(parts, 2), part(parts, 3)
    result: dict[str, Any] = {}
    if name := primitives.string(text or code):
        result["unit"] = name
    if primitives.code(code) and system:
        result |= {"system": system_uri(system), "code": primitives.code(code)}
    return result


@datatype("CP", {1: "value", 2: "currency"})
def cp(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """CP, MO → Money. Without a currency it is US dollars: the networks served here are in the United States."""
    value = primitives.number(part(parts, 1).lstrip("$"))
    currency = part(parts, 1, 2) or part(parts, 2)
    currency = currency.strip().upper() if len(currency.strip()) == 3 else "USD"
    return None if value is None else {"value": value, "currency": currency}


@datatype("ED", {1: "title", 2: "contentType", 3: "contentType", 4: "data", 5: "data"})
def ed(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """ED → Attachment; what is not base64 already is encoded."""
    kind, subtype, encoding, data = (part(parts, number) for number in (2, 3, 4, 5))
    if not data:
        return None
    try:
        binary = base64.b64decode(data, validate=False) if encoding.lower() == "base64" else data.encode()
        if encoding.lower() == "hex":
            binary = bytes.fromhex(data)
    except (binascii.Error, ValueError):
        binary = data.encode()
    names = {
        "PDF": "application/pdf",
        "JPEG": "image/jpeg",
        "PNG": "image/png",
        "TIFF": "image/tiff",
        "RTF": "text/rtf",
    }
    media = names.get(subtype.upper()) or (f"{kind.lower()}/{subtype.lower()}" if "/" not in kind else kind.lower())
    media = "".join(media.split())
    result: dict[str, Any] = {"contentType": media if len(media) > 3 else "application/octet-stream"}
    result["data"] = base64.b64encode(binary).decode("ascii")
    if source := primitives.string(part(parts, 1)):
        result["title"] = source
    return result


@datatype("RP", {1: "url", 2: "title", 3: "contentType", 4: "contentType"})
def rp(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """RP → Attachment with a location."""
    pointer = part(parts, 1).strip()
    if not pointer:
        return None
    result = {"url": pointer} if " " not in pointer else {"title": pointer}
    if "/" in (media := f"{part(parts, 3).lower()}/{part(parts, 4).lower()}") and len(media) > 2:
        result["contentType"] = "".join(media.split()).strip("/")
    if part(parts, 2):
        result.setdefault("title", part(parts, 2))
    return result
