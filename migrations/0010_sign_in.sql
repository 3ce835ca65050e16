-- Signing in with OpenID Connect: the users of each account, sessions, sign-ins under way.

CREATE TABLE users (
    account_id        uuid        NOT NULL REFERENCES accounts (account_id),
    email             text        COLLATE "C" NOT NULL CONSTRAINT email_is_lower CHECK (email = lower(email)),
    name              text        NOT NULL,
    role              text        NOT NULL CONSTRAINT user_role_is_known
                                  CHECK (role IN ('producer', 'operator', 'auditor', 'admin')),
    issuer            text,
    subject           text,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_signed_in_at timestamptz,
    PRIMARY KEY (account_id, email),
    CONSTRAINT bound_whole CHECK ((issuer IS NULL) = (subject IS NULL))
);
COMMENT ON COLUMN users.subject IS 'who signed in first with this address, as the issuer names them; from then on nobody else can';

-- These two belong to persons, not to accounts: their account_id is the fixed one of ledger.sessions.
CREATE TABLE sessions (
    account_id     uuid        NOT NULL,
    session_hash   bytea       NOT NULL CONSTRAINT session_hash_is_sha256 CHECK (octet_length(session_hash) = 32),
    email          text        COLLATE "C" NOT NULL,
    name           text        NOT NULL,
    issuer         text        NOT NULL,
    subject        text        NOT NULL,
    chosen_account uuid        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (account_id, session_hash)
);
CREATE INDEX sessions_of_a_person ON sessions (account_id, issuer, subject);
COMMENT ON COLUMN sessions.session_hash IS 'SHA-256 of what the cookie holds';
COMMENT ON COLUMN sessions.chosen_account IS 'which account the person looks at; the role is looked up there on each request';

CREATE TABLE sign_in_flows (
    account_id    uuid        NOT NULL,
    state_hash    bytea       NOT NULL,
    browser_hash  bytea       NOT NULL,
    nonce         text        NOT NULL,
    code_verifier text        NOT NULL,
    target        text        NOT NULL,
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (account_id, state_hash)
);
COMMENT ON TABLE sign_in_flows IS 'sign-ins that were sent to the provider and have not come back; each is taken once';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['users', 'sessions', 'sign_in_flows'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_account ON %I TO ledger_service USING (account_id = ledger_current_account())'
                       ' WITH CHECK (account_id = ledger_current_account())', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO ledger_service', name);
    END LOOP;
END $$;

-- Which accounts a person has, from this alone.
CREATE POLICY owner_lists_users ON users FOR SELECT TO CURRENT_USER USING (true);
CREATE FUNCTION ledger_accounts_of(address text) RETURNS TABLE (account_id uuid, name text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    'SELECT a.account_id, a.name FROM users u JOIN accounts a ON a.account_id = u.account_id
     WHERE u.email = address ORDER BY a.name';
REVOKE ALL ON FUNCTION ledger_accounts_of(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_accounts_of(text) TO ledger_service;
