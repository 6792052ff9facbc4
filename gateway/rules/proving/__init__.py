"""Proving a policy: scenarios, coverage of every condition, mutants, conflicts and dead rules, shadow runs. Pure."""
