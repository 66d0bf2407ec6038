-- Secrets of AWS Secrets Manager. suffix are the six characters at the end of a secret's ARN. details is a JSON document. deleted_at is when a
-- secret that was marked for deletion goes.
CREATE TABLE secrets (
    account    TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    suffix     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    details    TEXT   NOT NULL,
    PRIMARY KEY (account, region, name)
) {without_rowid};
CREATE INDEX secrets_by_age ON secrets (account, region, created_at, name);
CREATE INDEX secrets_by_end ON secrets (deleted_at);

-- The values of secrets, sealed under a key that is derived from the master key. stages is a JSON list of staging labels.
CREATE TABLE secret_versions (
    account    TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    version_id TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    is_binary  BIGINT NOT NULL,
    stages     TEXT   NOT NULL,
    sealed     BYTEA  NOT NULL,
    PRIMARY KEY (account, region, name, version_id)
) {without_rowid};

-- Parameters of AWS Systems Manager, by their last version.
CREATE TABLE parameters (
    account TEXT   NOT NULL,
    region  TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    tags    TEXT   NOT NULL,
    PRIMARY KEY (account, region, name)
) {without_rowid};

CREATE TABLE parameter_versions (
    account     TEXT   NOT NULL,
    region      TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    modified_at BIGINT NOT NULL,
    modified_by TEXT   NOT NULL,
    details     TEXT   NOT NULL,
    sealed      BYTEA  NOT NULL,
    PRIMARY KEY (account, region, name, version)
) {without_rowid};
