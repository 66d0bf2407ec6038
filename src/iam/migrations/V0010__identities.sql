-- Policies and tags of identities. owner_id is the unique id of a user (AIDA), group (AGPA), role (AROA), customer managed policy (ANPA) or
-- instance profile (AIPA), or `root`.
-- kind `inline`: name is the policy's own, document its text. kind `managed`: name is the policy's ARN, document is NULL.
CREATE TABLE identity_policies (
    account     TEXT   NOT NULL,
    owner_id    TEXT   NOT NULL,
    kind        TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    document    TEXT,
    attached_at BIGINT NOT NULL,
    PRIMARY KEY (account, owner_id, kind, name)
) {without_rowid};
CREATE INDEX identity_policies_by_name ON identity_policies (account, kind, name);

INSERT INTO identity_policies (account, owner_id, kind, name, document, attached_at)
    SELECT account, user_id, kind,
        CASE WHEN kind = 'managed' THEN 'arn:aws:iam::aws:policy/' || name ELSE name END,
        document, attached_at
    FROM user_policies;
DROP TABLE user_policies;

CREATE TABLE identity_tags (
    account  TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    key      TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (account, owner_id, key)
) {without_rowid};

-- The ARN of the user's permissions boundary.
ALTER TABLE users ADD COLUMN boundary TEXT;

-- folded_name is the name in lower case, as in `users`.
CREATE TABLE groups (
    account     TEXT   NOT NULL,
    folded_name TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    path        TEXT   NOT NULL,
    group_id    TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (account, folded_name)
) {without_rowid};
CREATE UNIQUE INDEX groups_by_id ON groups (account, group_id);

CREATE TABLE group_members (
    account  TEXT   NOT NULL,
    group_id TEXT   NOT NULL,
    user_id  TEXT   NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (account, group_id, user_id)
) {without_rowid};
CREATE INDEX group_members_by_user ON group_members (account, user_id, group_id);

-- Written at most once an hour.
ALTER TABLE access_keys ADD COLUMN last_used_at BIGINT;
ALTER TABLE access_keys ADD COLUMN last_used_region TEXT;
ALTER TABLE access_keys ADD COLUMN last_used_service TEXT;
