"""SOAP 1.2 after the CAQH CORE connectivity rule vC2.2.0."""
