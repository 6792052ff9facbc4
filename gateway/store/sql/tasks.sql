-- name: open
-- Put a task on a role's list; an open one is handed to the new role, or is due at another time.
INSERT INTO workflow.human_tasks (task_id, tenant, case_id, role, step_id, due_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (task_id) DO UPDATE SET role = excluded.role, due_at = excluded.due_at;

-- name: close
-- Take a task off the list.
UPDATE workflow.human_tasks SET state = 'closed', closed_at = now() WHERE task_id = $1;

-- name: worklist
-- Open tasks, the most urgent first.
SELECT task_id, tenant, case_id, role, step_id, due_at, created_at FROM workflow.human_tasks
 WHERE state = 'open' AND ($1::text IS NULL OR role = $1) ORDER BY due_at LIMIT $2;

-- name: owner
-- The case of an open task.
SELECT i.workflow_key AS subject, i.run FROM workflow.human_tasks t JOIN workflow.workflow_instances i ON i.id = t.case_id
 WHERE t.task_id = $1 AND t.state = 'open';

-- name: of_case
-- The workflow of a case.
SELECT workflow_key AS subject, run FROM workflow.workflow_instances WHERE id = $1;
