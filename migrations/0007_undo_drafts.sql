-- Selections of undos that an address cannot carry (edited reports), kept between the plan and its confirmation.

CREATE TABLE undo_drafts (
    account_id uuid        NOT NULL REFERENCES accounts (account_id),
    draft_id   text        COLLATE "C" NOT NULL,
    request    bytea       NOT NULL,
    told       bytea       NOT NULL,
    made_by    text        NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, draft_id)
);
COMMENT ON COLUMN undo_drafts.draft_id IS 'from the SHA-256 of request and told: the same upload is one draft';
COMMENT ON COLUMN undo_drafts.told IS 'JSON; where the edited report differs from the ledger';

ALTER TABLE undo_drafts ENABLE ROW LEVEL SECURITY;
ALTER TABLE undo_drafts FORCE ROW LEVEL SECURITY;
CREATE POLICY own_account ON undo_drafts TO ledger_service USING (account_id = ledger_current_account())
    WITH CHECK (account_id = ledger_current_account());
GRANT SELECT, INSERT, UPDATE, DELETE ON undo_drafts TO ledger_service;
