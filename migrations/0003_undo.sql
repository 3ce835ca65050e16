-- What the undo needs: targets, declared schemas, the two-person rule, cancelling.

CREATE TABLE targets (
    account_id uuid        NOT NULL REFERENCES accounts (account_id),
    name       text        COLLATE "C" NOT NULL
                           CONSTRAINT target_name_is_short CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    kind       text        NOT NULL,
    settings   bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, name)
);
COMMENT ON COLUMN targets.settings IS 'JSON; what the connector of this kind needs';

CREATE TABLE object_schemas (
    account_id  uuid NOT NULL REFERENCES accounts (account_id),
    object_type text COLLATE "C" NOT NULL,
    schema      bytea NOT NULL,
    PRIMARY KEY (account_id, object_type)
);
COMMENT ON TABLE object_schemas IS 'declared for the built-in target, where the ledger is the book of record';

CREATE TABLE undo_options (
    account_id     uuid   NOT NULL REFERENCES accounts (account_id),
    approval_above bigint CONSTRAINT approval_above_is_not_negative CHECK (approval_above >= 0),
    PRIMARY KEY (account_id)
);
COMMENT ON COLUMN undo_options.approval_above IS 'an undo that writes more records needs a second person; null: none does';

CREATE TABLE undo_approvals (
    account_id  uuid        NOT NULL REFERENCES accounts (account_id),
    plan_digest text        NOT NULL,
    approved_by text        NOT NULL,
    approved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, plan_digest, approved_by)
);

CREATE TABLE undo_cancellations (
    account_id uuid        NOT NULL REFERENCES accounts (account_id),
    run_id     text        COLLATE "C" NOT NULL,
    asked_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, run_id)
);
COMMENT ON TABLE undo_cancellations IS 'undos to be stopped after the batch under way';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['targets', 'object_schemas', 'undo_options', 'undo_approvals', 'undo_cancellations'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_account ON %I TO ledger_service USING (account_id = ledger_current_account())'
                       ' WITH CHECK (account_id = ledger_current_account())', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO ledger_service', name);
    END LOOP;
END $$;
