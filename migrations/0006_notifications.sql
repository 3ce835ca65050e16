-- Notifications: rules, the queue of jobs that they cause, token buckets.

CREATE TABLE notification_rules (
    account_id     uuid        NOT NULL REFERENCES accounts (account_id),
    rule_id        text        COLLATE "C" NOT NULL,
    channel        text        NOT NULL CONSTRAINT channel_is_known CHECK (channel IN ('email', 'webhook')),
    occasion       text        NOT NULL CONSTRAINT occasion_is_known
                               CHECK (occasion IN ('all', 'failed', 'zero_succeeded')),
    template       text        COLLATE "C",
    user_shown     text        COLLATE "C",
    recipients     text[]      NOT NULL DEFAULT '{}',
    url            text,
    secret         bytea,
    since_position bigint      NOT NULL,
    created_by     text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    disabled_why   text,
    PRIMARY KEY (account_id, rule_id),
    CONSTRAINT channel_is_whole CHECK (
        CASE channel WHEN 'email' THEN cardinality(recipients) > 0 AND url IS NULL AND secret IS NULL
        ELSE cardinality(recipients) = 0 AND url IS NOT NULL AND secret IS NOT NULL END)
);
COMMENT ON COLUMN notification_rules.template IS 'name or id; null: any';
COMMENT ON COLUMN notification_rules.secret IS 'key of the webhook''s signatures: it must be known to sign, so it is kept itself';
COMMENT ON COLUMN notification_rules.since_position IS 'the account''s head when the rule was made: runs that ended up to there are past';
COMMENT ON COLUMN notification_rules.disabled_why IS 'null: in force';

CREATE TABLE jobs (
    account_id uuid        NOT NULL REFERENCES accounts (account_id),
    job_id     uuid        NOT NULL,
    kind       text        NOT NULL,
    about      text        COLLATE "C" NOT NULL,
    payload    bytea       NOT NULL,
    state      text        NOT NULL DEFAULT 'waiting' CONSTRAINT state_is_known
                           CHECK (state IN ('waiting', 'done', 'dead')),
    due_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts   integer     NOT NULL DEFAULT 0,
    outcome    text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz,
    PRIMARY KEY (account_id, job_id),
    CONSTRAINT ended_whole CHECK ((ended_at IS NULL) = (state = 'waiting'))
) WITH (fillfactor = 70);
CREATE INDEX jobs_due ON jobs (account_id, due_at) WHERE state = 'waiting';
CREATE INDEX jobs_ended ON jobs (account_id, state, ended_at) WHERE state <> 'waiting';
COMMENT ON COLUMN jobs.job_id IS 'made of what the job is for: adding the same job again adds nothing';
COMMENT ON COLUMN jobs.about IS 'what people look for: a Run ID';
COMMENT ON COLUMN jobs.payload IS 'JSON; what the handler of this kind needs';
COMMENT ON COLUMN jobs.due_at IS 'from when a worker may take it; while one works, when its lease ends';
COMMENT ON COLUMN jobs.attempts IS 'how often it was taken; also tells whether a worker''s lease is still its own';
COMMENT ON COLUMN jobs.outcome IS 'what came of the last attempt, in words';

CREATE TABLE token_buckets (
    account_id uuid             NOT NULL,
    name       text             COLLATE "C" NOT NULL,
    tokens     double precision NOT NULL,
    filled_at  timestamptz      NOT NULL,
    PRIMARY KEY (account_id, name)
) WITH (fillfactor = 50);
COMMENT ON TABLE token_buckets IS 'rate limits that hold across processes';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['notification_rules', 'jobs', 'token_buckets'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_account ON %I TO ledger_service USING (account_id = ledger_current_account())'
                       ' WITH CHECK (account_id = ledger_current_account())', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO ledger_service', name);
    END LOOP;
END $$;

-- Workers learn from these alone which accounts have work, and how much waits or is dead.
CREATE POLICY owner_lists_jobs ON jobs FOR SELECT TO CURRENT_USER USING (true);
CREATE FUNCTION ledger_accounts_with_due_jobs() RETURNS TABLE (account_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    'SELECT DISTINCT account_id FROM jobs WHERE state = ''waiting'' AND due_at <= clock_timestamp()';
CREATE FUNCTION ledger_job_counts() RETURNS TABLE (kind text, state text, number bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    'SELECT kind, state, count(*) FROM jobs WHERE state <> ''done'' GROUP BY kind, state';
REVOKE ALL ON FUNCTION ledger_accounts_with_due_jobs(), ledger_job_counts() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_accounts_with_due_jobs(), ledger_job_counts() TO ledger_service;
