"""HL7 version 2 over MLLP (HL7 v2.9 chapter 2; MLLP release 1 and 2)."""
