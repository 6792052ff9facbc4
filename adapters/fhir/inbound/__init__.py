"""The FHIR edge over HTTP: routes, deadlines, authorization, answers. It carries; wire validates; mappings map."""

from __future__ import annotations

from adapters.fhir.inbound.application import app, drain
from adapters.fhir.inbound.oauth import TOKEN_PATH
from adapters.fhir.inbound.services import (
    Advice,
    Cases,
    FhirServices,
    Issued,
    Stored,
    Subscription,
    Subscriptions,
)

__all__ = [
    "TOKEN_PATH",
    "Advice",
    "Cases",
    "FhirServices",
    "Issued",
    "Stored",
    "Subscription",
    "Subscriptions",
    "app",
    "drain",
]
