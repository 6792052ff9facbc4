"""Who may do what, and what may be seen: SMART and certificates, the egress guard, sealing, tokens, log redaction."""
