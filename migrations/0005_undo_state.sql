-- The tracker tells what became of each run: undone, an undo under way, or neither.

ALTER TABLE tracker ADD COLUMN undone_by text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tracker ADD COLUMN undo_under_way text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tracker ADD COLUMN undo_state text COLLATE "C" NOT NULL GENERATED ALWAYS AS (
    CASE WHEN undo_under_way <> '' THEN 'under_way' WHEN undone_by <> '' THEN 'undone' ELSE 'none' END) STORED;
COMMENT ON COLUMN tracker.undone_by IS 'Run ID of the undo that took the run back whole';
COMMENT ON COLUMN tracker.undo_under_way IS 'Run ID of the undo that has begun and not ended';
CREATE INDEX tracker_by_undo_state ON tracker (account_id, generation, preview, undo_state, started_at, run_id);

-- Rows that were filled before: what their events say, up to the position that their generation has processed.
WITH told AS (
    SELECT e.account_id, e.run_id, p.generation, e.topic, e.position,
        convert_from(e.payload, 'UTF8')::json ->> 'undo_run_id' AS undo_run_id,
        coalesce((convert_from(e.payload, 'UTF8')::json ->> 'is_whole')::boolean, false) AS is_whole
    FROM events e JOIN projections p
        ON p.account_id = e.account_id AND p.name = 'tracker' AND p.state <> 'retired' AND e.position <= p.position
    WHERE e.topic IN ('undo-begun', 'undo-ended', 'undo-reversed')
), under_way AS (
    SELECT DISTINCT ON (account_id, generation, run_id) account_id, generation, run_id,
        CASE WHEN topic = 'undo-begun' THEN undo_run_id ELSE '' END AS undo_run_id
    FROM told WHERE topic IN ('undo-begun', 'undo-ended') ORDER BY account_id, generation, run_id, position DESC
), undone AS (
    SELECT DISTINCT ON (account_id, generation, run_id) account_id, generation, run_id,
        CASE WHEN topic = 'undo-ended' THEN undo_run_id ELSE '' END AS undo_run_id
    FROM told WHERE topic = 'undo-reversed' OR is_whole ORDER BY account_id, generation, run_id, position DESC
)
UPDATE tracker AS t SET undo_under_way = u.undo_run_id, undone_by = coalesce(d.undo_run_id, '')
FROM under_way u LEFT JOIN undone d USING (account_id, generation, run_id)
WHERE t.account_id = u.account_id AND t.generation = u.generation AND t.run_id = u.run_id;
