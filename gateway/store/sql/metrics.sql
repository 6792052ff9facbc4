-- name: public
-- The counts behind the nine public metrics of CMS-0057-F, by tenant and line of business, from the event log alone, for
-- determinations in [$1, $2). A service line counts once, with its first determination; its time runs from the receipt of the
-- request or update that first held it. An appeal counts apart from what it appeals, and drugs not at all. It is late when the
-- clock that ran then, extensions included, had run out; where the line of business has none, never. $3: one tenant, or null.
WITH line AS (
    SELECT e.tenant, e.workflow_id, e.version, e.timestamp, i.sequence, i.action, i.service, coalesce(i.appeal, false) AS appeal,
           CASE WHEN i.action IN ('A1', 'A2', 'A6') THEN 'approved' WHEN i.action = 'A3' THEN 'denied' END AS result
      FROM workflow.workflow_events e,
           jsonb_to_recordset(e.event_data -> 'items') AS i (sequence int, action text, service text, appeal boolean, drug boolean)
     WHERE e.event_type = 'DecisionMade' AND e.event_data ->> 'caseType' LIKE 'authorization.%' AND NOT coalesce(i.drug, false)
       AND ($3::text IS NULL OR e.tenant = $3)
), seen AS (
    SELECT workflow_id, sequence, min(version) AS version FROM line GROUP BY workflow_id, sequence
), determined AS (
    SELECT DISTINCT ON (l.workflow_id, l.sequence) l.*, s.version AS seen_at
      FROM line l JOIN seen s USING (workflow_id, sequence)
     WHERE l.result IS NOT NULL AND NOT l.appeal ORDER BY l.workflow_id, l.sequence, l.version
), extended AS (
    SELECT workflow_id, min(version) AS version FROM workflow.workflow_events WHERE event_type = 'ClockExtended' GROUP BY workflow_id
), won AS (
    SELECT workflow_id, sequence, max(version) AS version FROM line
     WHERE appeal AND result = 'approved' AND timestamp < $2 GROUP BY workflow_id, sequence
), counted AS (
    SELECT d.tenant, d.result, d.service, opened.priority, opened.business,
           extract(epoch FROM d.timestamp - asked.received_at)::float8 / 3600 AS hours,
           coalesce(extended.version < d.version, false) AS extended,
           d.result = 'denied' AND coalesce(won.version > d.version, false) AS overturned,
           coalesce(opened.legal AND d.timestamp > clock.due_at, false) AS late
      FROM determined d
      LEFT JOIN extended USING (workflow_id)
      LEFT JOIN won USING (workflow_id, sequence)
      JOIN LATERAL (SELECT o.event_data ->> 'priority' AS priority, coalesce(o.event_data ->> 'line', 'all') AS business,
                           coalesce((o.event_data ->> 'legalClock')::boolean, true) AS legal FROM workflow.workflow_events o
                     WHERE o.workflow_id = d.workflow_id AND o.event_type = 'CaseOpened') AS opened ON true
      LEFT JOIN LATERAL (SELECT (c.event_data ->> 'dueAt')::timestamptz AS due_at FROM workflow.workflow_events c
                          WHERE c.workflow_id = d.workflow_id AND c.version < d.version AND c.event_data ? 'dueAt'
                          ORDER BY c.version DESC LIMIT 1) AS clock ON true
      JOIN LATERAL (SELECT (m.event_data ->> 'receivedAt')::timestamptz AS received_at FROM workflow.workflow_events m
                     WHERE m.workflow_id = d.workflow_id AND m.version < d.seen_at
                       AND m.event_type IN ('CaseOpened', 'MessageReceived')
                       AND m.event_data ->> 'type' IN ('authorization.request', 'authorization.update')
                     ORDER BY m.version DESC LIMIT 1) AS asked ON true
     WHERE d.timestamp >= $1 AND d.timestamp < $2
)
SELECT tenant, business AS line, array_agg(DISTINCT service ORDER BY service) FILTER (WHERE service <> '') AS services,
       count(*) FILTER (WHERE priority = 'standard') AS standard,
       count(*) FILTER (WHERE priority = 'standard' AND result = 'approved') AS standard_approved,
       count(*) FILTER (WHERE priority = 'standard' AND result = 'denied') AS standard_denied,
       count(*) FILTER (WHERE priority = 'standard' AND overturned) AS standard_overturned,
       count(*) FILTER (WHERE extended AND result = 'approved') AS extended_approved,
       count(*) AS determined,
       count(*) FILTER (WHERE priority = 'expedited') AS expedited,
       count(*) FILTER (WHERE priority = 'expedited' AND result = 'approved') AS expedited_approved,
       count(*) FILTER (WHERE priority = 'expedited' AND result = 'denied') AS expedited_denied,
       count(*) FILTER (WHERE priority = 'standard' AND late) AS standard_late,
       count(*) FILTER (WHERE priority = 'expedited' AND late) AS expedited_late,
       avg(hours) FILTER (WHERE priority = 'standard') AS standard_mean,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY hours) FILTER (WHERE priority = 'standard') AS standard_median,
       avg(hours) FILTER (WHERE priority = 'expedited') AS expedited_mean,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY hours) FILTER (WHERE priority = 'expedited') AS expedited_median
  FROM counted GROUP BY tenant, business ORDER BY tenant, business;

-- name: keep
-- Keep one figure as it was published.
INSERT INTO workflow.workflow_metrics (tenant, metric_name, metric_value, dimensions) VALUES ($1, $2, $3, $4);
