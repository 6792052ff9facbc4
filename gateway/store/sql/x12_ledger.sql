-- name: register
-- Note an interchange; a row comes back only when it is new, or the older one has left the window.
INSERT INTO workflow.interchanges AS i (tenant, sender, receiver, control_number, usage, sha256, received_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (tenant, sender, receiver, control_number, usage) DO UPDATE
   SET sha256 = excluded.sha256, received_at = excluded.received_at, finished = false, acknowledgement = NULL
 WHERE i.received_at < excluded.received_at - make_interval(days => $8)
RETURNING sha256;

-- name: known
-- What is known of an interchange.
SELECT sha256, finished, acknowledgement FROM workflow.interchanges
 WHERE tenant = $1 AND sender = $2 AND receiver = $3 AND control_number = $4 AND usage = $5;

-- name: finish
-- Store the answer to an interchange.
UPDATE workflow.interchanges SET finished = true, acknowledgement = $7
 WHERE tenant = $1 AND sender = $2 AND receiver = $3 AND control_number = $4 AND usage = $5 AND sha256 = $6;

-- name: allocate
-- Take the next numbers of a counter; committed before they are used, so none is handed out twice.
INSERT INTO workflow.control_numbers AS c (tenant, ours, partner, level, last) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant, ours, partner, level) DO UPDATE SET last = c.last + excluded.last RETURNING last;
