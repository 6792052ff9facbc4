"""FEEL for decision tables: S-FEEL (DMN 1.5 chapter 9) and the part of FEEL (chapter 10) that table models lean on.

Standard: OMG Decision Model and Notation 1.5, chapters 9 and 10. Served: literals, arithmetic on 34-digit decimals,
three-valued logic, comparison, intervals, unary tests, if, for, some, every, lists, filters, contexts, paths, function
definition and invocation by position or name, names with spaces, dates, times, durations, the built-ins of builtins.py.
Limits: text 20,000 characters, nesting 40, 100,000 steps per evaluation, lists of 100,000 items, exponents below 1,000.
Not handled: regular expressions (matches, replace, split by pattern: they cannot be bounded), external functions (they
would run foreign code), named time zones.
"""
