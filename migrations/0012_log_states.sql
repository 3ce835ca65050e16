-- How each account's signed log fares: why it is not sealed, and what it was last verified to be.

CREATE TABLE log_failures (
    account_id uuid        NOT NULL REFERENCES accounts (account_id),
    failure    text        NOT NULL,
    failed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account_id)
);
COMMENT ON TABLE log_failures IS 'accounts whose log was not sealed when that was last tried';

CREATE TABLE log_verifications (
    account_id uuid        NOT NULL REFERENCES accounts (account_id),
    began_at   timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    verdict    jsonb       NOT NULL,
    PRIMARY KEY (account_id)
);
COMMENT ON TABLE log_verifications IS 'what the service found when it last verified the account''s log';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['log_failures', 'log_verifications'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_account ON %I TO ledger_service USING (account_id = ledger_current_account())'
                       ' WITH CHECK (account_id = ledger_current_account())', name);
        EXECUTE format('CREATE POLICY owner_lists_states ON %I FOR SELECT TO CURRENT_USER USING (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO ledger_service', name);
    END LOOP;
END $$;

-- How the logs of all accounts fare: for /readyz and /metrics.
CREATE POLICY owner_lists_checkpoints ON log_checkpoints FOR SELECT TO CURRENT_USER USING (true);
CREATE FUNCTION ledger_log_states()
    RETURNS TABLE (account_id uuid, name text, head bigint, signed bigint, unsigned_since timestamptz, failure text,
                   verified_at timestamptz, is_verified boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT a.account_id, a.name, a.head, coalesce(c.size, 0), e.recorded_at, f.failure, v.ended_at,
        (v.verdict ->> 'verified')::boolean
    FROM accounts a
    LEFT JOIN LATERAL (SELECT size FROM log_checkpoints WHERE account_id = a.account_id ORDER BY size DESC LIMIT 1) c
        ON true
    LEFT JOIN events e ON e.account_id = a.account_id AND e.position = coalesce(c.size, 0) + 1
    LEFT JOIN log_failures f ON f.account_id = a.account_id
    LEFT JOIN log_verifications v ON v.account_id = a.account_id
$$;
REVOKE ALL ON FUNCTION ledger_log_states() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_log_states() TO ledger_service;
