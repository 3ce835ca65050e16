-- Cosignatures of witnesses: what stands below a checkpoint besides the log's own signature, and how each witness fares.

CREATE TABLE log_cosignatures (
    account_id  uuid        NOT NULL REFERENCES accounts (account_id),
    size        bigint      NOT NULL,
    witness     text        COLLATE "C" NOT NULL,
    line        text        NOT NULL,
    cosigned_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, size, witness),
    FOREIGN KEY (account_id, size) REFERENCES log_checkpoints (account_id, size)
);
COMMENT ON COLUMN log_cosignatures.witness IS 'its public key as text (c2sp.org/signed-note, verifier keys)';
COMMENT ON COLUMN log_cosignatures.line IS 'the signature line (c2sp.org/tlog-cosignature), as it is served';

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON log_cosignatures
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON log_cosignatures
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE log_cosignatures ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE log_cosignatures ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TABLE log_witnesses (
    account_id uuid        NOT NULL REFERENCES accounts (account_id),
    witness    text        COLLATE "C" NOT NULL,
    size       bigint      NOT NULL CONSTRAINT witnessed_size_is_not_negative CHECK (size >= 0),
    asked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    failure    text,
    refused    boolean     NOT NULL CONSTRAINT refusal_has_a_reason CHECK (failure IS NOT NULL OR NOT refused),
    PRIMARY KEY (account_id, witness)
);
COMMENT ON COLUMN log_witnesses.size IS 'of the largest checkpoint that it cosigned';
COMMENT ON COLUMN log_witnesses.refused IS 'it holds a head that the log does not extend: a rollback or a fork';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['log_cosignatures', 'log_witnesses'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_account ON %I TO ledger_service USING (account_id = ledger_current_account())'
                       ' WITH CHECK (account_id = ledger_current_account())', name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO ledger_service', name);
    END LOOP;
END $$;
GRANT UPDATE (size, asked_at, failure, refused), DELETE ON log_witnesses TO ledger_service;

-- How the witnesses of all accounts fare: for /readyz and /metrics.
CREATE POLICY owner_lists_witnesses ON log_witnesses FOR SELECT TO CURRENT_USER USING (true);
CREATE FUNCTION ledger_witnesses()
    RETURNS TABLE (account_id uuid, witness text, size bigint, failure text, refused boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    'SELECT account_id, witness, size, failure, refused FROM log_witnesses';
REVOKE ALL ON FUNCTION ledger_witnesses() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_witnesses() TO ledger_service;
