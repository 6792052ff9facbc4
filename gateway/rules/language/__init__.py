"""The readable language: the same model as text that a clinician can read aloud, print ↔ parse without loss.

    rule MN-O2-001 version 3 "Home oxygen, qualifying saturation"
      category medical necessity
      priority 500
      in force from 2026-01-01 until 2027-01-01
    when service is in "home-oxygen"
      and any observation "SpO2" at most 88 % within 30 days
    then approve for 12 months
      because "Saturation of 88 % or less." (NCD 240.2)

Grammar (words may be spread over lines; `#` begins a comment; grammar.ebnf beside this file is the whole of it):

    condition  = and {"or" and} ;  and = not {"and" not} ;  not = "not" not | "(" condition ")" | quantified | compared
    quantified = ("any" | "every" | "no" | "latest" | ("at least" | "at most" | "exactly") number) ["other"] list
                 [value-set] [predicate | "with" "(" condition ")"] [window]
    compared   = operand predicate
    predicate  = "is known" | "is" ["not"] "in" choice | "is under" … | "is" ["not"] value
               | ("less than" | "at most" | "more than" | "at least" | "before" | "on or before" | "after"
               | "on or after") value | "between" value "and" value | "within" duration ("before" | "after") fact

Facts are called by their label in the catalogue, or by path. A string after `in` is a value set; elsewhere it is a
value. Limits: 1 MB of text, 32 levels, 2,000 nodes. Not handled: comments do not survive print (keep them in `source`).
"""

from __future__ import annotations

from gateway.rules.language.parser import parse_condition, parse_rules
from gateway.rules.language.predicates import compile_condition
from gateway.rules.language.printer import print_condition, print_rule, print_rules

__all__ = ["compile_condition", "parse_condition", "parse_rules", "print_condition", "print_rule", "print_rules"]
