"""Short names of the fields people read most, for trees and messages on screens. Facts of chapters 2–11 of release
2.5.1, in our words; a field without a name is shown by its number."""

from __future__ import annotations

SEGMENTS: dict[str, str] = {
    "MSH": "header",
    "SFT": "software",
    "MSA": "acknowledgement",
    "ERR": "error",
    "EVN": "event",
    "PID": "patient",
    "PD1": "patient, additional",
    "MRG": "merged patient",
    "NK1": "next of kin",
    "PV1": "visit",
    "PV2": "visit, additional",
    "AL1": "allergy",
    "DG1": "diagnosis",
    "PR1": "procedure",
    "GT1": "guarantor",
    "IN1": "insurance",
    "IN2": "insurance, additional",
    "IN3": "insurance, certification",
    "ACC": "accident",
    "RF1": "referral",
    "AUT": "authorization",
    "PRD": "provider",
    "CTD": "contact",
    "ORC": "order",
    "OBR": "observation request",
    "OBX": "observation",
    "NTE": "note",
    "TXA": "document",
    "SCH": "appointment",
    "RGS": "resource group",
    "AIS": "appointment service",
    "AIP": "appointment person",
    "AIL": "appointment location",
    "RXA": "administration",
    "RXE": "pharmacy order, encoded",
    "RXR": "route",
    "FT1": "transaction",
    "PRB": "problem",
    "MFI": "master file",
    "MFE": "master file entry",
    "STF": "staff",
    "PRA": "practitioner",
    "DSC": "continuation",
    "FHS": "file header",
    "BHS": "batch header",
    "BTS": "batch trailer",
    "FTS": "file trailer",
}

_FIELDS: dict[str, str] = {
    "MSH": "separator; encoding characters; sending application; sending facility; receiving application; receiving "
    "facility; time; security; message type; control id; processing id; version; sequence number; continuation "
    "pointer; accept acknowledgement; application acknowledgement; country; character set; language; alternate "
    "character sets; profile",
    "MSA": "code; control id answered; text; expected sequence number",
    "ERR": "code and location; location; condition; severity; application code; parameter; diagnostics; text for users",
    "EVN": "event; recorded; planned; reason; operator; occurred; facility",
    "PID": "number; external id; identifiers; alternate id; name; mother's maiden name; birth; sex; alias; race; "
    "address; county; home phone; business phone; language; marital status; religion; account; social security; "
    "driver's licence; mother; ethnic group; birth place; multiple birth; birth order; citizenship; veteran; "
    "nationality; death; deceased",
    "PD1": "living dependency; living arrangement; primary facility; primary provider",
    "MRG": "prior identifiers; prior alternate id; prior account; prior patient id; prior visit; prior alternate "
    "visit; prior name",
    "NK1": "number; name; relationship; address; phone; business phone; role; start; end",
    "PV1": "number; class; location; admission type; preadmit number; prior location; attending; referring; "
    "consulting; service; temporary location; preadmit test; readmission; admit source; ambulatory status; vip; "
    "admitting; patient type; visit number; financial class",
    "PV2": "prior pending location; accommodation; admit reason; transfer reason; valuables; valuables location; visit "
    "user; expected admit; expected discharge",
    "AL1": "number; type; allergen; severity; reaction; identified",
    "DG1": "number; coding method; code; description; time; type",
    "PR1": "number; coding method; code; description; time; functional type; minutes; anesthesiologist",
    "GT1": "number; guarantor number; name; spouse; address; home phone; business phone; birth; sex; type; "
    "relationship",
    "IN1": "number; plan; company id; company; company address; contact; phone; group number; group name; employer id; "
    "employer; plan start; plan end; authorization; plan type; insured; relationship; insured birth; insured "
    "address; assignment; coordination; coordination priority; notice of admission; notice date; eligibility "
    "report; report date; release code; pre-admit certification; verified; verified by; agreement; billing; "
    "reserve days; delay; company plan; policy number; policy deductible",
    "IN2": "employee id; social security; employer; employer data; mail claim; medicare number",
    "IN3": "number; certification number; certified by; certification required; penalty; certified; modified; "
    "operator; begin; end; days; non-concur code; non-concur effective; physician reviewer; contact; phone; appeal "
    "reason; agency; agency phone; precertification requirement; case manager; second opinion date",
    "ACC": "time; code; location; auto state; job related; death",
    "RF1": "status; priority; type; disposition; category; originating number; effective; expires; processed; reason; "
    "external number",
    "AUT": "plan; company id; company; effective; expires; authorization number; reimbursement limit; requested "
    "treatments; authorized treatments; processed",
    "PRD": "role; name; address; location; communication; preferred contact; identifiers; role start; role end",
    "CTD": "role; name; address; location; communication; preferred contact; identifiers",
    "ORC": "control; placer number; filler number; group number; status; response; quantity and timing; parent; time; "
    "entered by; verified by; ordering provider",
    "OBR": "number; placer number; filler number; service; priority; requested; observed; observed end; volume; "
    "collector; specimen action; danger; clinical information; received; specimen; ordering provider; callback; "
    "placer field 1; placer field 2; filler field 1; filler field 2; reported; charge; section; status",
    "OBX": "number; value type; observation; sub-id; value; units; range; flags; probability; nature; status; range "
    "date; access checks; observed; producer; observer; method",
    "NTE": "number; source; comment; type",
    "TXA": "number; type; presentation; activity; provider; origination; transcribed; edited; originator; "
    "authenticator; transcriptionist; document number; parent number; placer number; filler number; file name; "
    "completion; confidentiality; availability",
    "SCH": "placer appointment; filler appointment; occurrence; placer group; schedule; event reason; appointment "
    "reason; type; duration; duration units; timing",
    "AIS": "number; action; service; start; offset; offset units; duration; duration units",
    "AIP": "number; action; person; role; group; start",
    "AIL": "number; action; location; type; group; start",
    "RXA": "give number; administration number; start; end; code; amount; units; form; notes; provider; location",
    "RXE": "quantity and timing; code; minimum; maximum; units; form; instructions; deliver to; substitution; dispense",
    "RXR": "route; site; device; method",
    "FT1": "number; id; batch; date; posted; type; code; description; alternate description; quantity; amount; unit "
    "amount; department; plan; insurance amount; location; fee schedule; patient type; diagnosis; performed by",
    "PRB": "action; action time; problem; instance; episode; order; established; expected resolution; resolved",
    "MFI": "file; application; event; entered; effective; response level",
    "MFE": "event; control id; effective; key; key type",
    "STF": "key; identifiers; name; type; sex; birth; active; department; service; phone; address",
    "PRA": "key; group; category; billing; specialty; identifiers",
    "DSC": "pointer; style",
    "FHS": "separator; encoding characters; sending application; sending facility; receiving application; receiving "
    "facility; time; security; file name; comment; control id; reference control id",
    "BHS": "separator; encoding characters; sending application; sending facility; receiving application; receiving "
    "facility; time; security; batch name; comment; control id; reference control id",
    "BTS": "messages; comment",
    "FTS": "batches; comment",
}

FIELDS: dict[tuple[str, int], str] = {
    (name, number): label for name, labels in _FIELDS.items() for number, label in enumerate(labels.split("; "), 1)
} | {("PV1", 36): "discharge disposition", ("PV1", 44): "admitted", ("PV1", 45): "discharged"}
"""(segment, field) → name."""


def field_name(segment: str, number: int) -> str:
    """The name of a field; empty when it has none here."""
    return FIELDS.get((segment, number), "")
