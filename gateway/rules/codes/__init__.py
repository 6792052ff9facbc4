"""Public code lists as the agencies publish them → value sets of a rule set, with where they came from.

    codes = read_codes(data, "icd10cm")                         HCPCS II, ICD-10-CM, POS, tables of LCD and NCD articles
    chosen = select(codes, ["E11*", "I10"], on=date(2026, 1, 1))
    value_set(chosen, name="diabetes", version="FY2026", …)     → a `<name>.codes.json` beside the rules

Nothing is fetched: the user downloads a file and stays bound by its licence. Codes of licensed systems in a public file
(CPT, CDT) are left out unless the user says that they are licensed.
"""
