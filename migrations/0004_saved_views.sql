-- Names that people gave to filters of the Activity Tracker.

CREATE TABLE saved_views (
    account_id uuid        NOT NULL REFERENCES accounts (account_id),
    name       text        COLLATE "C" NOT NULL CONSTRAINT view_name_is_short CHECK (length(name) BETWEEN 1 AND 80),
    query      text        NOT NULL CONSTRAINT view_query_is_short CHECK (length(query) <= 4096),
    made_by    text        NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, name)
);
COMMENT ON COLUMN saved_views.query IS 'the part of the tracker''s address after the question mark';

ALTER TABLE saved_views ENABLE ROW LEVEL SECURITY;
ALTER TABLE saved_views FORCE ROW LEVEL SECURITY;
CREATE POLICY own_account ON saved_views TO ledger_service USING (account_id = ledger_current_account())
    WITH CHECK (account_id = ledger_current_account());
GRANT SELECT, INSERT, UPDATE, DELETE ON saved_views TO ledger_service;
