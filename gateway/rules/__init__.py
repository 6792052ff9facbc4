"""The rule engine: policy as typed documents, three-valued, traced, released under a content hash. Pure.

model → documents (typed) and language (text) → check → release → engine (outcome, record) → explain.
Beside them: tables (decision tables), feel and dmn (the DMN exchange format), lifecycle (versions, approval, diffs),
proving (scenarios, coverage, mutation, shadow runs) and templates (policies shipped).
"""
