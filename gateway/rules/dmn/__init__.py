"""DMN models: read, evaluate, and write back decision tables.

Standard: OMG DMN 1.5 (any 1.x namespace is read), chapters 7, 8 and the boxed expressions of chapter 10: decision
tables, literal expressions, contexts, invocations, lists, relations, functions, conditionals, filters, iterators;
business knowledge models, decision services, item definitions with allowed values, imports of models given with it.
Limits: 4 MB of XML, no document type definition, no entity, no external reference is followed; FEEL's limits.
Not handled: Java and PMML functions (refused: foreign code), diagram interchange (dropped on export).
"""

from __future__ import annotations

from gateway.rules.dmn.evaluation import Model, read_model

__all__ = ["Model", "read_model"]
