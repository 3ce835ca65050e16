-- Verifications that were asked for and are not done yet.

ALTER TABLE log_verifications ALTER began_at DROP NOT NULL, ALTER ended_at DROP NOT NULL, ALTER ended_at DROP DEFAULT,
    ALTER verdict DROP NOT NULL, ADD asked_at timestamptz,
    ADD CONSTRAINT verification_is_whole CHECK (num_nulls(began_at, ended_at, verdict) IN (0, 3)),
    ADD CONSTRAINT verification_was_done_or_asked CHECK (verdict IS NOT NULL OR asked_at IS NOT NULL);
COMMENT ON COLUMN log_verifications.asked_at IS 'when one was asked for that has not begun since; NULL: none';

CREATE FUNCTION ledger_asked_verifications() RETURNS TABLE (account_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    'SELECT account_id FROM log_verifications WHERE asked_at IS NOT NULL ORDER BY asked_at';
REVOKE ALL ON FUNCTION ledger_asked_verifications() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_asked_verifications() TO ledger_service;
