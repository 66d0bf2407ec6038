-- Identity providers whose tokens may assume roles. name is what follows oidc-provider/ in the ARN: the URL without its scheme. client_ids
-- and thumbprints are JSON lists of texts.
CREATE TABLE oidc_providers (
    account     TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    url         TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    client_ids  TEXT   NOT NULL,
    thumbprints TEXT   NOT NULL,
    PRIMARY KEY (account, name)
) {without_rowid};
