-- Which upstream registry a repository is filled from, by the first parts of its name; the prefix ROOT stands for all names. An absent
-- credential is an empty text.
CREATE TABLE pull_through_rules (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    prefix TEXT NOT NULL,
    upstream_url TEXT NOT NULL,
    upstream_kind TEXT NOT NULL,
    upstream_prefix TEXT NOT NULL,
    credential_arn TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, prefix)
) {without_rowid};
