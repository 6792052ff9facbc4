"""What the MLLP edge is given: the codec, with each partner's own codes and segments laid over the tables."""

from __future__ import annotations

from gateway.core.errors import ConfigurationError
from gateway.partners import Partners
from mappings.hl7_codec import Hl7Codec
from mappings.hl7_to_fhir import Program, load_program


def codec(partners: Partners) -> Hl7Codec:
    """The codec of these partners. Raises ConfigurationError that names the partner whose mapping cannot work."""
    known = [(partner, partner.hl7) for partner in partners.all if partner.hl7 is not None]
    programs: dict[str, Program] = {}
    for partner, sender in known:
        if partner.hl7_mapping is not None:
            try:
                programs[sender.name] = load_program(partner.hl7_mapping)
            except ConfigurationError as error:
                where = f"{partner.name}: {error.location}".rstrip(": ")
                raise ConfigurationError(error.message, location=where) from error
    return Hl7Codec(partners=programs, endpoints={sender.name: f"mllp/{partner.name}" for partner, sender in known})
