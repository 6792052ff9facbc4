"""HL7 v2 → FHIR R4: one message becomes one Bundle of type message, and a ledger of every field.

Standard: HL7 v2.3–2.8.1 (chapters 3–12) read by HL7's v2-to-FHIR guide (STU 1): vocabulary, data types and simple
segment rows run from tables (tables/hl7); structure and grouping are code driven by tables/hl7/own/structures.yaml.
The authorization family (REF, RRI, RQA, RPA), which the guide lacks, is ours: see authorization.py.
"""

from .convert import Conversion, convert
from .program import Program, build, default_program, load_program

__all__ = ["Conversion", "Program", "build", "convert", "default_program", "load_program"]
