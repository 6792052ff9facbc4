"""The rule engine: policy as typed documents, three-valued, traced. Pure."""
