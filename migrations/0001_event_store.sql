-- Accounts, their events, their tokens. Every key leads with account_id: one account can live on any node.
--
-- Who may do what, in depth (docs/architecture.md, "Append-only and apart"):
--   1. grants: the service's role may add events, never read the table, never change or remove a row;
--   2. reading goes through the view account_events, which shows the account set in the transaction and
--      raises when none is set; row-level security cannot be used here (PostgreSQL refuses COPY FROM on it);
--   3. a statement trigger looks once at each batch and refuses rows of another account;
--   4. triggers refuse UPDATE, DELETE and TRUNCATE to everybody, the owner and replication included;
--   5. triggers hold the log whole: events fill exactly the positions below their account's head, with no gap.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledger_service') THEN
        CREATE ROLE ledger_service NOLOGIN NOSUPERUSER NOBYPASSRLS;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of the cluster was first
END $$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO ledger_service;

-- A temporary table named as one of ours could stand in its place and swallow what is appended.
DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'not the owner of the database: revoke TEMPORARY on it from PUBLIC by hand';
END $$;

-- The account of this transaction. Raises when none is set: a query that forgot is an error, not an empty answer.
CREATE FUNCTION ledger_current_account() RETURNS uuid
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    account text := current_setting('ledger.account_id', true);
BEGIN
    IF account IS NULL OR account = '' THEN
        RAISE EXCEPTION 'no account is set in this transaction'
            USING ERRCODE = 'insufficient_privilege', HINT = 'set ledger.account_id before touching any table';
    END IF;
    RETURN account::uuid;
END $$;

CREATE TABLE accounts (
    account_id   uuid        NOT NULL,
    name         text        NOT NULL CONSTRAINT account_name_is_short CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    head         bigint      NOT NULL DEFAULT 0 CONSTRAINT head_is_not_negative CHECK (head >= 0),
    head_at      timestamptz NOT NULL DEFAULT '-infinity',
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id)
) WITH (fillfactor = 50);  -- the head is updated with each append: room for HOT updates
COMMENT ON COLUMN accounts.head IS 'the position of the newest event; taking it is what puts appends in order';
COMMENT ON COLUMN accounts.head_at IS 'recorded_at of the newest event; never goes back';

CREATE TABLE events (
    account_id         uuid        NOT NULL,
    position           bigint      NOT NULL CONSTRAINT position_is_positive CHECK (position > 0),
    originator_id      uuid        NOT NULL,
    originator_version bigint      NOT NULL,
    recorded_at        timestamptz NOT NULL,
    occurred_at        timestamptz NOT NULL,
    sequence           bigint      NOT NULL,
    topic              text        NOT NULL,
    run_id             text        NOT NULL,
    salt               bytea,
    payload            bytea,
    PRIMARY KEY (account_id, position),
    UNIQUE (account_id, originator_id, originator_version),
    CONSTRAINT erased_whole CHECK ((salt IS NULL) = (payload IS NULL))
);
COMMENT ON TABLE events IS 'append-only; salt and payload can be erased, all other columns are what a leaf commits to';
COMMENT ON COLUMN events.originator_version IS 'in run streams 1, 2, 3 ...; in record streams the position';
COMMENT ON COLUMN events.sequence IS 'number of the change in its run, from 1; 0 for the run''s own events';
COMMENT ON COLUMN events.salt IS '16 random bytes of the event''s own';
ALTER TABLE events ALTER COLUMN payload SET STORAGE MAIN;

CREATE VIEW account_events WITH (security_barrier = true) AS
    SELECT * FROM events WHERE account_id = ledger_current_account();

CREATE FUNCTION ledger_refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: events and the order they stand in are never changed or removed',
        TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'append a compensating event instead';
END $$;

-- For tables that are filled by COPY and so cannot have row-level security: one look at each batch.
CREATE FUNCTION ledger_refuse_other_account() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    account uuid := ledger_current_account();
BEGIN
    IF EXISTS (SELECT FROM added WHERE account_id <> account) THEN
        RAISE EXCEPTION 'rows of another account are refused in %', TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;

-- The same for events, and their positions: without a gap from what was there up to the account's head.
CREATE FUNCTION ledger_check_append() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    account uuid := ledger_current_account();
    batch record;
    account_head bigint;
BEGIN
    SELECT count(*) AS number, min(position) AS first, max(position) AS last, bool_and(account_id = account) AS own
        INTO batch FROM added;
    IF batch.number = 0 THEN
        RETURN NULL;
    END IF;
    IF NOT batch.own THEN
        RAISE EXCEPTION 'rows of another account are refused in %', TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT head INTO account_head FROM accounts WHERE account_id = account;
    IF account_head IS DISTINCT FROM batch.last OR batch.last - batch.first + 1 <> batch.number
        OR (batch.first > 1 AND NOT EXISTS (
            SELECT FROM events WHERE account_id = account AND position = batch.first - 1)) THEN
        RAISE EXCEPTION 'events at positions % to % do not follow the log up to its head %',
            batch.first, batch.last, account_head
            USING ERRCODE = 'integrity_constraint_violation', HINT = 'take positions from accounts.head first';
    END IF;
    RETURN NULL;
END $$;

-- At commit: a head that was raised has its event.
CREATE FUNCTION ledger_check_head() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM events WHERE account_id = NEW.account_id AND position = NEW.head) THEN
        RAISE EXCEPTION 'the head % of an account has no event', NEW.head
            USING ERRCODE = 'integrity_constraint_violation', HINT = 'append the events in the same transaction';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER check_append AFTER INSERT ON events REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_append();
ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE events ENABLE ALWAYS TRIGGER check_append;

CREATE TRIGGER refuse_delete BEFORE DELETE ON accounts
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER refuse_step_back BEFORE UPDATE ON accounts FOR EACH ROW
    WHEN (NEW.head < OLD.head OR NEW.head_at < OLD.head_at OR (NEW.account_id, NEW.name) <> (OLD.account_id, OLD.name))
    EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER refuse_head_at_birth BEFORE INSERT ON accounts FOR EACH ROW
    WHEN (NEW.head <> 0) EXECUTE FUNCTION ledger_refuse_change();
CREATE CONSTRAINT TRIGGER check_head AFTER UPDATE OF head ON accounts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.head <> OLD.head) EXECUTE FUNCTION ledger_check_head();
ALTER TABLE accounts ENABLE ALWAYS TRIGGER refuse_delete;
ALTER TABLE accounts ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE accounts ENABLE ALWAYS TRIGGER refuse_step_back;
ALTER TABLE accounts ENABLE ALWAYS TRIGGER refuse_head_at_birth;
ALTER TABLE accounts ENABLE ALWAYS TRIGGER check_head;

REVOKE ALL ON events FROM PUBLIC;
GRANT INSERT ON events TO ledger_service;
GRANT SELECT ON account_events TO ledger_service;

-- The service sees its accounts only one at a time; workers learn which there are from this function alone.
ALTER TABLE accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY own_account ON accounts TO ledger_service
    USING (account_id = ledger_current_account()) WITH CHECK (account_id = ledger_current_account());
CREATE POLICY owner_lists_accounts ON accounts FOR SELECT TO CURRENT_USER USING (true);
GRANT SELECT, INSERT (account_id, name) ON accounts TO ledger_service;
GRANT UPDATE (head, head_at) ON accounts TO ledger_service;

CREATE FUNCTION ledger_heads() RETURNS TABLE (account_id uuid, name text, head bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    'SELECT account_id, name, head FROM accounts';
REVOKE ALL ON FUNCTION ledger_heads() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_heads() TO ledger_service;
REVOKE ALL ON FUNCTION ledger_check_append(), ledger_check_head() FROM PUBLIC;

CREATE TABLE tokens (
    account_id   uuid        NOT NULL REFERENCES accounts (account_id),
    token_id     text        NOT NULL,
    token_hash   bytea       NOT NULL CONSTRAINT token_hash_is_sha256 CHECK (octet_length(token_hash) = 32),
    name         text        NOT NULL,
    role         text        NOT NULL CONSTRAINT role_is_known
                             CHECK (role IN ('producer', 'operator', 'auditor', 'admin')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (account_id, token_id)
);
COMMENT ON COLUMN tokens.token_id IS 'the visible beginning of the token';

CREATE TABLE idempotency_keys (
    account_id    uuid        NOT NULL REFERENCES accounts (account_id),
    key           text        NOT NULL CONSTRAINT key_is_short CHECK (length(key) BETWEEN 1 AND 255),
    request_hash  bytea       NOT NULL,
    answer_status integer,
    answer        bytea,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, key)
);
COMMENT ON COLUMN idempotency_keys.answer IS 'null while the first request is being carried out';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tokens', 'idempotency_keys'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_account ON %I TO ledger_service USING (account_id = ledger_current_account())'
                       ' WITH CHECK (account_id = ledger_current_account())', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO ledger_service', name);
    END LOOP;
END $$;
