"""The edges: one folder per protocol, the same six entries in each (CONTRIBUTING, clause 2)."""
