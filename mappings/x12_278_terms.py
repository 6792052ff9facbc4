"""Names shared by the two directions of the 278 (005010X217) ⇄ PAS mapping: extensions and code systems."""

from __future__ import annotations

from adapters.fhir.wire.terms import EXTENSION, X12

CONDITION = EXTENSION + "conditionCode"
HOME_HEALTH = EXTENSION + "homeHealthCareInformation"
PATIENT_STATUS = EXTENSION + "patientStatus"
TIMING = "urn:x12:005010:HSD"
"""Carries HSD03–HSD08 (how often, over what period) beside the quantity."""
EVENT_REVIEW = "urn:x12:005010:UM"
"""Carries the event's own UM01 and UM03 where lines have theirs, and UM07–UM10, which PAS has no place for."""
SERVICE_NOTE = "urn:x12:005010:MSG"
TRACE_ASSIGNER = "urn:trnorg:"
"""Identifier system of a trace number: this and TRN03."""
SUBMITTER = "urn:x12:005010:BHT03"
"""Identifier system of the submitter's transaction number, Bundle.identifier."""
PLACE_OF_SERVICE = "https://www.cms.gov/Medicare/Coding/place-of-service-codes/Place_of_Service_Code_Set"
BILL_TYPE = "https://www.nubc.org/CodeSystem/TypeOfBill"
PRIORITY = "http://terminology.hl7.org/CodeSystem/processpriority"
DIAGNOSIS_TYPE = "http://terminology.hl7.org/CodeSystem/ex-diagnosistype"
RELATIONSHIP = "http://terminology.hl7.org/CodeSystem/subscriber-relationship"
REVENUE = "https://www.nubc.org/CodeSystem/RevenueCodes"
MILITARY = X12 + "584"
ACCIDENT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"

REQUEST_TYPE_ELEMENT, CERTIFICATION_ELEMENT, LEVEL_ELEMENT, CATEGORY_ELEMENT = "1525", "1322", "1338", "1365"
TRANSMISSION_ELEMENT, REPORT_ELEMENT, PATTERN_ELEMENT = "756", "755", "678"
DATE_ELEMENT, RELATIONSHIP_ELEMENT, CAUSE_ELEMENT, UNIT_ELEMENT = "374", "1069", "1362", "673"
MEASURE_ELEMENT, RELEASE_ELEMENT, DELAY_ELEMENT = "355", "1363", "1514"
CONDITION_CATEGORY_ELEMENT, CONDITION_ELEMENT, PROGNOSIS_ELEMENT = "1136", "1321", "923"

MAXIMUM_DIAGNOSES, MAXIMUM_EVENT_PROVIDERS, MAXIMUM_SERVICE_PROVIDERS = 12, 14, 10
"""How many the 278 carries (PAS 2.2.1, Claim comments)."""
