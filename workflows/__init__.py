"""Durable process: definitions as data (definitions/*.yaml), run by one interpreter."""
