"""What the MLLP edge is given: the codec, with each partner's own codes and segments laid over the tables, and the
fast lane for senders that wait for a decision on their connection."""

from __future__ import annotations

from adapters.hl7.inbound import Respond
from gateway.core.errors import ConfigurationError, GatewayError, MessageConflict
from gateway.core.ports import Accepted, Decide
from gateway.infra.telemetry import logger
from gateway.partners import Partners
from mappings.hl7_codec import Hl7Codec, rendered
from mappings.hl7_to_fhir import Program, default_program, load_program

log = logger("hl7")


def responder(lane: Decide, seconds: float) -> Respond:
    """Decisions for senders that hold the line. Their message is durable: a fault of ours is "pended", no refusal."""

    async def respond(accepted: Accepted) -> bytes | None:
        envelope = accepted.envelope
        if envelope.reply.get("lane") != "fast":
            return None
        try:
            decision = await lane(envelope, timeout=seconds)
            return rendered(decision, envelope.raw, charset=envelope.reply["charset"]) if decision else None
        except MessageConflict:
            raise
        except GatewayError as error:
            log.warning("hl7.unanswered", code=error.code, source=envelope.source)
            return None

    return respond


def codec(partners: Partners, *, waits: float = 0) -> Hl7Codec:
    """The codec of these partners, whose requests are held `waits` seconds for a decision.

    Raises ConfigurationError that names the partner whose mapping cannot work.
    """
    default_program()  # 0.2 to 1 s of tables: now, and not while the first sender waits
    known = [(partner, partner.hl7) for partner in partners.all if partner.hl7 is not None]
    programs: dict[str, Program] = {}
    for partner, sender in known:
        if partner.hl7_mapping is not None:
            try:
                programs[sender.name] = load_program(partner.hl7_mapping)
            except ConfigurationError as error:
                where = f"{partner.name}: {error.location}".rstrip(": ")
                raise ConfigurationError(error.message, location=where) from error
    endpoints = {sender.name: f"mllp/{partner.name}" for partner, sender in known}
    return Hl7Codec(partners=programs, endpoints=endpoints, waits=waits)
