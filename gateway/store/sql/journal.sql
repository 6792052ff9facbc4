-- name: write
-- Journal one message; the same message read twice from Kafka is journaled once.
INSERT INTO workflow.message_journal
    (event_id, tenant, topic, partition, record_offset, type, source, format, subject, message_key, dedupe_key,
     body_sha256, size, correlation_id, causation_id, parked, ledger, body, received_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) ON CONFLICT DO NOTHING;

-- name: find
-- Messages by event id, correlation id, case token or case id.
SELECT j.event_id, j.tenant, j.topic, j.partition, j.record_offset, j.type, j.source, j.format, j.subject, j.correlation_id,
       j.parked, j.received_at, j.journaled_at, j.size, i.case_id
  FROM workflow.message_journal j
  LEFT JOIN workflow.inbox i ON i.event_id = j.event_id
 WHERE j.event_id::text = $1 OR j.correlation_id = $1 OR j.subject = $1 OR i.case_id::text = $1
 ORDER BY j.received_at LIMIT 50;

-- name: body
-- The sealed body of one message.
SELECT tenant, body FROM workflow.message_journal WHERE event_id = $1;

-- name: recent
-- The newest messages.
SELECT j.event_id, j.type, j.source, j.topic, j.parked, j.received_at, i.case_id FROM workflow.message_journal j
  LEFT JOIN workflow.inbox i ON i.event_id = j.event_id ORDER BY j.received_at DESC LIMIT $1;
