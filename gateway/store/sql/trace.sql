-- name: cases
-- Cases that an id means: the case itself, its business token, or the case of a message.
SELECT i.id FROM workflow.workflow_instances i WHERE i.id::text = $1 OR i.workflow_key = $1
UNION SELECT case_id FROM workflow.inbox WHERE event_id::text = $1
UNION SELECT b.case_id FROM workflow.message_journal j JOIN workflow.inbox b ON b.event_id = j.event_id WHERE j.correlation_id = $1;

-- name: messages
-- The messages of these cases, and the one that was asked for.
SELECT j.* FROM workflow.message_journal j LEFT JOIN workflow.inbox b ON b.event_id = j.event_id
 WHERE j.event_id::text = $1 OR j.correlation_id = $1 OR b.case_id = ANY ($2::uuid[]) ORDER BY j.received_at LIMIT 100;

-- name: events
-- What happened to a case.
SELECT event_type, event_data, version, timestamp FROM workflow.workflow_events WHERE workflow_id = $1 ORDER BY version;

-- name: deliveries
-- What was sent for a case.
SELECT endpoint, state, attempts, created_at, delivered_at, receipt FROM workflow.deliveries WHERE case_id = $1 ORDER BY created_at;

-- name: by_token
-- The newest case that carries a lookup token.
SELECT k.case_id FROM workflow.case_keys k JOIN workflow.workflow_instances i ON i.id = k.case_id
 WHERE k.tenant = $1 AND k.token = $2 ORDER BY i.created_at DESC LIMIT 1;
