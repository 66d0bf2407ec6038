-- Who may come in. Secrets are sealed under the master key file, which is not in the index: `master_keys` only proves that the file
-- beside the server is the one that sealed them. Roles, groups, boundaries and sessions will be further tables beside these.
CREATE TABLE master_keys (
    master_key_id TEXT   NOT NULL PRIMARY KEY,
    proof         BYTEA  NOT NULL,
    created_at    BIGINT NOT NULL
) {without_rowid};

CREATE TABLE accounts (
    account    TEXT   NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL
) {without_rowid};

-- folded_name is the name in lower case: IAM takes no two names that differ by case alone.
CREATE TABLE users (
    account     TEXT   NOT NULL,
    folded_name TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    path        TEXT   NOT NULL,
    user_id     TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    disabled_at BIGINT,
    PRIMARY KEY (account, folded_name)
) {without_rowid};
CREATE UNIQUE INDEX users_by_id ON users (account, user_id);

-- owner_id is a user's id, or `root`.
CREATE TABLE access_keys (
    account       TEXT   NOT NULL,
    access_key_id TEXT   NOT NULL,
    owner_id      TEXT   NOT NULL,
    sealed_secret BYTEA  NOT NULL,
    created_at    BIGINT NOT NULL,
    disabled_at   BIGINT,
    PRIMARY KEY (account, access_key_id)
) {without_rowid};
CREATE UNIQUE INDEX access_keys_by_id ON access_keys (access_key_id);
CREATE INDEX access_keys_by_owner ON access_keys (account, owner_id);

-- document is NULL for a managed policy, which goes by its name.
CREATE TABLE user_policies (
    account     TEXT   NOT NULL,
    user_id     TEXT   NOT NULL,
    kind        TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    document    TEXT,
    attached_at BIGINT NOT NULL,
    PRIMARY KEY (account, user_id, kind, name)
) {without_rowid};
