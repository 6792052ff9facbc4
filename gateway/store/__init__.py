"""Inbox, cases, events, deliveries, journal, blobs: functions over named queries (sql/*.sql)."""
