"""The interchange desk, outbound: trees for one partner → the bytes to send, once, under a name without content.

Control numbers come from the allocator in the transaction that stores the result; a resend sends the stored bytes, so
its numbers stay and the partner's duplicate check protects both sides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from adapters.x12.settings import PartnerProfile
from adapters.x12.wire import Envelope, Guide, Loop, write
from adapters.x12.wire.ports import NumberAllocator
from gateway.core.ports import Outbound

MEDIA_TYPE = "application/EDI-X12"


async def render(
    guide: Guide,
    trees: Loop | Iterable[Loop],
    partner: PartnerProfile,
    numbers: NumberAllocator,
    *,
    tenant: str,
    now: datetime,
) -> Outbound:
    """One interchange with one group of the guide's transaction sets, for one partner.

    Raises InvalidMessage when a tree breaks its guide (numbers already taken stay unused), Unavailable when the
    allocator does not answer.
    """
    ours, theirs = partner.receiver, partner.sender
    envelope = Envelope(
        sender=ours,
        sender_qualifier=partner.receiver_qualifier,
        receiver=theirs,
        receiver_qualifier=partner.sender_qualifier,
        group_sender=partner.group_receiver,
        group_receiver=partner.group_sender,
        time=now,
        interchange_number=await numbers.allocate(tenant, ours, theirs, "interchange"),
        group_number=await numbers.allocate(tenant, ours, theirs, "group"),
        usage=partner.usage,
        acknowledgement_requested=partner.request_acknowledgement,
        separators=partner.separators.wire(),
        line_ends=partner.line_ends,
    )
    data = write(guide, trees, envelope)
    return outbound(data, partner, guide.transaction, envelope.interchange_number, now)


def outbound(data: bytes, partner: PartnerProfile, set_id: str, number: int, now: datetime) -> Outbound:
    """Wrap an interchange (an acknowledgement too) for the transport."""
    name = file_name(partner.receiver, set_id, number, now)
    return Outbound(
        endpoint=partner.name,
        data=data,
        media_type=MEDIA_TYPE,
        idempotency_key=f"{partner.name}/{partner.usage}/{number:09d}",
        attributes={"fileName": name},
    )


def file_name(sender: str, set_id: str, number: int, now: datetime) -> str:
    """`{sender}_{set}_{isa13}_{yyyymmddhhmmss}.x12`, with nothing in it that a file system could trip over."""
    safe = re.sub(r"[^A-Za-z0-9-]", "-", sender.strip())
    return f"{safe}_{set_id}_{number:09d}_{now:%Y%m%d%H%M%S}.x12"
