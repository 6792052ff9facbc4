-- name: opened
-- A case began.
INSERT INTO workflow.case_view (case_id, tenant, type, status, priority, version, received_at, due_at)
VALUES ($1, $2, $3, 'open', $4, $5, $6, $7) ON CONFLICT DO NOTHING;

-- name: decided
-- A decision was made; a pended one leaves the decision time open.
UPDATE workflow.case_view SET version = $2, status = $3, action = $4, step = $5, decided_at = coalesce($6, decided_at)
 WHERE case_id = $1 AND version < $2;

-- name: closed
-- A case ended.
UPDATE workflow.case_view SET version = $2, status = $3, completed_at = $4 WHERE case_id = $1 AND version < $2;

-- name: moved
-- Anything else moves the version, and the step when it names one.
UPDATE workflow.case_view SET version = $2, step = coalesce($3, step) WHERE case_id = $1 AND version < $2;

-- name: clocked
-- A clock was extended, or a message started a new one.
UPDATE workflow.case_view SET version = $2, due_at = $3 WHERE case_id = $1 AND version < $2;

-- name: clear
-- Forget the read model, before it is rebuilt from the log.
DELETE FROM workflow.case_view;

-- name: everything
-- The whole read model, for comparison with a rebuilt one.
SELECT * FROM workflow.case_view ORDER BY case_id;
