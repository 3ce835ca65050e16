-- Installed in a target's database: every change of its tables is kept in an outbox, in the changing transaction.
-- Statement triggers with transition tables: one INSERT ... SELECT for each statement, however many rows it changes.

CREATE SCHEMA IF NOT EXISTS ledger_capture;

CREATE TABLE IF NOT EXISTS ledger_capture.outbox (
    number      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction xid8        NOT NULL DEFAULT pg_current_xact_id(),
    at          timestamptz NOT NULL DEFAULT now(),
    run_id      text,
    facts       text,
    object_type text        NOT NULL,
    key_columns text[]      NOT NULL,
    before      text,
    after       text
);
COMMENT ON TABLE ledger_capture.outbox IS 'changes that the ledger has not recorded yet; before and after are whole rows as JSON';

CREATE TABLE IF NOT EXISTS ledger_capture.progress (
    run_id     text        PRIMARY KEY,
    ledger_run text        NOT NULL,
    accepted   bigint      NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ledger_capture.progress IS 'how many changes of each run have been recorded and removed from the outbox';

-- `user` is a reserved word: SET LOCAL ledger.user_name = ..., or SET LOCAL ledger."user" = ...
CREATE OR REPLACE FUNCTION ledger_capture.facts() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT nullif(json_strip_nulls(json_build_object(
        'user', coalesce(nullif(current_setting('ledger.user_name', true), ''),
                         nullif(current_setting('ledger.user', true), ''), session_user::text),
        'template', nullif(current_setting('ledger.template', true), ''),
        'trigger', nullif(current_setting('ledger.trigger', true), '')))::text, '{}')
$$;

-- TG_ARGV: object type, then the key's columns.
CREATE OR REPLACE FUNCTION ledger_capture.capture_insert() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET bytea_output = 'hex'
    SET intervalstyle = 'iso_8601' SET extra_float_digits = 1 AS $$
BEGIN
    IF coalesce(current_setting('ledger.capture', true), '') <> 'off' THEN
        INSERT INTO ledger_capture.outbox (run_id, facts, object_type, key_columns, after)
        SELECT nullif(current_setting('ledger.run_id', true), ''), ledger_capture.facts(), TG_ARGV[0], TG_ARGV[1:],
               row_to_json(n)::text FROM new_rows n;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION ledger_capture.capture_delete() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET bytea_output = 'hex'
    SET intervalstyle = 'iso_8601' SET extra_float_digits = 1 AS $$
BEGIN
    IF coalesce(current_setting('ledger.capture', true), '') <> 'off' THEN
        INSERT INTO ledger_capture.outbox (run_id, facts, object_type, key_columns, before)
        SELECT nullif(current_setting('ledger.run_id', true), ''), ledger_capture.facts(), TG_ARGV[0], TG_ARGV[1:],
               row_to_json(o)::text FROM old_rows o;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION ledger_capture.refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('ledger.capture', true), '') <> 'off' THEN
        RAISE EXCEPTION 'TRUNCATE of % is refused: its rows are captured for the audit ledger', TG_TABLE_NAME
            USING HINT = 'use DELETE, or switch capture off for this transaction: SET LOCAL ledger.capture = off';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION ledger_capture.finish_run(run text) RETURNS void LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO ledger_capture.outbox (run_id, facts, object_type, key_columns) VALUES (run, NULL, '', '{}')
$$;
