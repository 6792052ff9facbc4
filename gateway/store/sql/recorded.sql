-- name: decided_since
-- Cases in which rules decided since a moment, the newest decision first.
SELECT workflow_id, max(timestamp) AS newest FROM workflow.workflow_events
 WHERE tenant = $1 AND event_type = 'DecisionMade' AND event_data->>'release' <> '' AND timestamp >= $2
 GROUP BY workflow_id ORDER BY newest DESC;
