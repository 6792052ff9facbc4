"""Checks against other implementations: programs, run on purpose, not part of the tests."""
