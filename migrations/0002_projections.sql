-- The read models and what their workers need. Everything here can be filled again from the events.
--
-- Each table's rows belong to a generation of its projection: a rebuild fills a fresh generation beside the live one
-- and swaps. Readers take the live generation from `projections` first, in the same transaction.
-- All text that is compared or sorted has the C collation: the order of code points, the same on every machine.

CREATE TABLE projections (
    account_id      uuid        NOT NULL REFERENCES accounts (account_id),
    name            text        NOT NULL,
    generation      integer     NOT NULL,
    state           text        NOT NULL CONSTRAINT state_is_known CHECK (state IN ('live', 'filling', 'retired')),
    position        bigint      NOT NULL DEFAULT 0 CONSTRAINT tracking_is_not_negative CHECK (position >= 0),
    failed_position bigint,
    failure         text,
    changed_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, name, generation),
    CONSTRAINT failure_whole CHECK ((failed_position IS NULL) = (failure IS NULL))
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX one_live_generation ON projections (account_id, name) WHERE state = 'live';
COMMENT ON TABLE projections IS 'one row a generation of an account''s projection; name is its table''s';
COMMENT ON COLUMN projections.position IS 'tracking position: the last position whose event is in the rows; changes in their transaction';
COMMENT ON COLUMN projections.failure IS 'why the projection stands still: the event at failed_position cannot be processed';
COMMENT ON COLUMN projections.changed_at IS 'when the state changed or the projection last moved';

CREATE TABLE leases (
    account_id uuid        NOT NULL REFERENCES accounts (account_id),
    purpose    text        NOT NULL,
    holder     text        NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, purpose)
) WITH (fillfactor = 50);
COMMENT ON TABLE leases IS 'who works on an account now; saves double work only, what keeps it right is the tracking position';

CREATE TABLE tracker (
    account_id    uuid        NOT NULL,
    generation    integer     NOT NULL,
    run_id        text        COLLATE "C" NOT NULL,
    preview       boolean     NOT NULL,
    kind          text        COLLATE "C" NOT NULL,
    trigger       text        COLLATE "C" NOT NULL,
    status        text        COLLATE "C" NOT NULL DEFAULT 'running',
    app           text        COLLATE "C" NOT NULL,
    module        text        COLLATE "C" NOT NULL,
    object_type   text        COLLATE "C" NOT NULL,
    template      text        COLLATE "C" NOT NULL,
    user_shown    text        COLLATE "C" NOT NULL,
    recipe        text        COLLATE "C" NOT NULL,
    recipe_run_id text        COLLATE "C" NOT NULL,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz NOT NULL DEFAULT 'infinity',
    duration_us   bigint      NOT NULL GENERATED ALWAYS AS (CASE WHEN finished_at = 'infinity' THEN -1
                              ELSE (extract(epoch FROM finished_at - started_at) * 1000000)::bigint END) STORED,
    updated       bigint      NOT NULL DEFAULT 0,
    created       bigint      NOT NULL DEFAULT 0,
    deleted       bigint      NOT NULL DEFAULT 0,
    unmodified    bigint      NOT NULL DEFAULT 0,
    other         bigint      NOT NULL DEFAULT 0,
    failed        bigint      NOT NULL DEFAULT 0,
    succeeded     bigint      NOT NULL GENERATED ALWAYS AS (updated + created + deleted + unmodified + other) STORED,
    processed     bigint      NOT NULL
                              GENERATED ALWAYS AS (updated + created + deleted + unmodified + other + failed) STORED,
    facts         bytea       NOT NULL,
    error         bytea,
    position      bigint      NOT NULL,
    PRIMARY KEY (account_id, generation, run_id)
);
COMMENT ON TABLE tracker IS 'the Activity Tracker: one row a run; the columns are for filters and order, facts is what is shown';
COMMENT ON COLUMN tracker.template IS 'the name, else the id; in this and all text columns nothing is the empty string';
COMMENT ON COLUMN tracker.user_shown IS 'the name, else the e-mail address, else the id';
COMMENT ON COLUMN tracker.finished_at IS 'infinity while the run runs';
COMMENT ON COLUMN tracker.duration_us IS 'microseconds; -1 while the run runs';
COMMENT ON COLUMN tracker.facts IS 'the run-started event''s payload, exact';
COMMENT ON COLUMN tracker.error IS 'JSON of code and message of the run-failed event';
COMMENT ON COLUMN tracker.position IS 'the last position that changed this row';

-- One index serves a column both as order and as filter in the order of started_at: its value, then started_at, run_id.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['kind', 'trigger', 'status', 'app', 'module', 'object_type', 'template', 'user_shown',
            'recipe', 'recipe_run_id', 'finished_at', 'duration_us', 'updated', 'created', 'deleted', 'unmodified',
            'other', 'failed', 'succeeded', 'processed'] LOOP
        EXECUTE format('CREATE INDEX tracker_by_%s ON tracker'
                       ' (account_id, generation, preview, %I, started_at, run_id)', name, name);
    END LOOP;
END $$;
CREATE INDEX tracker_by_started_at ON tracker (account_id, generation, preview, started_at, run_id);
CREATE INDEX tracker_by_run_id ON tracker (account_id, generation, preview, run_id);
CREATE INDEX tracker_with_failures ON tracker (account_id, generation, preview, started_at, run_id) WHERE failed > 0;

CREATE TABLE tracker_types (
    account_id  uuid        NOT NULL,
    generation  integer     NOT NULL,
    object_type text        COLLATE "C" NOT NULL,
    preview     boolean     NOT NULL,
    started_at  timestamptz NOT NULL,
    run_id      text        COLLATE "C" NOT NULL,
    PRIMARY KEY (account_id, generation, object_type, preview, started_at, run_id)
);
COMMENT ON TABLE tracker_types IS 'the object types that a run names or that its changes touched; a recipe has its children''s too';

CREATE TABLE tracker_values (
    account_id uuid    NOT NULL,
    generation integer NOT NULL,
    facet      text    COLLATE "C" NOT NULL,
    value      text    COLLATE "C" NOT NULL,
    folded     text    COLLATE "C" NOT NULL,
    PRIMARY KEY (account_id, generation, facet, value)
);
COMMENT ON TABLE tracker_values IS 'distinct values of the tracker''s columns: for drop-downs and for finding text';
COMMENT ON COLUMN tracker_values.folded IS 'the value with its case folded';

CREATE TABLE run_changes (
    account_id  uuid        NOT NULL,
    generation  integer     NOT NULL,
    position    bigint      NOT NULL,
    sequence    bigint      NOT NULL,
    occurred_at timestamptz NOT NULL,
    failed      boolean     NOT NULL,
    preview     boolean     NOT NULL,
    run_id      text        COLLATE "C" NOT NULL,
    action      text        COLLATE "C" NOT NULL,
    object_type text        COLLATE "C" NOT NULL,
    fields      text[]      COLLATE "C" NOT NULL,
    record_id   text        COLLATE "C",
    label       text        COLLATE "C",
    message     text        COLLATE "C",
    actor       text        COLLATE "C",
    PRIMARY KEY (account_id, generation, position)
);
CREATE INDEX run_changes_by_run ON run_changes (account_id, generation, run_id, sequence);
COMMENT ON TABLE run_changes IS 'one row a change, to find it: its values stand in the event at its position';
COMMENT ON COLUMN run_changes.fields IS 'names of the fields that changed (or would have), sorted';
COMMENT ON COLUMN run_changes.message IS 'for search; like all text here with U+FFFD in place of NUL';

CREATE VIEW account_run_changes WITH (security_barrier = true) AS
    SELECT * FROM run_changes WHERE account_id = ledger_current_account();
CREATE TRIGGER refuse_other_account AFTER INSERT ON run_changes REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_other_account();
ALTER TABLE run_changes ENABLE ALWAYS TRIGGER refuse_other_account;
REVOKE ALL ON run_changes FROM PUBLIC;
GRANT INSERT ON run_changes TO ledger_service;
GRANT SELECT, DELETE ON account_run_changes TO ledger_service;

CREATE TABLE change_blocks (
    account_id uuid    NOT NULL,
    generation integer NOT NULL,
    facet      text    COLLATE "C" NOT NULL,
    value      text    COLLATE "C" NOT NULL,
    block      bigint  NOT NULL,
    PRIMARY KEY (account_id, generation, facet, value, block)
);
COMMENT ON TABLE change_blocks IS 'coarse index over run_changes, same generation: in which blocks of 4,096 positions a value occurs';
COMMENT ON COLUMN change_blocks.facet IS 'field, object_type, user, template, failed_run (Run ID of a run with failures in the block)';
COMMENT ON COLUMN change_blocks.block IS 'position / 4096, rounded down';

CREATE TABLE records (
    account_id       uuid    NOT NULL,
    generation       integer NOT NULL,
    object_type      text    COLLATE "C" NOT NULL,
    record_id        text    COLLATE "C" NOT NULL,
    originator_id    uuid    NOT NULL,
    first_position   bigint  NOT NULL,
    last_position    bigint  NOT NULL,
    changed_position bigint,
    is_present       boolean NOT NULL,
    run_id           text    COLLATE "C" NOT NULL,
    label            text    COLLATE "C",
    PRIMARY KEY (account_id, generation, object_type, record_id)
) WITH (fillfactor = 85);
COMMENT ON TABLE records IS 'each record that any event but a preview''s tells of, deleted ones too';
COMMENT ON COLUMN records.first_position IS 'the first event of the record''s stream';
COMMENT ON COLUMN records.last_position IS 'the last event of the record''s stream, of whatever result';
COMMENT ON COLUMN records.changed_position IS 'the last event that changed the record; null: none did';
COMMENT ON COLUMN records.is_present IS 'whether the fold of its events gives a state';
COMMENT ON COLUMN records.run_id IS 'the run of the event at last_position';
COMMENT ON COLUMN records.label IS 'the last label that was given';

CREATE TABLE activity_daily (
    account_id  uuid    NOT NULL,
    generation  integer NOT NULL,
    day         date    NOT NULL,
    user_shown  text    COLLATE "C" NOT NULL,
    template    text    COLLATE "C" NOT NULL,
    preview     boolean NOT NULL,
    runs        bigint  NOT NULL DEFAULT 0,
    failed_runs bigint  NOT NULL DEFAULT 0,
    updated     bigint  NOT NULL DEFAULT 0,
    created     bigint  NOT NULL DEFAULT 0,
    deleted     bigint  NOT NULL DEFAULT 0,
    unmodified  bigint  NOT NULL DEFAULT 0,
    other       bigint  NOT NULL DEFAULT 0,
    failed      bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, generation, day, preview, user_shown, template)
);
COMMENT ON TABLE activity_daily IS 'runs by the day (UTC) they started on, by user and template, recipes only through their children';

-- After a bulk of runs the planner must not believe that the tracker is empty until autovacuum comes by: pages would then
-- take seconds. The service's role may not ANALYZE tables that are not its own.
CREATE FUNCTION ledger_analyze_tracker() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF pg_stat_get_mod_since_analyze('tracker'::regclass)
            > 500 + 0.2 * (SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = 'tracker'::regclass) THEN
        ANALYZE tracker, tracker_types, tracker_values;
    END IF;
END $$;
REVOKE ALL ON FUNCTION ledger_analyze_tracker() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_analyze_tracker() TO ledger_service;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['projections', 'leases', 'tracker', 'tracker_types', 'tracker_values', 'change_blocks',
            'records', 'activity_daily'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_account ON %I TO ledger_service USING (account_id = ledger_current_account())'
                       ' WITH CHECK (account_id = ledger_current_account())', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO ledger_service', name);
    END LOOP;
END $$;
