-- Erasure: the one narrow door through which salt and payload of an event can go (docs/erasure.md).
--
-- Nobody may UPDATE events, with one exception: the function ledger_erase, which works as the role ledger_eraser. The
-- trigger on events lets that role through only where the update
--   1. sets salt and payload to NULL and changes no other column;
--   2. has its row in erased_events, with the very commitments that the leaf holds (ledger/integrity/leaf.py);
--   3. stands in the same transaction as the event that says who erased and why, at a later position of the account.
-- What is left of a payload is kept in erased_events and shown by the view account_events in the payload's place, with
-- salt NULL: the leaf commits to the erased original, never to the rest.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledger_eraser') THEN
        CREATE ROLE ledger_eraser NOLOGIN NOSUPERUSER NOBYPASSRLS;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of the cluster was first
END $$;
GRANT USAGE ON SCHEMA public TO ledger_eraser;

CREATE TABLE erased_events (
    account_id        uuid   NOT NULL REFERENCES accounts (account_id),
    position          bigint NOT NULL,
    erasure_position  bigint NOT NULL CONSTRAINT erased_by_a_later_event CHECK (erasure_position > position),
    commitment        bytea  NOT NULL CONSTRAINT commitment_is_sha256 CHECK (octet_length(commitment) = 32),
    stream_commitment bytea  NOT NULL CONSTRAINT stream_commitment_is_sha256 CHECK (octet_length(stream_commitment) = 32),
    rest              bytea  NOT NULL,
    PRIMARY KEY (account_id, position)
);
COMMENT ON TABLE erased_events IS 'one row an event whose salt and payload were erased';
COMMENT ON COLUMN erased_events.erasure_position IS 'the event that says who erased last, and why';
COMMENT ON COLUMN erased_events.commitment IS 'SHA-256(salt || payload) of what was erased, as the leaf has it; the salt is gone, so nothing can be tried out against it';
COMMENT ON COLUMN erased_events.stream_commitment IS 'SHA-256(salt || "stream" || stream id), the stream''s pseudonym in the leaf';
COMMENT ON COLUMN erased_events.rest IS 'what readers get in the payload''s place; no leaf covers it';
CREATE INDEX erased_events_by_erasure ON erased_events (account_id, erasure_position);

-- The event that says who erased, appended by this very transaction.
CREATE FUNCTION ledger_is_erasing(account uuid, erasure bigint) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM public.events e WHERE e.account_id = account AND e.position = erasure
        AND e.topic IN ('erasure-recorded', 'retention-applied') AND e.xmin = pg_current_xact_id()::xid)
$$;
REVOKE ALL ON FUNCTION ledger_is_erasing(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_is_erasing(uuid, bigint) TO ledger_eraser;

CREATE FUNCTION ledger_guard_event() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND current_user = 'ledger_eraser' AND NEW.salt IS NULL AND NEW.payload IS NULL
        AND (NEW.account_id, NEW.position, NEW.originator_id, NEW.originator_version, NEW.recorded_at,
             NEW.occurred_at, NEW.sequence, NEW.topic, NEW.run_id)
          = (OLD.account_id, OLD.position, OLD.originator_id, OLD.originator_version, OLD.recorded_at,
             OLD.occurred_at, OLD.sequence, OLD.topic, OLD.run_id) THEN
        IF EXISTS (SELECT FROM public.erased_events r WHERE r.account_id = OLD.account_id AND r.position = OLD.position
            AND r.commitment = sha256(OLD.salt || OLD.payload)
            AND r.stream_commitment = sha256(OLD.salt || 'stream' || uuid_send(OLD.originator_id))
            AND public.ledger_is_erasing(OLD.account_id, r.erasure_position)) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% on % is refused: events and the order they stand in are never changed or removed',
        TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'append a compensating event instead';
END $$;

DROP TRIGGER refuse_change ON events;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION ledger_guard_event();
ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_change;

CREATE FUNCTION ledger_guard_erased() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF TG_OP <> 'DELETE' AND current_user = 'ledger_eraser' THEN
        IF NOT public.ledger_is_erasing(NEW.account_id, NEW.erasure_position) THEN
            NULL;
        ELSIF TG_OP = 'INSERT' AND EXISTS (SELECT FROM public.events e WHERE e.account_id = NEW.account_id
            AND e.position = NEW.position AND NEW.commitment = sha256(e.salt || e.payload)
            AND NEW.stream_commitment = sha256(e.salt || 'stream' || uuid_send(e.originator_id))
            AND e.topic IN ('record-created', 'record-updated', 'record-deleted', 'record-unmodified', 'record-failed',
                            'run-started', 'run-finished', 'run-failed', 'undo-intended')) THEN
            RETURN NEW;
        ELSIF TG_OP = 'UPDATE' AND (NEW.account_id, NEW.position, NEW.commitment, NEW.stream_commitment)
            = (OLD.account_id, OLD.position, OLD.commitment, OLD.stream_commitment) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% on % is refused: it changes only with an erasure, by ledger_erase', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER refuse_change BEFORE INSERT OR UPDATE OR DELETE ON erased_events
    FOR EACH ROW EXECUTE FUNCTION ledger_guard_erased();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON erased_events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE erased_events ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE erased_events ENABLE ALWAYS TRIGGER refuse_truncate;

ALTER TABLE erased_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE erased_events FORCE ROW LEVEL SECURITY;
CREATE POLICY own_account ON erased_events TO ledger_service USING (account_id = ledger_current_account())
    WITH CHECK (account_id = ledger_current_account());
CREATE POLICY eraser ON erased_events TO ledger_eraser USING (account_id = ledger_current_account())
    WITH CHECK (account_id = ledger_current_account());
CREATE POLICY owner_reads ON erased_events FOR SELECT TO CURRENT_USER USING (true);  -- through account_events
GRANT SELECT ON erased_events TO ledger_service;
GRANT SELECT, INSERT ON erased_events TO ledger_eraser;
GRANT UPDATE (erasure_position, rest) ON erased_events TO ledger_eraser;
GRANT SELECT ON events TO ledger_eraser;
GRANT UPDATE (salt, payload) ON events TO ledger_eraser;
GRANT EXECUTE ON FUNCTION ledger_current_account() TO ledger_eraser;

-- Erases salt and payload of the account's events at these positions; of one that was erased before, more of its rest.
-- `rests`: what is left of each. `erasure`: the position of the event that says so, of this transaction.
CREATE FUNCTION ledger_erase(erasure bigint, positions bigint[], rests bytea[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    account uuid := ledger_current_account();
    number bigint;
BEGIN
    IF NOT ledger_is_erasing(account, erasure) THEN
        RAISE EXCEPTION 'nothing is erased without its event: there is none of this transaction at position %', erasure
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE erased_events r SET erasure_position = erasure, rest = given.rest
        FROM unnest(positions, rests) AS given (position, rest)
        WHERE r.account_id = account AND r.position = given.position;
    INSERT INTO erased_events (account_id, position, erasure_position, commitment, stream_commitment, rest)
        SELECT account, e.position, erasure, sha256(e.salt || e.payload),
            sha256(e.salt || 'stream' || uuid_send(e.originator_id)), given.rest
        FROM unnest(positions, rests) AS given (position, rest)
        JOIN events e ON e.account_id = account AND e.position = given.position WHERE e.payload IS NOT NULL;
    UPDATE events e SET salt = NULL, payload = NULL
        WHERE e.account_id = account AND e.position = ANY (positions) AND e.payload IS NOT NULL;
    SELECT count(*) INTO number FROM erased_events r WHERE r.account_id = account AND r.erasure_position = erasure;
    IF number <> cardinality(positions) THEN
        RAISE EXCEPTION '% of % positions can be erased', number, cardinality(positions)
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN number;
END $$;
REVOKE ALL ON FUNCTION ledger_erase(bigint, bigint[], bytea[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_erase(bigint, bigint[], bytea[]) TO ledger_service;

-- The function works as ledger_eraser. Giving it away needs membership and CREATE, for this moment only.
GRANT CREATE ON SCHEMA public TO ledger_eraser;
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'ledger_eraser', 'MEMBER') THEN
        EXECUTE format('GRANT ledger_eraser TO %I', current_user);
        ALTER FUNCTION ledger_erase(bigint, bigint[], bytea[]) OWNER TO ledger_eraser;
        EXECUTE format('REVOKE ledger_eraser FROM %I', current_user);
    ELSE
        ALTER FUNCTION ledger_erase(bigint, bigint[], bytea[]) OWNER TO ledger_eraser;
    END IF;
END $$;
REVOKE CREATE ON SCHEMA public FROM ledger_eraser;

CREATE OR REPLACE VIEW account_events WITH (security_barrier = true) AS
    SELECT e.account_id, e.position, e.originator_id, e.originator_version, e.recorded_at, e.occurred_at, e.sequence,
        e.topic, e.run_id, e.salt,
        coalesce(e.payload, (SELECT r.rest FROM erased_events r
            WHERE r.account_id = e.account_id AND r.position = e.position)) AS payload
    FROM events e WHERE e.account_id = ledger_current_account();
COMMENT ON VIEW account_events IS 'the account''s events; where salt is null, payload is what an erasure left, and no leaf covers it';
