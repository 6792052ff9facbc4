"""Table 0354 and what follows from a message type: its structure, and how it is answered at application level."""

from __future__ import annotations

_SHARED: dict[str, str] = {
    "ADT_A01": "A01 A04 A08 A13",
    "ADT_A02": "A02",
    "ADT_A03": "A03",
    "ADT_A05": "A05 A14 A28 A31",
    "ADT_A06": "A06 A07",
    "ADT_A09": "A09 A10 A11",
    "ADT_A12": "A12",
    "ADT_A15": "A15",
    "ADT_A16": "A16",
    "ADT_A17": "A17",
    "ADT_A18": "A18",
    "ADT_A20": "A20",
    "ADT_A21": "A21 A22 A23 A25 A26 A27 A29 A32 A33",
    "ADT_A24": "A24",
    "ADT_A30": "A30 A34 A35 A36 A46 A47 A48 A49",
    "ADT_A37": "A37",
    "ADT_A38": "A38",
    "ADT_A39": "A39 A40 A41 A42",
    "ADT_A43": "A43 A44",
    "ADT_A45": "A45",
    "ADT_A50": "A50 A51",
    "ADT_A52": "A52 A53",
    "ADT_A54": "A54 A55",
    "ADT_A60": "A60",
    "ADT_A61": "A61 A62",
    "BAR_P01": "P01",
    "BAR_P02": "P02",
    "BAR_P05": "P05",
    "BAR_P06": "P06",
    "BAR_P10": "P10",
    "BAR_P12": "P12",
    "DFT_P03": "P03",
    "DFT_P11": "P11",
    "MDM_T01": "T01 T03 T05 T07 T09 T11",
    "MDM_T02": "T02 T04 T06 T08 T10",
    "MFN_M02": "M02",
    "ORU_R01": "R01",
    "ORU_R30": "R30 R31 R32",
    "OUL_R21": "R21",
    "OUL_R22": "R22",
    "PPR_PC1": "PC1 PC2 PC3",
    "REF_I12": "I12 I13 I14 I15",
    "RQA_I08": "I08 I09 I10 I11",
    "RPA_I08": "I08 I09 I10 I11",
    "RRI_I12": "I12 I13 I14 I15",
    "SIU_S12": "S12 S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S26",
    "VXU_V04": "V04",
}

STRUCTURES: dict[tuple[str, str], str] = {
    (structure[:3], trigger): structure for structure, triggers in _SHARED.items() for trigger in triggers.split()
}
"""(message code, trigger) → structure, for those where senders leave MSH-9.3 out."""

RESPONSES: dict[str, str] = {"RQA": "RPA", "REF": "RRI", "RQI": "RPI", "RQP": "RPI", "QBP": "RSP", "SRM": "SRR"}
"""Message codes whose application answer is not a plain ACK."""


def structure_of(code: str, trigger: str, said: str = "") -> str:
    """The structure of table 0354, else what the sender `said` (MSH-9.3), else `code_trigger`."""
    known = STRUCTURES.get((code, trigger))
    return known or said or (f"{code}_{trigger}" if trigger else code)
