-- Customer managed policies. folded_name is the name in lower case: IAM takes no two names that differ by case alone, whatever their
-- paths. newest_version only grows, so that the number of a deleted version is not used again.
CREATE TABLE managed_policies (
    account         TEXT   NOT NULL,
    folded_name     TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    path            TEXT   NOT NULL,
    policy_id       TEXT   NOT NULL,
    description     TEXT,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    default_version BIGINT NOT NULL,
    newest_version  BIGINT NOT NULL,
    PRIMARY KEY (account, folded_name)
) {without_rowid};

CREATE TABLE managed_policy_versions (
    policy_id  TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    document   TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (policy_id, version)
) {without_rowid};

-- The users that a policy is the permissions boundary of.
CREATE INDEX users_by_boundary ON users (account, boundary, user_id);
