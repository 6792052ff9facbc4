"""The gateway: accept → start → decide → deliver.

`core` says what things are, `stages` what happens to a message, `rules` how policy is read, `infra` and `store`
are the doors to Kafka, Temporal and PostgreSQL, `app` builds everything, `cli` starts it.
"""
