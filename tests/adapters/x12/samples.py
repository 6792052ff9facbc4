"""Synthetic interchanges for the tests. No real person or company is in them."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.x12.wire import Envelope, Loop

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
NPI = "1234567893"

CLAIM_HEAD = """\
ISA*00*          *00*          *ZZ*CLINIC01       *ZZ*PLAN01         *260102*0304*^*00501*000000042*1*T*:~
GS*HC*CLINIC01*PLAN01*20260102*0304*42*X*005010X222A1~
ST*837*0001*005010X222A1~
BHT*0019*00*REF1*20260102*0304*CH~
NM1*41*2*TESTBILLER*****46*TB1~
PER*IC*ALEX*TE*5550001111~
NM1*40*2*TESTPLAN*****46*TP1~
HL*1**20*1~
NM1*85*2*TESTCLINIC*****XX*1234567893~
N3*1 TEST WAY~
N4*TESTVILLE*OH*432150000~
REF*EI*123456780~
"""

CLAIM_UNIT = """HL*{level}*1*22*0~
SBR*P*18*G1******CI~
NM1*IL*1*ZZTEST{number}*PAT****MI*M{number:07d}~
N3*2 TEST WAY~
N4*TESTVILLE*OH*43215~
DMG*D8*19800102*F~
NM1*PR*2*TESTPLAN*****PI*TP1~
CLM*C{number:07d}*60***11:B:1*Y*A*Y*I~
HI*ABK:J0300~
LX*1~
SV1*HC:99213*40*UN*1***1~
DTP*472*D8*20260101~
LX*2~
SV1*HC:87070*20*UN*1***1~
DTP*472*D8*20260101~
"""


def claims(count: int = 2, *, head: str = CLAIM_HEAD) -> str:
    """An 837P interchange of so many claims (C0000001 and on), one segment a line."""
    units = "".join(CLAIM_UNIT.format(level=at + 1, number=at) for at in range(1, count + 1))
    body = head + units
    segments = body[body.index("ST*") :].count("~") + 1
    return f"{body}SE*{segments}*0001~\nGE*1*42~\nIEA*1*000000042~\n"


def envelope(**changes: object) -> Envelope:
    """Where test interchanges go."""
    values: dict[str, object] = {
        "sender": "PLAN01", "receiver": "CLINIC01", "time": NOW, "interchange_number": 7,
        "group_number": 8, "usage": "T",
    }  # fmt: skip
    return Envelope(**(values | changes))  # type: ignore[arg-type]


def review_request(*, dependent: bool = False, services: int = 1) -> Loop:
    """A 278 request."""
    tree = Loop("278")
    tree.add("BHT", "0007", "13", "TRACE1", "20260102", "0304")
    payer = tree.add_loop("2000A")
    payer.add("HL", "20")
    payer.add_loop("2010A").add("NM1", "X3", "2", "TESTPLAN", "", "", "", "", "PI", "TP1")
    requester = payer.add_loop("2000B")
    requester.add("HL", "21")
    requester.add_loop("2010B").add("NM1", "1P", "2", "TESTCLINIC", "", "", "", "", "XX", NPI)
    subscriber = requester.add_loop("2000C")
    subscriber.add("HL", "22")
    subscriber.add_loop("2010C").add("NM1", "IL", "1", "ZZTEST", "PAT", "", "", "", "MI", "M0000001")
    patient = subscriber
    if dependent:
        patient = subscriber.add_loop("2000D")
        patient.add("HL", "23")
        patient.add_loop("2010D").add("NM1", "QC", "1", "ZZTEST", "KID")
    event = patient.add_loop("2000E")
    event.add("HL", "EV")
    event.add("TRN", "1", "T1", "9012345678")
    event.add("UM", "HS", "I", "3", ("11", "B"))
    event.add("HI", ("BF", "J0300", "D8", "20260101"))
    for at in range(services):
        service = event.add_loop("2000F")
        service.add("HL", "SS")
        service.add("TRN", "1", f"T1-{at + 1}", "9012345678")
        service.add("UM", "HS", "I")
        service.add("DTP", "472", "D8", "20260201")
        service.add("SV1", ("HC", "99213", "25"), "40", "UN", "1")
    return tree


def review_response(action: str = "A1", reasons: tuple[str, ...] = ()) -> Loop:
    """A 278 response with one decision."""
    tree = Loop("278")
    tree.add("BHT", "0007", "11", "TRACE1", "20260102", "0305", "18")
    payer = tree.add_loop("2000A")
    payer.add("HL", "20")
    payer.add_loop("2010A").add("NM1", "X3", "2", "TESTPLAN", "", "", "", "", "PI", "TP1")
    requester = payer.add_loop("2000B")
    requester.add("HL", "21")
    requester.add_loop("2010B").add("NM1", "1P", "2", "TESTCLINIC", "", "", "", "", "XX", NPI)
    subscriber = requester.add_loop("2000C")
    subscriber.add("HL", "22")
    subscriber.add_loop("2010C").add("NM1", "IL", "1", "ZZTEST", "PAT", "", "", "", "MI", "M0000001")
    event = subscriber.add_loop("2000E")
    event.add("HL", "EV")
    event.add("TRN", "2", "T1", "9012345678")
    event.add("UM", "HS", "I", "3", ("11", "B"))
    number = "AUTH1" if action in ("A1", "A2", "A6") else ""
    event.add("HCR", action, number, list(reasons))
    return tree


def remittance(paid: str = "34", claim_paid: str = "34", adjusted: str = "26") -> Loop:
    """An 835 of one claim charged 60."""
    tree = Loop("835")
    tree.add("BPR", "I", paid, "C", "CHK", *[""] * 11, "20260102")
    tree.add("TRN", "1", "CHECK1", "1512345678")
    payer = tree.add_loop("1000A")
    payer.add("N1", "PR", "TESTPLAN")
    payer.add("N3", "1 PLAN WAY")
    payer.add("N4", "TESTVILLE", "OH", "43215")
    payer.add("PER", "BL", "HELPDESK", "TE", "5550002222")
    tree.add_loop("1000B").add("N1", "PE", "TESTCLINIC", "XX", NPI)
    header = tree.add_loop("2000")
    header.add("LX", "1")
    claim = header.add_loop("2100")
    claim.add("CLP", "C0000001", "1", "60", claim_paid, "0", "12", "ICN1")
    claim.add("CAS", "CO", "45", adjusted)
    claim.add("NM1", "QC", "1", "ZZTEST", "PAT", "", "", "", "MI", "M0000001")
    return tree
