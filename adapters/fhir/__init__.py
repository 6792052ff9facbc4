"""FHIR R4 over HTTP: Da Vinci PAS 2.2.1 and 2.0.1, plain R4 intake, CDS Hooks (HL7 FHIR R4 4.0.1)."""
