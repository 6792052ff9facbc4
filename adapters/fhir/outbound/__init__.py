"""FHIR outwards: one attempt to hand bytes to a FHIR server or a rest-hook endpoint. Retries belong to deliver."""

from __future__ import annotations

from adapters.fhir.outbound.client import Authorize, FhirEndpoint, FhirSender
from adapters.fhir.outbound.rest_hook import RestHookSender, Target, channel_target

__all__ = [
    "Authorize",
    "FhirEndpoint",
    "FhirSender",
    "RestHookSender",
    "Target",
    "channel_target",
]
