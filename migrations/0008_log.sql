-- The tamper-evident log: each account's Merkle tree as tiles, and the checkpoints that were signed of it.
--
-- Everything here is computed from the events and can be computed again; the signing key is never in the database.
-- A tree only grows: a tile gains hashes at its end, its size rises, a checkpoint is for a larger tree than all before.
-- So no size ever has two roots, whoever seals and however many of them.

CREATE TABLE log_trees (
    account_id uuid   NOT NULL REFERENCES accounts (account_id),
    size       bigint NOT NULL CONSTRAINT tree_size_is_positive CHECK (size > 0),
    root       bytea  NOT NULL CONSTRAINT root_is_sha256 CHECK (octet_length(root) = 32),
    PRIMARY KEY (account_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE log_trees IS 'how far each account''s tiles are; changes in their transaction';

CREATE TABLE log_tiles (
    account_id uuid     NOT NULL REFERENCES accounts (account_id),
    level      smallint NOT NULL CONSTRAINT tile_level_is_known CHECK (level BETWEEN 0 AND 7),
    number     bigint   NOT NULL CONSTRAINT tile_number_is_not_negative CHECK (number >= 0),
    hashes     bytea    NOT NULL CONSTRAINT tile_holds_hashes
                        CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0),
    PRIMARY KEY (account_id, level, number)
);
ALTER TABLE log_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;  -- hashes cannot be compressed
COMMENT ON TABLE log_tiles IS 'c2sp.org/tlog-tiles; a narrower tile is the beginning of the row';

CREATE TABLE log_checkpoints (
    account_id uuid        NOT NULL REFERENCES accounts (account_id),
    size       bigint      NOT NULL CONSTRAINT checkpoint_size_is_positive CHECK (size > 0),
    root       bytea       NOT NULL CONSTRAINT root_is_sha256 CHECK (octet_length(root) = 32),
    note       text        NOT NULL,
    signed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account_id, size)
);
COMMENT ON COLUMN log_checkpoints.note IS 'the signed note (c2sp.org/tlog-checkpoint), as it is served';

CREATE FUNCTION ledger_refuse_other_tree() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: a log''s tree only grows', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER refuse_shrinking BEFORE UPDATE ON log_trees FOR EACH ROW
    WHEN (NEW.account_id <> OLD.account_id OR NEW.size <= OLD.size) EXECUTE FUNCTION ledger_refuse_other_tree();
CREATE TRIGGER refuse_other_hashes BEFORE UPDATE ON log_tiles FOR EACH ROW
    WHEN ((NEW.account_id, NEW.level, NEW.number) <> (OLD.account_id, OLD.level, OLD.number)
        OR substring(NEW.hashes FOR octet_length(OLD.hashes)) <> OLD.hashes)
    EXECUTE FUNCTION ledger_refuse_other_tree();

-- A checkpoint is of a tree whose tiles are here, and larger than all before.
CREATE FUNCTION ledger_check_checkpoint() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM log_trees t WHERE t.account_id = NEW.account_id AND t.size >= NEW.size)
        OR EXISTS (SELECT FROM log_checkpoints c WHERE c.account_id = NEW.account_id AND c.size > NEW.size) THEN
        RAISE EXCEPTION 'a checkpoint of size % does not follow the ones before it', NEW.size
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_checkpoint BEFORE INSERT ON log_checkpoints
    FOR EACH ROW EXECUTE FUNCTION ledger_check_checkpoint();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON log_checkpoints
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE log_trees ENABLE ALWAYS TRIGGER refuse_shrinking;
ALTER TABLE log_tiles ENABLE ALWAYS TRIGGER refuse_other_hashes;
ALTER TABLE log_checkpoints ENABLE ALWAYS TRIGGER check_checkpoint;
ALTER TABLE log_checkpoints ENABLE ALWAYS TRIGGER refuse_change;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['log_trees', 'log_tiles', 'log_checkpoints'] LOOP
        IF name <> 'log_checkpoints' THEN
            EXECUTE format('CREATE TRIGGER refuse_delete BEFORE DELETE ON %I'
                           ' FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()', name);
            EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER refuse_delete', name);
        END IF;
        EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %I'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()', name);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER refuse_truncate', name);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_account ON %I TO ledger_service USING (account_id = ledger_current_account())'
                       ' WITH CHECK (account_id = ledger_current_account())', name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO ledger_service', name);
    END LOOP;
END $$;
GRANT UPDATE (size, root) ON log_trees TO ledger_service;
GRANT UPDATE (hashes) ON log_tiles TO ledger_service;
