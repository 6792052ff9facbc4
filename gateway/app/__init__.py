"""The composition root: settings → objects → roles. The only package that builds things.

core        connections, keys, stages
policies    the rule sets in force
fhir        what the FHIR edge is given
hl7         the codec of the MLLP edge
deliveries  senders, renderers and ways back of decisions
"""

from __future__ import annotations

from gateway.app.core import App, needed, now

__all__ = ["App", "needed", "now"]
"""`gateway.app.App` is what a role is given."""
