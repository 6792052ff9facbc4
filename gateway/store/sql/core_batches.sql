-- name: expect
-- A batch was taken: its results are to be fetched.
INSERT INTO workflow.core_batches (idempotency_key, tenant, endpoint, sent_at, next_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING;

-- name: claim
-- The batch that is due first, for as long as asking about it may take; nobody else gets it meanwhile.
UPDATE workflow.core_batches SET polls = polls + 1, next_at = $1::timestamptz + make_interval(secs => $2)
 WHERE idempotency_key = (SELECT idempotency_key FROM workflow.core_batches
                           WHERE state = 'open' AND next_at <= $1::timestamptz AND endpoint = ANY($3::text[])
                           ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING *;

-- name: later
-- Nothing final yet.
UPDATE workflow.core_batches SET next_at = $2, acknowledged = $3 WHERE idempotency_key = $1;

-- name: close
-- Nothing more is asked about it.
UPDATE workflow.core_batches SET state = $2 WHERE idempotency_key = $1;
