"""The CORE SOAP edge.

edge      HTTP in, `Accept` in the middle, an envelope, fault or receipt out
answers   what each PayloadID was answered, so that the same one is answered once
"""

from __future__ import annotations

from adapters.soap.inbound.answers import Answer
from adapters.soap.inbound.edge import Credentials, Services, routes

__all__ = ["Answer", "Credentials", "Services", "routes"]
