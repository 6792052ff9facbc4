"""The gateway's own REST interface for portals and operators."""
