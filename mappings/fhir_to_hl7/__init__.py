"""FHIR and decisions → HL7 v2: the answers RPA^I08–I11 and RRI^I12–I15, and ADT and ORU notifications.

Standard: HL7 v2.5.1, chapters 3 (ADT), 7 (ORU), 11 (referral). The answer repeats the request's own segments, in its
delimiters and character set; what the decision says stands in RF1-1 (table 0283), AUT and NTE.
"""

from .authorization import error_answer, render_answer
from .notifications import admission, results

__all__ = ["admission", "error_answer", "render_answer", "results"]
