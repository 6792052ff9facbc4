"""Pure translation between wire messages and the canonical form: FHIR R4 plus facts (facts.yaml)."""
