-- The name of an account beside its number; no two accounts have the same.
CREATE TABLE account_aliases (
    account    TEXT   NOT NULL PRIMARY KEY,
    alias      TEXT   NOT NULL,
    created_at BIGINT NOT NULL
) {without_rowid};
CREATE UNIQUE INDEX account_aliases_by_alias ON account_aliases (alias);

-- The newest credential report of an account, as CSV.
CREATE TABLE credential_reports (
    account      TEXT   NOT NULL PRIMARY KEY,
    content      TEXT   NOT NULL,
    generated_at BIGINT NOT NULL
) {without_rowid};
